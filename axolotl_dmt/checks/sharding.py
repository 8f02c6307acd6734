"""Checks of DeepSpeed and FSDP settings against the stages, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axolotl_dmt.config.args import DMTConfig, EverySteps
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json

ADAMS = frozenset({"adam", "adamw"})
"""DeepSpeed's optimisers, in lower case, whose state can be reset."""


def check_sharding(
    cfg: Mapping[str, Any], config: DMTConfig, *, resets: bool, files: bool = True
) -> None:
    """Refuse DeepSpeed and FSDP settings that would fail at the end of a stage.

    Args:
        cfg: the raw configuration.
        config: the checked `dmt:` block.
        resets: whether a stage resets the optimiser.
        files: whether a missing DeepSpeed file is a mistake.

    Raises:
        DMTError: the stages do not support a setting of DeepSpeed or FSDP.
    """
    zero: Mapping[str, Any] = {}
    if cfg.get("deepspeed") and (files or not _is_missing(cfg["deepspeed"])):
        deepspeed = _read_deepspeed(cfg["deepspeed"])
        zero = deepspeed.get("zero_optimization") or {}
        _check_deepspeed(deepspeed, zero, resets)
    if zero.get("stage") == 3:
        _check_scoring(config, "ZeRO-3")
    elif cfg.get("fsdp") or cfg.get("fsdp_config"):
        _check_scoring(config, "FSDP")


def zero_stage(setting: Any) -> int:
    """Return the ZeRO stage of the YAML's `deepspeed`; 0 without one.

    Raises:
        DMTError: the file cannot be read.
    """
    zero = _read_deepspeed(setting).get("zero_optimization") if setting else None
    return int((zero or {}).get("stage", 0))


def _is_missing(setting: Any) -> bool:
    return not isinstance(setting, Mapping) and not Path(str(setting)).is_file()


def _read_deepspeed(setting: Any) -> Mapping[str, Any]:
    if isinstance(setting, Mapping):
        return setting
    try:
        content = read_json(str(setting))
    except OSError as error:
        problem = f"{setting} cannot be read ({error.strerror})"
        fix = "run `axolotl fetch deepspeed_configs`, or give the path of your own file"
        raise DMTError("deepspeed", problem, fix) from None
    except ValueError as error:
        raise DMTError("deepspeed", f"{setting} is not JSON ({error})", "correct it") from None
    if not isinstance(content, Mapping):
        fix = "write one like those of `axolotl fetch deepspeed_configs`"
        raise DMTError("deepspeed", f"{setting} does not hold a JSON object", fix)
    return content


def _check_deepspeed(deepspeed: Mapping[str, Any], zero: Mapping[str, Any], resets: bool) -> None:
    if deepspeed.get("scheduler"):
        raise DMTError(
            "deepspeed",
            "its scheduler would replace the learning rates of the stages",
            "remove `scheduler` from the file; lr_scheduler in the YAML is used",
        )
    kind = str((deepspeed.get("optimizer") or {}).get("type", "AdamW"))
    if resets and kind.lower() not in ADAMS:
        raise DMTError(
            "deepspeed",
            f"the state of its optimizer {kind} cannot be reset between stages",
            "remove `optimizer` from the file, or set dmt.reset_optimizer: false",
        )
    if resets and (zero.get("offload_optimizer") or {}).get("device") == "nvme":
        raise DMTError(
            "deepspeed",
            "optimizer state on nvme cannot be reset between stages",
            "offload it to cpu, or set dmt.reset_optimizer: false",
        )
    name = "gather_16bit_weights_on_model_save"
    if zero.get("stage") == 3 and not (zero.get(name) or zero.get(f"stage3_{name}")):
        raise DMTError(
            "deepspeed",
            "ZeRO-3 would save the weights of a stage in shards that cannot be loaded",
            f"add `stage3_{name}: true` to its zero_optimization",
        )


def _check_scoring(config: DMTConfig, method: str) -> None:
    evaluate = config.evaluate
    if evaluate is None or evaluate.when == "never":
        return
    if evaluate.runner == "in_process":
        raise DMTError(
            "dmt.evaluate.runner",
            f"in_process cannot score a model that {method} shards",
            "write runner: subprocess, which scores the saved stage",
        )
    if isinstance(evaluate.when, EverySteps):
        raise DMTError(
            "dmt.evaluate.when",
            f"within a stage the model is scored in memory, but {method} shards it",
            "write when: each_stage",
        )
