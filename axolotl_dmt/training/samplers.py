"""Samplers that yield the rows of a plan to the trainer in order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import BatchSampler, Sampler

from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.training.pool_layout import PoolLayout

_CHUNK = 65536
"""The number of rows whose positions are computed at a time."""


class PlanSampler(Sampler[int]):
    """Yields the plan's rows in order, as positions in the training dataset."""

    def __init__(self, plan: TrainingPlan, layout: PoolLayout) -> None:
        self.plan, self.layout = plan, layout

    def __len__(self) -> int:
        return len(self.plan.order)

    def __iter__(self) -> Iterator[int]:
        for start in range(0, len(self.plan.order), _CHUNK):
            yield from self.layout.positions(self.plan, start, start + _CHUNK).tolist()


class PlanPackSampler(BatchSampler):
    """Yields the plan's packs in order, as lists of `batch_size` packs of positions.

    Axolotl's data loader expects the nested lists of its own multipack sampler.
    """

    def __init__(self, plan: TrainingPlan, layout: PoolLayout, batch_size: int) -> None:
        self.plan, self.layout = plan, layout
        self.batch_size, self.drop_last = batch_size, False
        assert plan.pack_offsets is not None
        self.offsets: NDArray[np.int64] = plan.pack_offsets

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.batch_size

    def __iter__(self) -> Iterator[list[list[int]]]:  # type: ignore[override]
        for batch in range(len(self)):
            yield [
                self._pack(batch * self.batch_size + position)
                for position in range(self.batch_size)
            ]

    def _pack(self, index: int) -> list[int]:
        first, last = self.offsets[index : index + 2].tolist()
        return self.layout.positions(self.plan, first, last).tolist()
