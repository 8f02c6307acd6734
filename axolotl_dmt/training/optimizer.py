"""Changes the optimiser at a stage boundary: resets its state and sets its weight decay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def set_weight_decay(trainer: Any, decay: float) -> None:
    """Change the weight decay of the parameters that have any; biases and norms stay without it.

    Args:
        trainer: the trainer whose optimiser is changed.
        decay: the new weight decay.
    """
    groups = trainer.optimizer.param_groups
    # Where DeepSpeed creates the optimiser, the trainer does not: one group, and all of it decays.
    for group, decays in zip(groups, trainer.dmt_decaying or [True] * len(groups), strict=True):
        if decays:
            group["weight_decay"] = decay


def reset_optimizer(optimizer: Any) -> None:
    """Reset the optimiser's moments and step counts to zero; the weights are left unchanged.

    The tensors are kept and filled with zeros, since DeepSpeed and sharded checkpoints hold
    references to them.

    Args:
        optimizer: one of `checks.axolotl_keys.RESETTABLE`, with or without the wrappers of
            accelerate and DeepSpeed.
    """
    for inner in _innermost(optimizer):
        for state in inner.state.values():
            for name, value in state.items():
                if hasattr(value, "zero_"):
                    value.zero_()
                elif isinstance(value, (int, float)):  # the step counts of DeepSpeed's own Adams
                    state[name] = type(value)(0)


def _innermost(optimizer: Any) -> Iterator[Any]:
    """Yield the optimisers that hold the moments, without the wrappers of accelerate and ZeRO."""
    inner = getattr(optimizer, "optimizer", None)
    if inner is None:
        yield optimizer
        return
    yield from _innermost(inner)
    # ZeRO-3 with part of the optimiser offloaded steps the remaining parameters with this one.
    backup = getattr(optimizer, "backup_optimizer", None)
    if backup is not None:
        yield backup
