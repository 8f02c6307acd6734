"""The cheapest amounts at which every protected value stays within its floor.

All amounts of a nested ladder are tried, then SLSQP (scipy) refines the best of them between its
rungs. Among the mixes whose bounds stay within every floor, the target's best prediction decides;
a mix whose prediction is within one standard error of that best counts as equal (the one-standard-
error rule of Breiman et al., "Classification and Regression Trees", 1984), and the cheapest of
these is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from axolotl_dmt.solver.law import Law, Values
from axolotl_dmt.solver.space import Points, Space

_MOST_MIXES = 100_000
_FEW = 49
"""Rungs of the ladder of one variable, where there are few variables."""
_ROUNDING = 1e-9
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A limit on a protected value.

    Attributes:
        name: the ability or domain.
        law: its law, in which less is better.
        limit: the largest value that is accepted.
        limit_sd: the standard deviation of the limit, where it was translated from another measure.
    """

    name: str
    law: Law
    limit: float
    limit_sd: float = 0.0

    def excess(self, points: Points, confidence: float) -> Values:
        """Return by how much the bound of each point exceeds the limit; at most 0 if it holds."""
        return self.law.upper(points, confidence, self.limit_sd) - self.limit


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the solver chose.

    Attributes:
        amounts: the amount of each variable.
        excess: {floor: by how much its bound exceeds its limit, at most 0 if it holds}.
        least_excess: {floor: the smallest excess that any amounts reach for this floor alone}.
    """

    amounts: tuple[float, ...]
    excess: Mapping[str, float]
    least_excess: Mapping[str, float]

    @property
    def feasible(self) -> bool:
        """Whether every floor holds."""
        return all(value <= 0 for value in self.excess.values())

    @property
    def broken(self) -> tuple[str, ...]:
        """The floors that do not hold."""
        return tuple(name for name, value in self.excess.items() if value > 0)

    @property
    def impossible(self) -> tuple[str, ...]:
        """The floors that no amounts hold, even without the other floors."""
        return tuple(name for name, value in self.least_excess.items() if value > 0)

    def agrees_with(self, other: Answer) -> bool:
        """Whether both hold and differ by less than a factor of 2 in every amount."""
        if not (self.feasible and other.feasible):
            return False
        return self.is_near(other.amounts)

    def is_near(self, amounts: Sequence[float]) -> bool:
        """Whether every amount differs from the answer's by less than a factor of 2."""
        pairs = zip(self.amounts, amounts, strict=True)
        return all(abs(np.log2(ours / theirs)) < 1 for ours, theirs in pairs)


def search(
    space: Space, floors: Sequence[Floor], targets: Sequence[Law], confidence: float
) -> Answer:
    """Return the cheapest amounts that hold every floor and improve the targets most.

    If no amounts hold every floor, the answer is where the largest excess is smallest.

    Args:
        space: the stage.
        floors: what is protected.
        targets: the laws of what is to be improved; may be empty.
        confidence: the confidence of each floor's bound.
    """
    ladder = _ladder(space)
    points = space.full(ladder)
    excesses = np.column_stack([floor.excess(points, confidence) for floor in floors])
    least = dict(zip((f.name for f in floors), excesses.min(axis=0).tolist(), strict=True))
    worst = excesses.max(axis=1)
    if (worst <= 0).any():
        at = _cheapest_of_best(space, points, np.flatnonzero(worst <= 0), targets)
        amounts = _refined(space, floors, targets, confidence, points, at)
    else:
        amounts = points[int(np.argmin(worst)), 1:]
    excess = {
        floor.name: float(floor.excess(space.full([amounts]), confidence)[0]) for floor in floors
    }
    return Answer(amounts=tuple(map(float, amounts)), excess=excess, least_excess=least)


def _ladder(space: Space) -> Values:
    """Return all mixes of a ladder's rungs, which are even ratios from the least to the most."""
    count = len(space.variables)
    rungs = min(_FEW, max(3, int(_MOST_MIXES ** (1 / count))))
    ladders = [np.geomspace(v.least, v.most, rungs) for v in space.variables]
    return np.array(list(product(*ladders)), float)


def _lag(points: Points, targets: Sequence[Law], best: Points) -> Values:
    """Return by how much each point's targets lie above the best's, less one standard error."""
    lags = [
        law.predict(points) - law.predict(best) - law.best.spread_between(points, best)
        for law in targets
    ]
    return np.asarray(np.mean(lags, axis=0))


def _cheapest_of_best(
    space: Space, points: Points, feasible: NDArray[np.int64], targets: Sequence[Law]
) -> tuple[int, int]:
    """Return the index of the cheapest point as good as the best, and that of the best."""
    costs = space.cost(points[feasible])
    if not targets:
        index = int(feasible[np.argmin(costs)])
        return index, index
    values = np.mean([law.predict(points[feasible]) for law in targets], axis=0)
    best = int(feasible[np.argmin(values)])
    equal = _lag(points[feasible], targets, points[[best]]) <= _ROUNDING
    return int(feasible[equal][np.argmin(costs[equal])]), best


def _refined(
    space: Space,
    floors: Sequence[Floor],
    targets: Sequence[Law],
    confidence: float,
    points: Points,
    at: tuple[int, int],
) -> Values:
    """Return cheaper amounts near a rung that hold as well, or those of the rung."""
    start, best = points[at[0], 1:], points[[at[1]]]

    def full(logs: Values) -> Points:
        return space.full([np.exp(logs)])

    def slack(logs: Values) -> Values:
        point = full(logs)
        margins = [-floor.excess(point, confidence)[0] for floor in floors]
        if targets:
            margins.append(-_lag(point, targets, best)[0])
        return np.array(margins)

    total = space.cost(space.most)[0]
    result = minimize(
        lambda logs: float(space.cost(full(logs))[0] / total),
        np.log(start),
        method="SLSQP",
        bounds=[(float(np.log(v.least)), float(np.log(v.most))) for v in space.variables],
        constraints=[{"type": "ineq", "fun": lambda logs: slack(logs) - _TOLERANCE}],
    )
    amounts = np.clip(full(result.x)[0, 1:], space.least[0, 1:], space.most[0, 1:])
    cheaper = space.cost(space.full([amounts]))[0] < space.cost(space.full([start]))[0]
    # The caller must be able to rely on the constraints, which SLSQP meets within a tolerance.
    holds = (slack(np.log(amounts)) >= 0).all()
    return amounts if cheaper and holds else start
