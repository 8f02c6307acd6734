"""Checks of `optimizer`: a name that Axolotl builds, its package, and its reset at a boundary."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Final

from axolotl_dmt.checks.axolotl_schema import axolotl_schema
from axolotl_dmt.checks.trainer_source import trainer_optimizers
from axolotl_dmt.errors import DMTError, closest
from axolotl_dmt.plan.inputs import Stage

DEFAULT: Final = "adamw_torch_fused"
"""Axolotl's default of `optimizer`."""

PACKAGES: Final = {
    "bitsandbytes": ("bitsandbytes", "bitsandbytes"),
    "torchao": ("torchao", "torchao"),
    "schedulefree": ("schedulefree", "schedulefree"),
    "galore": ("galore_torch", "galore-torch"),
    "q_galore": ("q_galore_torch", "q-galore-torch"),
    "apollo": ("apollo_torch", "apollo-torch"),
    "lomo": ("lomo_optim", "lomo-optim"),
    "grokadamw": ("grokadamw", "grokadamw"),
    "optimi": ("optimi", "torch-optimi"),
    "came": ("came_pytorch", "came_pytorch"),
    "flash": ("flashoptim", "flashoptim"),
    "polora": ("polora", "git+https://github.com/nikhilgsh/polora.git"),
    "torchdistx": ("torchdistx", "git+https://github.com/pytorch/torchdistx.git"),
    "xla": ("torch_xla", "torch_xla"),
    "npu": ("torch_npu", "torch_npu"),
}
"""The module and the argument of `pip install` of each family of optimisers."""

_BITSANDBYTES: Final = (
    *("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"),
    *("ademamix", "ademamix_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit"),
    *("lion_32bit", "lion_8bit", "paged_lion_32bit", "paged_lion_8bit"),
    *("rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit"),
)
_LOW_BIT: Final = ("adamw_torch_4bit", "adamw_torch_8bit", "ao_adamw_fp8")
_SCHEDULE_FREE: Final = ("schedule_free_adamw", "schedule_free_radam", "schedule_free_sgd")
_OPTIMI: Final = ("optimi_adamw", "stable_adamw")
_GALORE: Final = ("galore_adamw", "galore_adamw_8bit", "galore_adafactor")
_LOMO: Final = ("lomo", "adalomo")
_FLASH: Final = ("flash_adam", "flash_adamw", "flash_sgd", "flash_sgdw", "flash_lion")

PACKAGE_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(_BITSANDBYTES, "bitsandbytes"),
    **dict.fromkeys((*_LOW_BIT, "sinkgd"), "torchao"),
    **dict.fromkeys(_SCHEDULE_FREE, "schedulefree"),
    **dict.fromkeys(_GALORE, "galore"),
    **dict.fromkeys(_LOMO, "lomo"),
    **dict.fromkeys(_OPTIMI, "optimi"),
    **dict.fromkeys(_FLASH, "flash"),
    "q_galore_adamw8bit": "q_galore",
    "apollo_adamw": "apollo",
    "grokadamw": "grokadamw",
    "came_pytorch": "came",
    "polora": "polora",
    "adamw_anyprecision": "torchdistx",
    "adamw_torch_xla": "xla",
    "adamw_torch_npu_fused": "npu",
}
"""The family in `PACKAGES` of each name that needs a package beside torch and Axolotl."""

RESET_IN_PLACE: Final = frozenset(
    (
        *("adamw_torch", "adamw_torch_fused", "adamw_torch_xla", "adamw_torch_npu_fused"),
        *("sgd", "rmsprop", "adagrad", "adafactor", "adamc", "adopt_adamw"),
        *("came_pytorch", "muon"),
        *(*_BITSANDBYTES, *_LOW_BIT, *_SCHEDULE_FREE, *_OPTIMI),
    )
)
"""Names whose state can be reset in place, as DeepSpeed and FSDP need it."""

_LAYERWISE: Final = (
    "steps each parameter in the backward pass with an optimiser of its own, which neither the "
    "stages' learning rates nor checkpoints reach"
)
_NOT_BUILT: Final = "is in Axolotl's list of optimisers, but Axolotl cannot build it"

REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "galore_adamw_layerwise": (_LAYERWISE, "write optimizer: galore_adamw"),
    "galore_adamw_8bit_layerwise": (_LAYERWISE, "write optimizer: galore_adamw_8bit"),
    "galore_adafactor_layerwise": (_LAYERWISE, "write optimizer: galore_adafactor"),
    "apollo_adamw_layerwise": (_LAYERWISE, "write optimizer: apollo_adamw"),
    "ao_adamw_4bit": (_NOT_BUILT, "write optimizer: adamw_torch_4bit"),
    "ao_adamw_8bit": (_NOT_BUILT, "write optimizer: adamw_torch_8bit"),
}
"""Names that Axolotl takes and stages cannot use: the reason, and what to write instead."""


def known_optimizers() -> frozenset[str]:
    """Return the names that Axolotl takes: its own and those of transformers."""
    custom = axolotl_schema("enums").CustomSupportedOptimizers
    return frozenset([*trainer_optimizers(), *(name.value for name in custom)])


def check_optimizer(cfg: Mapping[str, Any], stages: Sequence[Stage], *, files: bool = True) -> None:
    """Check that Axolotl can build the optimiser and that its state can be reset.

    Args:
        cfg: the raw configuration.
        stages: the resolved stages.
        files: whether the optimiser's package must be installed.

    Raises:
        DMTError: the name is unknown, its package is missing, or stages cannot use it.
    """
    name = str(cfg.get("optimizer") or DEFAULT)
    if name not in RESET_IN_PLACE:
        _check_name(name)
    if files:
        _check_package(name)
    if name in _LOMO and (cfg.get("gradient_accumulation_steps") or 1) != 1:
        problem = f"{name} changes the weights in every backward pass, not once a step"
        raise DMTError("gradient_accumulation_steps", problem, "write 1, or another optimizer")
    if any(stage.reset_optimizer for stage in stages[1:]):
        _check_reset(name, cfg)


def _check_name(name: str) -> None:
    if name in REFUSED:
        reason, fix = REFUSED[name]
        raise DMTError("optimizer", f"{name} {reason}", fix)
    names = known_optimizers()
    if name not in names:
        close = closest(name, sorted(names - REFUSED.keys()))
        fix = f"did you mean {close}?" if close else f"use one of {', '.join(sorted(names))}"
        raise DMTError("optimizer", f"Axolotl knows no {name}", fix)


def _check_package(name: str) -> None:
    if name not in PACKAGE_OF:
        return
    module, package = PACKAGES[PACKAGE_OF[name]]
    if importlib.util.find_spec(module) is None:
        problem = f"{name} needs the package {module}, which is not installed"
        raise DMTError("optimizer", problem, f"pip install {package}")


def _check_reset(name: str, cfg: Mapping[str, Any]) -> None:
    """Refuse what DeepSpeed or FSDP keeps from being reset."""
    key = "deepspeed" if cfg.get("deepspeed") else "fsdp"
    sharded = key == "deepspeed" or cfg.get("fsdp") or cfg.get("fsdp_config")
    # DeepSpeed trains a copy of the weights, which schedule-free would average unseen.
    unseen = key == "deepspeed" and name in _SCHEDULE_FREE
    if sharded and (name not in RESET_IN_PLACE or unseen):
        raise DMTError(
            "optimizer",
            f"the state of {name} cannot be reset between stages under {key}",
            "write optimizer: adamw_torch_fused, or set dmt.reset_optimizer: false",
        )
