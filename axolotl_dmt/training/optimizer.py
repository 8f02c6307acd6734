"""What a stage boundary changes in the optimiser: its state, its counters and its weight decay."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import torch

from axolotl_dmt.plan.training_plan import StagePlan

SET_BY_THE_RUN = ("params", "lr", "initial_lr", "weight_decay", "wd")
"""Keys of a parameter group that a reset leaves alone: schedulers and stages set them."""

CONSTANTS = frozenset({"qmap1", "qmap2", "eps_sq", "seed"})
"""State that no step changes: bitsandbytes' tables, StableAdamW's epsilon, APOLLO's seeds."""

COUNTERS: Mapping[str, float] = {
    "k": 0,
    "step": 0,
    "weight_sum": 0.0,
    "lr_max": -1.0,
    "scheduled_lr": 0.0,
}
"""Counters that optimisers keep in their parameter groups, with the values before the first step.

All but `step` are schedule-free's.
"""


PROJECTORS = (
    ("galore_torch.galore_projector", "GaLoreProjector"),
    ("q_galore_torch.q_galore_projector", "GaLoreProjector"),
    ("apollo_torch.random_projector", "GradientProjector"),
    ("apollo_torch.svd_projector", "GaLoreProjector"),
)
"""Modules and classes of the objects that low-rank optimisers keep in their state."""

IGNORE_DECAY = ("loraplus_lr_ratio", "optim_target_modules")
"""Settings under which the run's weight decay has no effect: LoRA+ and low-rank optimisers."""

OWN_GROUPS = ("embedding_lr_scale", "embedding_lr", "lr_groups")
"""Settings under which, as with its own optimisers, Axolotl leaves embeddings without decay."""


def groups_with_decay(trainer: Any, optimizer: Any) -> list[bool]:
    """Return for each of an optimiser's parameter groups whether the run's weight decay reaches it.

    Args:
        trainer: the trainer that has just created the optimiser.
        optimizer: the optimiser, whose groups still hold the model's own parameters.
    """
    groups = optimizer.param_groups
    if trainer.args.weight_decay:
        return [bool(group.get("wd", group.get("weight_decay"))) for group in groups]
    decaying = _decaying_parameters(trainer)
    return [any(id(parameter) in decaying for parameter in group["params"]) for group in groups]


def _decaying_parameters(trainer: Any) -> set[int]:
    """Return the ids of the parameters that a weight decay of the run would reach.

    The rules are those of transformers and of Axolotl's `OptimizerMixin`.
    """
    args = trainer.args
    if any(getattr(args, key, None) for key in IGNORE_DECAY):
        return set()
    embeddings_decay = trainer.optimizer_cls_and_kwargs is None and all(
        getattr(args, key, None) is None for key in OWN_GROUPS
    )
    names = set(trainer.get_decay_parameter_names(trainer.model))
    return {
        id(parameter)
        for name, parameter in trainer.model.named_parameters()
        if name in names and (embeddings_decay or not _is_embedding(name))
    }


def _is_embedding(name: str) -> bool:
    return name.endswith("modules_to_save.default.weight") or any(
        part in name for part in ("embed_tokens", "lm_head")
    )


def set_weight_decay(trainer: Any, decay: float) -> None:
    """Change the weight decay of the groups that the run's weight decay reaches."""
    groups = trainer.optimizer.param_groups
    # Under DeepSpeed with an optimiser of its own, the trainer made none: one group, all decays.
    for group, decays in zip(groups, trainer.dmt_decaying or [True] * len(groups), strict=True):
        if decays:
            group["wd" if "wd" in group else "weight_decay"] = decay  # Axolotl's Muon says wd


def set_stage_constants(trainer: Any, stage: StagePlan) -> None:
    """Give the optimiser the numbers that it takes from the schedule when a run creates it.

    They are the steps of schedule-free's own warm-up and the peak rate by which AdamC scales its
    weight decay. In a stage that starts with a new optimiser they are those of the stage.
    """
    ratio = stage.settings.learning_rate / trainer.args.learning_rate
    made_by: tuple[Any, dict[str, Any]] = trainer.optimizer_cls_and_kwargs or (None, {})
    optimizer = next(_innermost(trainer.optimizer))
    for group in trainer.optimizer.param_groups:
        if "train_mode" in group and "warmup_steps" in group:
            group["warmup_steps"] = stage.warmup_steps
        if type(optimizer).__name__ == "AdamC" and made_by[1].get("max_lr") is None:
            group["max_lr"] = group["initial_lr"] * ratio


def use_averaged_weights(optimizer: Any) -> None:
    """Put schedule-free's averaged weights, which are its result, into the model.

    The trainer puts the weights that it trains back before the next step. Other optimisers have
    one set of weights.
    """
    if callable(getattr(optimizer, "eval", None)):
        optimizer.eval()


