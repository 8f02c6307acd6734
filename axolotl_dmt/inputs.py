"""What a plan is compiled from: the domains' pools, the stages, and how rows are packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.amounts import Amount, parse_amount

Rows = NDArray[np.signedinteger[Any]]
"""Row ids, 32-bit where they fit."""
Lengths = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain's pool: all rows of all its datasets, laid one after another.

    Args:
        name: as the YAML names it. It keys the random selection.
        rows: number of rows of the pool.
        lengths: tokens of each row, shape (rows,). None: unknown, and token amounts are an error.
        trained: tokens of each row that the loss sees (label is not -100), shape (rows,), or None.
        trained_otherwise: the same where inputs are masked otherwise than Axolotl's
            `train_on_inputs` says; None where no stage wants that.
        datasets: (label, rows) of each dataset in pool order; sums to `rows`.
        scores: columns for `select: score:<column>`, each of shape (rows,).
        losses: a model's loss on each row, shape (rows,), for `dmt.replay`; None where no stage
            wants them.
        numbers: each row's number within its dataset, shape (rows,), where the pool leaves some
            rows out; None where it holds them all in order.
    """

    name: str
    rows: int
    lengths: Lengths | None = None
    trained: Lengths | None = None
    trained_otherwise: Lengths | None = None
    datasets: tuple[tuple[str, int], ...] = ()
    scores: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    losses: NDArray[np.float32] | None = None
    numbers: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not self.datasets:
            object.__setattr__(self, "datasets", ((self.name, self.rows),))
        if sum(rows for _, rows in self.datasets) != self.rows:
            raise ValueError(f"the datasets of {self.name!r} do not sum to its {self.rows} rows")
        columns: dict[str, NDArray[Any] | None]
        columns = {"lengths": self.lengths, "trained": self.trained, "numbers": self.numbers}
        columns |= {"trained_otherwise": self.trained_otherwise, "losses": self.losses}
        columns |= self.scores
        for name, column in columns.items():
            if column is not None and len(column) != self.rows:
                raise ValueError(f"{name} of {self.name!r} has {len(column)} of {self.rows} rows")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of the schedule, with every default filled in.

    Args:
        name: shown to people and used for folders; it changes nothing that is trained.
        mix: how much of each domain. A zero amount takes nothing of it.
        epochs: passes over the mix; 1.5 is one pass and the first half of the next one's order.
        max_steps: end the stage after this many optimiser steps at the latest.
        learning_rate: the peak.
        lr_scheduler: a name that the trainer knows.
        warmup_steps: optimiser steps of warm-up; wins over `warmup_ratio`.
        warmup_ratio: warm-up as a part of the stage's steps.
        weight_decay: None keeps the trainer's.
        reset_optimizer: start the stage with a fresh optimiser state.
        order: shuffle, round_robin, blocks, length_grouped, or one that a hook gives.
        select: random, first, longest, shortest, score:<column>, loss:hardest, loss:easiest, or
            one that a hook gives; for all domains, or by domain (the others are random).
        redraw: each epoch takes the next rows of the selection, going round when all were used,
            and not the same ones again.
        max_repeats: how often a row may occur in one epoch; None means once.
        temperature: for weights only: shares are proportional to weight ** (1 / temperature).
        train_on_inputs: where it is not what Axolotl's `train_on_inputs` says; else None.
        new_adapter: train a fresh adapter on top of the earlier ones; None goes on with the same.
        freeze: regular expressions of parameters that are held still in this stage.
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
        """Warm-up steps of a stage of `steps` optimiser steps, by Axolotl's rule.

        Steps win over a ratio; with neither it is 3% and at most 100; 1 becomes 2, because the
        first step of a warm-up of one has a learning rate of zero.
        """
        if self.warmup_steps is not None:
            warmup = self.warmup_steps
        elif self.warmup_ratio is not None:
            warmup = max(int(self.warmup_ratio * steps), 0)
        else:
            warmup = min(int(0.03 * steps), 100)
        return 2 if warmup == 1 else warmup

    def method(self, domain: str) -> str:
        """How rows of a domain are selected."""
        return self.select if isinstance(self.select, str) else self.select.get(domain, "random")

    def to_plain(self) -> dict[str, Any]:
        """The stage as JSON holds it; `from_plain` gives it back."""
        select = self.select if isinstance(self.select, str) else dict(self.select)
        mix = {name: amount.to_plain() for name, amount in self.mix.items()}
        return {**vars(self), "mix": mix, "select": select, "freeze": list(self.freeze)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Stage:
        """Read what `to_plain` gave."""
        mix = {
            name: parse_amount(value, f"mix.{name}", units=None)
            for name, value in plain["mix"].items()
        }
        return cls(**{**plain, "mix": mix, "freeze": tuple(plain["freeze"])})


@dataclass(frozen=True)
class Packing:
    """How rows are packed, where the unit that is dealt is a pack and not a row.

    Args:
        capacity: most tokens of a pack.
        packs_per_step: packs of one optimiser step, over all ranks and micro batches.
        pack: is given the lengths of the rows of one epoch of a stage, in training order, and
            returns the packs as lists of positions: each position once, no pack above `capacity`.
    """

    capacity: int
    packs_per_step: int
    pack: Callable[[Lengths], Sequence[Sequence[int]]]
