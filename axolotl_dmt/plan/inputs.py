"""The inputs of a plan: the pools of the domains, the stages, and how rows are packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.plan.amounts import Amount, parse_amount
from axolotl_dmt.plan.row_counts import RowCounts

Rows = NDArray[np.signedinteger[Any]]
"""Row ids, in 32 bits where they fit."""
Lengths = NDArray[np.int32]
"""Numbers of tokens."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The pool of a domain: the rows of all its datasets, one dataset after another.

    Args:
        name: the domain's name in the YAML. The random selection depends on it.
        rows: number of rows in the pool.
        lengths: tokens of each row, shape (rows,). None if unknown: token amounts are then an
            error.
        trained: tokens of each row that count in the loss (label is not -100), shape (rows,), or
            None if unknown.
        trained_when_remasked: the same under the opposite of Axolotl's `train_on_inputs`; None if
            no stage trains that way.
        datasets: (label, rows) of each dataset in pool order; the rows sum to `rows`.
        scores: columns for `select: score:<column>`, each of shape (rows,).
        losses: a model's loss on each row, shape (rows,), for `dmt.replay`; None if no stage
            needs them.
        numbers: the number of each row within its dataset, shape (rows,), if the pool leaves some
            rows out; None if it holds all rows in order.
        counts: what became of the rows of each dataset, in pool order; empty if unknown.

    Raises:
        ValueError: the datasets or a column do not fit the number of rows.
    """

    name: str
    rows: int
    lengths: Lengths | None = None
    trained: Lengths | None = None
    trained_when_remasked: Lengths | None = None
    datasets: tuple[tuple[str, int], ...] = ()
    scores: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    losses: NDArray[np.float32] | None = None
    numbers: NDArray[np.int64] | None = None
    counts: tuple[RowCounts, ...] = ()

    def __post_init__(self) -> None:
        if not self.datasets:
            object.__setattr__(self, "datasets", ((self.name, self.rows),))
        if sum(rows for _, rows in self.datasets) != self.rows:
            raise ValueError(f"the datasets of {self.name!r} do not sum to its {self.rows} rows")
        columns: dict[str, NDArray[Any] | None]
        columns = {"lengths": self.lengths, "trained": self.trained, "numbers": self.numbers}
        columns |= {"trained_when_remasked": self.trained_when_remasked, "losses": self.losses}
        columns |= self.scores
        for name, column in columns.items():
            if column is not None and len(column) != self.rows:
                raise ValueError(f"{name} of {self.name!r} has {len(column)} of {self.rows} rows")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the schedule, with every default filled in.

    Args:
        name: name of the stage in reports and folders; it does not affect the training.
        mix: the amount of each domain that the stage takes. A zero amount takes nothing.
        epochs: passes over the mix; 1.5 is one pass and the first half of the next one.
        max_steps: optimiser steps after which the stage ends at the latest; None is no limit.
        learning_rate: the peak learning rate.
        lr_scheduler: name of the learning-rate schedule, as the trainer knows it.
        warmup_steps: optimiser steps of warm-up; takes precedence over `warmup_ratio`.
        warmup_ratio: warm-up as a fraction of the stage's steps.
        weight_decay: weight decay of the stage; None keeps the trainer's.
        reset_optimizer: whether the optimiser state is reset at the start of the stage.
        order: shuffle, round_robin, blocks, length_grouped, sequential, or one that a hook
            registers.
        select: random, first, longest, shortest, score:<column>, loss:hardest, or one that a hook
            registers; for all domains, or by domain (the others are random).
        redraw: whether each epoch takes the next rows of the selection, which starts again at its
            beginning once all rows have been used. Otherwise every epoch takes the same rows.
        max_repeats: how often a row may occur in one epoch; None means once.
        temperature: for weights only: shares are proportional to weight ** (1 / temperature).
        train_on_inputs: the stage's own value, if it differs from Axolotl's; else None.
        new_adapter: True to train a fresh adapter on top of the earlier ones; None continues with
            the same adapter.
        freeze: regular expressions of parameters that are frozen in this stage.
    """

    name: str
    mix: Mapping[str, Amount]
    epochs: float = 1.0
    max_steps: int | None = None
    learning_rate: float
    lr_scheduler: str = "cosine"
    warmup_steps: int | None = None
    warmup_ratio: float | None = None
    weight_decay: float | None = None
    reset_optimizer: bool = True
    order: str = "shuffle"
    select: str | Mapping[str, str] = "random"
    redraw: bool = False
    max_repeats: int | None = None
    temperature: float = 1.0
    freeze: tuple[str, ...] = ()
    new_adapter: Literal[True] | None = None
    train_on_inputs: bool | None = None

    def warmup(self, steps: int) -> int:
        """Return the warm-up steps of a stage of `steps` optimiser steps, by Axolotl's rule.

        Steps take precedence over a ratio. With neither, the warm-up is 3% of the steps and at
        most 100. A warm-up of 1 becomes 2, because its only step has a learning rate of zero.
        """
        if self.warmup_steps is not None:
            warmup = self.warmup_steps
        elif self.warmup_ratio is not None:
            warmup = max(int(self.warmup_ratio * steps), 0)
        else:
            warmup = min(int(0.03 * steps), 100)
        return 2 if warmup == 1 else warmup

    def method(self, domain: str) -> str:
        """Return the selection method of a domain's rows, such as `random`."""
        return self.select if isinstance(self.select, str) else self.select.get(domain, "random")

    def to_plain(self) -> dict[str, Any]:
        """Return the stage in the form that JSON holds; `from_plain` reads it."""
        select = self.select if isinstance(self.select, str) else dict(self.select)
        mix = {name: amount.to_plain() for name, amount in self.mix.items()}
        return {**vars(self), "mix": mix, "select": select, "freeze": list(self.freeze)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Stage:
        """Return the stage that `to_plain` wrote."""
        mix = {
            name: parse_amount(value, f"mix.{name}", units=None)
            for name, value in plain["mix"].items()
        }
        return cls(**{**plain, "mix": mix, "freeze": tuple(plain["freeze"])})


@dataclass(frozen=True)
class Packing:
    """How rows are packed, if an optimiser step trains packs and not single rows.

    Args:
        capacity: maximum number of tokens in a pack.
        packs_per_step: packs of one optimiser step, over all ranks and micro batches.
        pack: takes the lengths of the rows of one epoch of a stage, in training order, and returns
            the packs as lists of positions: each position once, no pack above `capacity`.
    """

    capacity: int
    packs_per_step: int
    pack: Callable[[Lengths], Sequence[Sequence[int]]]