def reset_optimizer(trainer: Any) -> None:
    """Reset the optimiser to what a new run would build from the present weights.

    A new optimiser is built as the trainer built the first one, and its state, its counters and
    its attributes replace those of the present one; only the rates and the weight decay stay.
    Under DeepSpeed and FSDP, which hold references to the tensors, they are set in place.

    Args:
        trainer: a trainer whose optimiser `checks.optimizers` accepts.
    """
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        for inner in _innermost(trainer.optimizer):
            _reset_in_place(inner)
        return
    inner = next(_innermost(trainer.optimizer))
    if hasattr(inner, "fused_backward"):
        _reset_lomo(inner)
        return
    _drop_state(inner)
    _take_over(inner, _new_optimizer(trainer))


def copy_of_options(class_and_options: tuple[Any, Any] | None) -> tuple[Any, Any] | None:
    """Copy the class and the arguments of an optimiser, since creating one changes them."""
    if class_and_options is None:
        return None
    made_by, options = class_and_options
    copied = dict(options)
    if "params" in copied:
        copied["params"] = [dict(group) for group in copied["params"]]
    return made_by, copied


def trust_projectors() -> None:
    """Let `torch.load` read the projectors in the optimiser state of a checkpoint.

    The trainer loads it with `weights_only=True`, which refuses classes that are not named here.
    """
    for module, name in PROJECTORS:
        if module in sys.modules:
            torch.serialization.add_safe_globals([getattr(sys.modules[module], name)])


def _drop_state(optimizer: Any) -> None:
    """Empty the state, except tensors in paged memory, which bitsandbytes never frees."""
    for parameter, state in list(optimizer.state.items()):
        if any(getattr(value, "is_paged", False) for value in state.values()):
            _zero(parameter, state)
        else:
            del optimizer.state[parameter]


def _new_optimizer(trainer: Any) -> Any:
    """Build an optimiser over the same parameters, those that a stage froze included."""
    present = trainer.optimizer
    parameters = [p for group in present.param_groups for p in group["params"]]
    with _trainable(parameters):
        trainer.optimizer = None
        try:
            return trainer.create_optimizer()
        finally:
            trainer.optimizer = present


@contextlib.contextmanager
def _trainable(parameters: list[torch.nn.Parameter]) -> Iterator[None]:
    """On entry, let all parameters require gradients; on exit, restore what was."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _take_over(optimizer: Any, new: Any) -> None:
    """Give an optimiser the state, the counters and the attributes of a new one."""
    for parameter, state in new.state.items():
        optimizer.state[parameter] = state
    for group, fresh in zip(optimizer.param_groups, new.param_groups, strict=True):
        own = {key: group[key] for key in SET_BY_THE_RUN if key in group}
        group.clear()
        group.update({**fresh, **own})
    common = vars(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]))
    for name, value in vars(new).items():
        if name not in common:
            setattr(optimizer, name, value)


def _reset_lomo(optimizer: Any) -> None:
    """Reset AdaLomo's moments and step; its hooks in the backward pass stay, and LOMO has none."""
    for name in ("exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col"):
        for moment in getattr(optimizer, name, {}).values():
            moment.zero_()
    if hasattr(optimizer, "step_num"):
        optimizer.step_num = 0


def _reset_in_place(optimizer: Any) -> None:
    """Set the state's tensors and the counters to their values before the first step."""
    for parameter, state in optimizer.state.items():
        _zero(parameter, state)
    for group in optimizer.param_groups:
        for name in COUNTERS.keys() & group.keys():
            if isinstance(group[name], torch.Tensor):
                group[name].zero_()
            else:
                group[name] = COUNTERS[name]


def _zero(parameter: Any, state: MutableMapping[str, Any]) -> None:
    for name, value in state.items():
        if name in CONSTANTS or isinstance(value, bool):
            continue
        if name == "z":  # schedule-free's second copy of the weights
            value.copy_(parameter)
        elif isinstance(value, torch.Tensor):
            _fill_with_zeros(value)
        elif isinstance(value, (int, float)):  # DeepSpeed's own Adams count in Python
            state[name] = type(value)(0)


def _fill_with_zeros(tensor: torch.Tensor) -> None:
    shard: Any = getattr(tensor, "_local_tensor", tensor)
    if hasattr(shard, "codes"):  # torchao's low-bit tensors have no zero_
        shard.codes.zero_()
        shard.scale.zero_()
    else:
        shard.zero_()


def _innermost(optimizer: Any) -> Iterator[Any]:
    """Yield the optimisers that hold the moments: under ZeRO a wrapper holds the fp32 weights."""
    inner = getattr(optimizer, "optimizer", None)
    if inner is None:
        yield optimizer
        return
    yield from _innermost(inner)
    # ZeRO-3 with part of the optimiser offloaded steps the remaining parameters with this one.
    backup = getattr(optimizer, "backup_optimizer", None)
    if backup is not None:
        yield backup
