"""Checks of the stages against Axolotl's own keys in the raw YAML, before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from axolotl_dmt.config.resolve import stage_key
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.plan.inputs import Stage

CURVELESS_SCHEDULERS = ("reduce_lr_on_plateau", "greedy")
"""Schedulers whose curve depends on the loss and is therefore not known in advance."""

PLAIN_SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
"""Schedulers of transformers that need no settings."""

TUNED_SCHEDULERS = ("cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay")
"""Schedulers of transformers that need `lr_scheduler_kwargs`."""

AXOLOTLS_SCHEDULERS = ("one_cycle", "rex")
"""Schedulers that Axolotl adds to those of transformers."""

LORA_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")

UNSTACKABLE = {
    "peft_use_dora": "",
    "peft_use_rslora": "",
    "peft_init_lora_weights": "",
    "peft_layer_replication": "",
    "peft_trainable_token_indices": "",
    "lora_modules_to_save": "",
    "lora_target_parameters": "",
    "deepspeed": "",
    "fsdp": "",
    "fsdp_config": "",
    **dict.fromkeys(LORA_KERNELS, ": the kernels support only one adapter"),
}
"""Axolotl keys that are not supported together with `adapter: new`, and the reason if it helps."""


def check_stages(cfg: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Check the stages against the rest of the raw YAML.

    Args:
        cfg: Axolotl's raw configuration.
        stages: the resolved stages.

    Raises:
        DMTError: there are mistakes; the error lists all of them.
    """
    problems = [
        *_schedulers(cfg, stages),
        *_freezing(cfg, stages),
        *_new_adapters(cfg, stages),
        *_inputs(cfg, stages),
        *_saving(cfg),
    ]
    if problems:
        raise DMTErrors(problems)


def _schedulers(cfg: Mapping[str, Any], stages: Sequence[Stage]) -> Iterator[DMTError]:
    names = (*PLAIN_SCHEDULERS, *TUNED_SCHEDULERS, *AXOLOTLS_SCHEDULERS)
    settings = cfg.get("lr_scheduler_kwargs") or {}
    seen = set()
    for stage in stages:
        name = stage.lr_scheduler
        if name in seen:
            continue
        seen.add(name)
        scheduler = f"{name!r} (stage {stage.name})"
        key = stage_key(cfg.get("dmt") or {}, stage.name, "lr_scheduler", "lr_scheduler")
        if name in CURVELESS_SCHEDULERS:
            problem = f"{scheduler} depends on the loss, so its curve is not known in advance"
            yield DMTError(key, problem, "use another one, such as cosine or linear")
        elif name not in names:
            yield DMTError(key, f"{scheduler} is unknown", f"known schedulers: {', '.join(names)}")
        elif not settings and name not in TUNED_SCHEDULERS:
            continue  # no settings to check, and importing transformers takes seconds
        elif cause := _refusal(name, stage.learning_rate, settings):
            problem = f"do not fit {scheduler}: {cause}"
            yield DMTError("lr_scheduler_kwargs", problem, "correct them for every stage")


def _refusal(name: str, peak: float, settings: Mapping[str, Any]) -> str | None:
    """Create a scheduler and return why it refuses the settings; None if it accepts them."""
    import torch
    from torch.optim.lr_scheduler import OneCycleLR
    from transformers.optimization import get_scheduler

    if name == "rex":  # it has no settings
        return None
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    plain = dict(settings)
    try:
        if name == "one_cycle":
            OneCycleLR(optimizer, max_lr=peak, total_steps=100, **plain)
        else:
            scheduler = get_scheduler(name, optimizer, 2, 100, plain)
            scheduler.lr_lambdas[0](99)
    except (TypeError, ValueError) as error:
        return str(error).splitlines()[0]
    return None


