"""Which optimisers' state can be forgotten between stages, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

RESETTABLE = frozenset({"adamw_torch", "adamw_torch_fused", "sgd", "rmsprop"})
"""Axolotl's names of optimisers whose state starts at zero."""


def reset_optimizer(optimizer: Any) -> None:
    """Forget moments and step counts, as a new run would start; weights are left alone.

    The tensors stay and are filled with zeros, since DeepSpeed and sharded checkpoints hold on to
    them.

    Args:
        optimizer: one of `RESETTABLE`, as it is or in accelerate's or DeepSpeed's wrappers.
    """
    for inner in _innermost(optimizer):
        for state in inner.state.values():
            for name, value in state.items():
                if hasattr(value, "zero_"):
                    value.zero_()
                elif isinstance(value, (int, float)):  # DeepSpeed's own Adams count in Python
                    state[name] = type(value)(0)


def _innermost(optimizer: Any) -> Iterator[Any]:
    """The optimisers that hold the moments: under ZeRO a wrapper holds the fp32 weights instead."""
    inner = getattr(optimizer, "optimizer", None)
    if inner is None:
        yield optimizer
        return
    yield from _innermost(inner)
    # ZeRO-3 with part of the optimiser offloaded steps the rest with this one.
    backup = getattr(optimizer, "backup_optimizer", None)
    if backup is not None:
        yield backup
