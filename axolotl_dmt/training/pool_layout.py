"""Where each row of each domain lies in the training dataset.

The dataset holds the rows of all domains one after another, then one blank row. Where a stage masks
the inputs differently from the rest of the run, a second copy of all rows follows, masked in that
way. A plan's row id is the position of the row in the first part, or -1 for a blank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.plan.training_plan import TrainingPlan

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class PoolLayout:
    """The layout of a training dataset.

    Attributes:
        rows: number of rows of each domain, in the order of the dataset.
    """

    rows: Mapping[str, int]

    @property
    def blank(self) -> int:
        """The position of the blank row."""
        return sum(self.rows.values())

    def arrange(
        self, rows: Sequence[Part], blank: Part, remasked: Sequence[Part] = ()
    ) -> list[Part]:
        """Return the parts of the dataset in the order in which they are concatenated.

        Args:
            rows: the domains' rows, in the order of `self.rows`.
            blank: the blank row.
            remasked: the same rows with their inputs masked differently, where a stage needs them.
        """
        return [*rows, blank, *remasked]

    def range_of(self, domain: str) -> range:
        """Return the positions of a domain's rows."""
        names = list(self.rows)
        start = sum(self.rows[name] for name in names[: names.index(domain)])
        return range(start, start + self.rows[domain])

    def positions(self, plan: TrainingPlan, start: int, stop: int) -> NDArray[np.int64]:
        """Return the positions of the rows `order[start:stop]` of a plan, shape (stop - start,).

        Blanks are at `blank`. Rows of a stage that sets `train_on_inputs` are taken from the second
        copy, in which the inputs are masked differently.
        """
        rows = np.asarray(plan.order[start:stop])
        positions = np.where(rows < 0, self.blank, rows).astype(np.int64)
        for stage in plan.stages:
            if stage.settings.train_on_inputs is not None:
                first, last = (max(bound - start, 0) for bound in plan.step_bounds(stage))
                positions[first:last] += np.where(rows[first:last] < 0, 0, self.blank + 1)
        return positions
