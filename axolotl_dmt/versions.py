"""Which Axolotl this release was tested with, and the versions a run was made with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

from axolotl_dmt import __version__
from axolotl_dmt.errors import DMTError

AXOLOTL = SpecifierSet(">=0.19.0,<0.20")
"""The releases that the test suite runs against; the same range stands in pyproject.toml."""

NAMED = ("axolotl", "lm_eval", "transformers", "torch", "datasets", "peft", "accelerate")


def check_axolotl() -> None:
    """Refuse an Axolotl outside the tested range.

    Raises:
        DMTError: with the installed version and what to install.
    """
    installed = version("axolotl")
    if not AXOLOTL.contains(installed, prereleases=True):
        raise DMTError(
            "plugins",
            f"axolotl-dmt {__version__} works with axolotl {AXOLOTL}, not {installed}",
            f"pip install 'axolotl{AXOLOTL}'",
        )


def installed_versions() -> dict[str, str]:
    """Versions of the packages that a run's result depends on."""
    found = {"axolotl-dmt": __version__}
    for name in NAMED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