def _freezing(cfg: Mapping[str, Any], stages: Sequence[Stage]) -> Iterator[DMTError]:
    stage = next((stage for stage in stages if stage.freeze), None)
    if stage is None:
        return
    key = f"freeze (stage {stage.name})"
    for other in ("deepspeed", "fsdp", "fsdp_config"):
        if cfg.get(other):
            problem = (
                f"is not supported with {other}, which chooses the trained parameters only once"
            )
            yield DMTError(key, problem, f"remove freeze or {other}")
    is_distributed = int(os.environ.get("WORLD_SIZE") or 1) > 1
    if is_distributed and cfg.get("ddp_find_unused_parameters") is False:
        problem = "is false: several processes would wait for the gradients of frozen parameters"
        yield DMTError("ddp_find_unused_parameters", problem, "remove it")
    if is_distributed and (cfg.get("gradient_checkpointing_kwargs") or {}).get("use_reentrant"):
        problem = f"use_reentrant: true is not supported with {key} in several processes"
        yield DMTError("gradient_checkpointing_kwargs", problem, "write use_reentrant: false")


def _new_adapters(cfg: Mapping[str, Any], stages: Sequence[Stage]) -> Iterator[DMTError]:
    stage = next((stage for stage in stages if stage.new_adapter), None)
    if stage is None:
        return
    if cfg.get("adapter") not in ("lora", "qlora"):
        problem = f"new (stage {stage.name}) needs LoRA: it starts a fresh adapter"
        fix = "write adapter: lora beside dmt, or remove adapter: new from the stage"
        yield DMTError("adapter", problem, fix)
    for key in UNSTACKABLE:
        if cfg.get(key):
            problem = f"is not supported with adapter: new (stage {stage.name})"
            yield DMTError(key, problem, f"remove one of the two{UNSTACKABLE[key]}")


def _inputs(cfg: Mapping[str, Any], stages: Sequence[Stage]) -> Iterator[DMTError]:
    stage = next((stage for stage in stages if stage.train_on_inputs is not None), None)
    if stage is not None and cfg.get("processor_type"):
        problem = "cannot differ between stages with a processor, which masks batch by batch"
        fix = "set train_on_inputs beside dmt, for all stages"
        yield DMTError(f"train_on_inputs (stage {stage.name})", problem, fix)


def set_required_keys(cfg: dict[str, Any], stages: Sequence[Stage]) -> None:
    """Set the keys of Axolotl that the stages need.

    A key that only fills in a default is left alone if the YAML sets it.

    Args:
        cfg: Axolotl's raw configuration; changed in place.
        stages: the resolved stages.
    """
    if "load_best_model_at_end" in cfg:
        cfg["load_best_model_at_end"] = False  # Axolotl reads an empty value as true
    if any(stage.freeze for stage in stages):
        if cfg.get("ddp_find_unused_parameters") is None:
            # otherwise several processes would wait for the gradients of frozen parameters
            cfg["ddp_find_unused_parameters"] = True
        if cfg.get("gradient_checkpointing") and not cfg.get("gradient_checkpointing_kwargs"):
            # Axolotl's default, reentrant, is not supported with unused parameters
            cfg["gradient_checkpointing_kwargs"] = {"use_reentrant": False}
    is_stacked = any(stage.new_adapter for stage in stages)
    if is_stacked or _kernels_would_fail(cfg):
        for key in LORA_KERNELS:  # Axolotl turns them on by default
            cfg[key] = False


def _kernels_would_fail(cfg: Mapping[str, Any]) -> bool:
    """Return whether Axolotl would use its LoRA kernels by default where no GPU can run them."""
    if cfg.get("adapter") not in ("lora", "qlora") or cfg.get("use_ray"):
        return False  # under Ray, the workers may have GPUs that the driver does not have
    import torch

    is_default = all(cfg.get(key) is None for key in LORA_KERNELS)
    return is_default and not torch.cuda.is_available()


def _saving(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    if cfg.get("save_strategy") == "best":
        problem = "best is not supported with dmt: the best checkpoint may lie in an earlier stage"
        fix = "write steps, epoch or no; the model at every stage's end is saved under stages/"
        yield DMTError("save_strategy", problem, fix)
    if (
        cfg.get("save_only_model")
        and cfg.get("auto_resume_from_checkpoints")
        and cfg.get("save_strategy") != "no"
    ):
        problem = (
            "saves checkpoints without the optimizer state and the schedule, which "
            "auto_resume_from_checkpoints cannot continue from"
        )
        yield DMTError("save_only_model", problem, "remove one of the two")
