"""Which probes to train: those from which a law predicts the full stage best, at a given cost.

The criterion is I-optimality: the mean variance of the predictions over all full stages, times the
square of the quantile of Student's t for the degrees of freedom that are left. The law has no
curvature, but the design must be able to show one, so the squares of the amounts' regressors enter
with a prior of small weight (DuMouchel and Jones, "A Simple Bayesian Modification of D-Optimal
Designs to Reduce Dependence on an Assumed Model", Technometrics 36, 1994).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from axolotl_dmt.solver.law import Values, features
from axolotl_dmt.solver.space import Points, Space

SPARE: Final = 4
"""How many more probes than coefficients there are at least; the residuals need some."""
_PRIOR: Final = 1.0
_NO_PRIOR: Final = 1e-6


def fewest(space: Space) -> int:
    """Return the smallest number of probes that a law needs."""
    return 2 + len(space.variables) + SPARE


def least_cost(space: Space) -> float:
    """Return the cost in rows below which no design can be made."""
    candidates = space.candidates()
    return float(space.cost(candidates[_cheapest(space, candidates, fewest(space))]).sum())


def choose_probes(space: Space, most_cost: float, confidence: float) -> Points:
    """Return the probes to train first, the cheapest first.

    Args:
        space: the stage.
        most_cost: the rows that all of them may train together.
        confidence: the confidence of the bounds, which weighs degrees of freedom.

    Raises:
        ValueError: the cost is too small for any design.
    """
    criterion = _Criterion.of(space)
    designs = []
    for count in range(fewest(space), 2 * fewest(space)):
        chosen = criterion.exchanged(_cheapest(space, criterion.candidates, count), most_cost)
        if chosen is None:
            break
        free = count - 2 - len(space.variables)
        width = stats.t.ppf(confidence, free) * np.sqrt(1 + criterion.variance(chosen))
        designs.append((float(width), chosen))
    if not designs:
        raise ValueError("the cost is too small for a design")
    _, best = min(designs, key=lambda design: (design[0], len(design[1])))
    points = criterion.candidates[best]
    return points[np.argsort(space.cost(points), kind="stable")]


def _cheapest(space: Space, candidates: Points, count: int) -> list[int]:
    """Return the cheapest probes that determine the law, as indices of candidates."""
    # Of many variables, the candidates have the outer levels only.
    values = [np.unique(column) for column in candidates.T]
    smallest = [column[0] for column in values]
    wanted = [smallest]
    for place, column in enumerate(values):
        wanted.append([column[1] if at == place else x for at, x in enumerate(smallest)])
    indices = [int(np.flatnonzero((candidates == point).all(axis=1))[0]) for point in wanted]
    by_cost = np.argsort(space.cost(candidates), kind="stable").tolist()
    return [*indices, *(index for index in by_cost if index not in indices)][:count]


@dataclass(frozen=True, kw_only=True)
class _Criterion:
    """The mean variance of predictions of full stages, for designs of some candidates.

    Attributes:
        candidates: the probes to choose from.
        costs: the rows that each trains.
        rows: the regressors of each, with the squares.
        region: the mean cross products of the regressors over full stages.
        prior: the prior's precision.
    """

    candidates: Points
    costs: Values
    rows: Values
    region: Values
    prior: Values

    @classmethod
    def of(cls, space: Space) -> _Criterion:
        candidates, linear = space.candidates(), 2 + len(space.variables)
        full = candidates[candidates[:, 0] == space.lengths[0]].copy()
        full[:, 0] = 1.0
        stages = _regressors(space, full)
        prior = np.full(stages.shape[1], _PRIOR)
        prior[:linear] = _NO_PRIOR
        return cls(
            candidates=candidates,
            costs=space.cost(candidates),
            rows=_regressors(space, candidates),
            region=stages.T @ stages / len(stages),
            prior=np.diag(prior),
        )

    def variance(self, chosen: list[int]) -> float:
        """Return the mean variance of a design, in units of the noise's variance."""
        return float(self.variances(chosen[:-1], np.array(chosen[-1:]))[0])

    def variances(self, others: list[int], added: NDArray[np.int64]) -> Values:
        """Return the mean variance with each of `added` beside `others`."""
        inverse = np.linalg.inv(self.rows[others].T @ self.rows[others] + self.prior)
        more = self.rows[added] @ inverse
        gained = np.einsum("ij,jk,ik->i", more, self.region, more)
        growth = 1 + np.einsum("ij,ij->i", more, self.rows[added])
        return np.asarray(np.trace(inverse @ self.region) - gained / growth)

    def exchanged(self, start: list[int], most_cost: float) -> list[int] | None:
        """Return the best design that exchanges of single probes reach; None if none fits."""
        if self.costs[start].sum() > most_cost:
            return None
        chosen, best = [*start], self.variance(start)
        for _ in range(20):
            before = best
            for place in range(len(chosen)):
                others = [index for at, index in enumerate(chosen) if at != place]
                budget = most_cost - self.costs[others].sum()
                fits = np.flatnonzero(self.costs <= budget * (1 + 1e-12))
                fits = fits[~np.isin(fits, others)]
                variances = self.variances(others, fits)
                index = int(np.argmin(variances))
                if variances[index] < best:
                    chosen[place], best = int(fits[index]), float(variances[index])
            if best > before * (1 - 1e-9):
                break
        return chosen


def _regressors(space: Space, points: Points) -> Values:
    """Return the law's regressors of each point, and the squares of those of its amounts."""
    rows = features(points)
    low, high = (features(edge)[0, 2:] for edge in (space.least, space.most))
    centred = 2 * (rows[:, 2:] - low) / (high - low) - 1
    return np.column_stack([rows[:, :2], centred, centred**2])
