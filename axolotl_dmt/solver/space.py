"""The amounts that a solver may choose, and what a training with some amounts costs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points: TypeAlias = NDArray[np.float64]
"""Trainings of the stage, shape (points, 1 + variables): the length of each, and its amounts.

The length is the part of the stage's fixed domains that is trained, 1 in the full stage. An amount
is a fraction of the rows of a variable's domains."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One amount to choose: a fraction of the rows of a domain, or of several domains alike.

    Attributes:
        name: its name in tables, that of the domain.
        levels: the fractions that probes may train, in ascending order; all above 0.
        rows: the rows that a fraction of 1 trains in the stage.
    """

    name: str
    levels: tuple[float, ...]
    rows: float

    @property
    def least(self) -> float:
        """The smallest amount that may be chosen.

        It is not 0: a domain that is not trained at all can be forgotten altogether, which no law
        of the amounts explains, and the smallest amount costs next to nothing.
        """
        return self.levels[0]

    @property
    def most(self) -> float:
        """The largest amount that may be chosen: nothing is known beyond the probes."""
        return self.levels[-1]

    @property
    def middle(self) -> float:
        """The geometric mean of the smallest and the largest amount."""
        return float(np.sqrt(self.least * self.most))


@dataclass(frozen=True, kw_only=True)
class Space:
    """The stage that is solved.

    Attributes:
        variables: the amounts to choose.
        lengths: the lengths that probes may have, in ascending order, all at most 1.
        fixed_rows: the rows of the other domains that the full stage trains.
    """

    variables: tuple[Variable, ...]
    lengths: tuple[float, ...]
    fixed_rows: float

    @property
    def middles(self) -> NDArray[np.float64]:
        """The middle of each variable."""
        return np.array([variable.middle for variable in self.variables])

    @property
    def least(self) -> Points:
        """The full stage with the smallest amounts, shape (1, 1 + variables)."""
        return self.full([[variable.least for variable in self.variables]])

    @property
    def most(self) -> Points:
        """The full stage with the largest amounts, shape (1, 1 + variables)."""
        return self.full([[variable.most for variable in self.variables]])

    def cost(self, points: Points) -> NDArray[np.float64]:
        """Return the rows that each point trains, shape (points,)."""
        per_unit = [self.fixed_rows, *(variable.rows for variable in self.variables)]
        return np.asarray(points @ np.array(per_unit), float)

    def candidates(self, most: int = 20_000) -> Points:
        """Return every probe of some length and levels; of many levels only the outer ones.

        Args:
            most: the largest number of candidates.
        """
        lengths, levels = self.lengths, [variable.levels for variable in self.variables]
        sizes = max(map(len, levels))
        while len(lengths) * np.prod([len(each) for each in levels], dtype=float) > most:
            sizes -= 1
            if sizes < 2:
                lengths = (lengths[0], lengths[-1])
                levels = [(each[0], each[-1]) for each in levels]
                break
            levels = [(*each[: sizes - 1], each[-1])[-sizes:] for each in levels]
        return np.array(list(product(lengths, *levels)), float)

    def full(self, amounts: ArrayLike) -> Points:
        """Return the full stage with each row of amounts, shape (rows of amounts, variables)."""
        table = np.atleast_2d(np.asarray(amounts, float))
        return np.column_stack([np.ones(len(table)), table])
