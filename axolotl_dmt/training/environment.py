"""Checks the version of Axolotl, and describes the software and hardware of a run."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from packaging.specifiers import SpecifierSet

from axolotl_dmt import __version__
from axolotl_dmt.errors import DMTError

AXOLOTL = SpecifierSet(">=0.19.0,<0.20")
"""The Axolotl releases that the test suite runs against; pyproject.toml names the same range."""

RECORDED = ("axolotl", "lm_eval", "transformers", "torch", "datasets", "peft", "accelerate")
"""Packages whose versions are recorded with a run's results."""


def check_axolotl() -> None:
    """Refuse an Axolotl outside the tested range.

    Raises:
        DMTError: the installed version is not in that range.
    """
    installed = version("axolotl")
    if not AXOLOTL.contains(installed, prereleases=True):
        raise DMTError(
            "plugins",
            f"axolotl-dmt {__version__} works with axolotl {AXOLOTL}, not {installed}",
            f"pip install 'axolotl{AXOLOTL}'",
        )


def check_offloading(cfg: Any) -> None:
    """Refuse activation offloading where there is no GPU; the trainer fails to start with it.

    Args:
        cfg: Axolotl's validated configuration, where `gradient_checkpointing: offload` is
            `activation_offloading: true`.

    Raises:
        DMTError: activations are to be offloaded, and there is no GPU.
    """
    import torch

    offloading = cfg.activation_offloading
    if offloading and offloading != "hidden_states" and not torch.accelerator.is_available():
        problem = f"{offloading} moves activations off a GPU, and there is none here"
        fix = "remove it, or write activation_offloading: hidden_states"
        raise DMTError("activation_offloading", problem, fix)


def installed_versions() -> dict[str, str]:
    """Return the versions of the installed packages that a run's result depends on."""
    versions = {"axolotl-dmt": __version__}
    for name in RECORDED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def hardware(ranks: int) -> dict[str, str]:
    """Describe the machine of this process for the report.

    Args:
        ranks: number of processes that train together, over all hosts.

    Returns:
        {part: description} with the parts "gpu", "cuda", "cpu" and "ranks"; the first two are
        missing without a CUDA GPU.
    """
    import torch

    parts = {"cpu": f"{_cpu()}, {os.cpu_count()} cores", "ranks": str(ranks)}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        gib = properties.total_memory / 2**30
        count = torch.cuda.device_count()
        parts = {"gpu": f"{count} x {properties.name}, {gib:.0f} GiB each (this host)"} | parts
        if torch.version.cuda:
            parts["cuda"] = torch.version.cuda
    return parts


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
