"""The cheapest amounts at which every protected value stays within its floor.

All amounts of a nested ladder are tried, then SLSQP (scipy) refines the cheapest of them that holds
between its rungs. A target to improve decides among mixes that cost about as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from scipy.optimize import minimize

from axolotl_dmt.solver.law import Law, Values
from axolotl_dmt.solver.space import Points, Space

EXTRA: Final = 0.05
"""By how much of the cheapest stage's rows a mix may be dearer that improves the target.

A larger part is not paid: in a short probe, replayed rows are additional steps as well, from which
the target improves more than it would in the full stage.
"""
_MOST_MIXES = 100_000
_FEW = 49
"""Rungs of the ladder of one variable, where there are few variables."""
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
        held = points[worst <= 0]
        amounts = _refined(space, floors, confidence, held[np.argmin(space.cost(held))])
        amounts = _improved(space, targets, held, amounts)
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


def _improved(space: Space, targets: Sequence[Law], held: Points, cheapest: Values) -> Values:
    """Return the mix that improves the targets most and costs about as much as the cheapest.

    It must be better by more than the standard error of the difference; otherwise the cheapest is
    returned.

    Args:
        space: the stage.
        targets: the laws of what is to be improved; may be empty.
        held: full stages that hold every floor.
        cheapest: the amounts of the cheapest mix.
    """
    start = space.full([cheapest])
    near = held[space.cost(held) <= (1 + EXTRA) * space.cost(start)[0]]
    if not targets or not len(near):
        return cheapest
    values = np.mean([law.predict(near) for law in targets], axis=0)
    best = near[[np.argmin(values)]]
    gains = [law.predict(start) - law.predict(best) for law in targets]
    errors = [law.best.spread_between(start, best) for law in targets]
    return best[0, 1:] if np.mean(gains) > np.mean(errors) else cheapest


def _refined(space: Space, floors: Sequence[Floor], confidence: float, start: Values) -> Values:
    """Return cheaper amounts near those of a rung that hold as well, or those of the rung.

    Args:
        space: the stage.
        floors: what is protected.
        confidence: the confidence of each floor's bound.
        start: a full stage that holds every floor.
    """
    start = start[1:]

    def full(logs: Values) -> Points:
        return space.full([np.exp(logs)])

    def slack(logs: Values) -> Values:
        point = full(logs)
        return np.array([-floor.excess(point, confidence)[0] for floor in floors])

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
