"""Checks that the services which a run reports or uploads to can be used on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from axolotl_dmt.errors import DMTError, DMTErrors

TRACKERS: Final = {
    "use_wandb": ("wandb", ("wandb",)),
    "use_mlflow": ("mlflow", ("mlflow", "mlflow_skinny")),
    "use_comet": ("comet_ml", ("comet_ml",)),
    "use_trackio": ("trackio", ("trackio",)),
    "use_tensorboard": ("tensorboard", ("tensorboard", "tensorboardX")),
}
"""The argument of `pip install` and the modules, one of which each of Axolotl's trackers needs."""


def check_services(cfg: Mapping[str, Any]) -> None:
    """Check that trackers are installed and that there is a token to upload the model with.

    The trainer would fail after the model is loaded, or at the first checkpoint.

    Args:
        cfg: the configuration, raw or validated.

    Raises:
        DMTError: a package or the token is missing; the error lists all that is missing.
    """
    problems = [
        DMTError(key, f"needs the package {package}", f"pip install {package}, or remove {key}")
        for key, (package, modules) in TRACKERS.items()
        if cfg.get(key) and not any(importlib.util.find_spec(name) for name in modules)
    ]
    if (name := cfg.get("hub_model_id")) and not _has_token():
        fix = "run hf auth login, set HF_TOKEN, or remove it"
        problem = f"the model cannot be uploaded to {name}: there is no Hugging Face token"
        problems.append(DMTError("hub_model_id", problem, fix))
    if problems:
        raise DMTErrors(problems)


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None
