"""How a measured value depends on the amounts that a stage trains: a law with its uncertainty.

The values are transformed so that less is better and effects multiply: the logarithm of a loss,
or the negative log-odds of a score. With the length f and the amounts a of the variables,

    value = b0 + bf * log(f) + sum of b_j * log(a_j + c_j) + noise.

The loss is thus a power law in the rows of each domain, as in scaling laws of fine-tuning and in Li
et al., "Data Mixing Optimization for Supervised Fine-Tuning of Large Language Models" (ICML 2025,
arXiv 2508.11953). c stands for what the model still knows of a domain without a row of it. With c
far above the amounts, the loss is exponential in them, the form of Ye et al., "Data Mixing Laws"
(ICLR 2025, arXiv 2403.16952).

For a given c the law is linear in its coefficients: least squares fits them, and the bound for a
new training is the textbook one, with Student's t for the few degrees of freedom. A handful of
probes cannot determine c. Several are therefore fitted, and of those that the probes cannot tell
apart by their leave-one-out errors, the one with the worst bound counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from axolotl_dmt.solver.space import Points

Values: TypeAlias = NDArray[np.float64]

KNOWN: Final = (0.0, 0.25, 1.0)
"""The values of c that are fitted, as factors of the middle amounts."""
AS_GOOD: Final = 1.5
"""A fit counts if its leave-one-out error is at most this many times the smallest."""
_ROUNDING = 1e-9


def features(points: Points, known: Values | float = 0.0) -> Values:
    """Return the regressors of each point, shape (points, 2 + variables).

    Args:
        points: the points.
        known: c of each variable.
    """
    logs = np.log(points[:, 1:] + known)
    return np.column_stack([np.ones(len(points)), np.log(points[:, 0]), logs])


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The law fitted with one c.

    Attributes:
        known: c of each variable.
        coefficients: shape (2 + variables,): of the intercept, the length and each variable.
        inverse: the inverse of the regressors' cross products, shape (2 + variables,) * 2.
        sd: the standard deviation of the residuals.
        residuals: measured minus fitted value of each probe.
        left_out: the root mean square of the errors when each probe is predicted by the others.
    """

    known: Values
    coefficients: Values
    inverse: Values
    sd: float
    residuals: Values
    left_out: float

    def predict(self, points: Points) -> Values:
        """Return the predicted value at each point."""
        return features(points, self.known) @ self.coefficients

    def spread(self, points: Points) -> Values:
        """Return the standard deviation of a new training's value about its prediction."""
        rows = features(points, self.known)
        leverage = np.einsum("ij,jk,ik->i", rows, self.inverse, rows)
        return np.asarray(self.sd * np.sqrt(1 + leverage), float)

    def spread_between(self, points: Points, reference: Points) -> Values:
        """Return the standard error of the predicted difference of each point from one point."""
        rows = features(points, self.known) - features(reference, self.known)
        squares = np.einsum("ij,jk,ik->i", rows, self.inverse, rows)
        return np.asarray(self.sd * np.sqrt(np.maximum(squares, 0)), float)


@dataclass(frozen=True, kw_only=True)
class Law:
    """The fits of a law that the probes cannot tell apart.

    Attributes:
        fits: the one with the smallest leave-one-out error first.
        dof: the degrees of freedom of the residuals.
    """

    fits: tuple[Fit, ...]
    dof: int

    @property
    def best(self) -> Fit:
        """The fit with the smallest leave-one-out error."""
        return self.fits[0]

    def predict(self, points: Points) -> Values:
        """Return the predicted value at each point."""
        return self.best.predict(points)

    def upper(self, points: Points, confidence: float, other_sd: float = 0.0) -> Values:
        """Return what the value of a new training at each point does not exceed.

        Args:
            points: the points.
            confidence: with which probability.
            other_sd: the standard deviation of an error that adds to that of the law.
        """
        return self._bound(points, confidence, other_sd, 1.0, np.max)

    def lower(self, points: Points, confidence: float, other_sd: float = 0.0) -> Values:
        """Return what the value of a new training at each point does not fall below."""
        return self._bound(points, confidence, other_sd, -1.0, np.min)

    def _bound(
        self,
        points: Points,
        confidence: float,
        other_sd: float,
        sign: float,
        worst: Callable[..., Values],
    ) -> Values:
        half = sign * float(stats.t.ppf(confidence, self.dof))
        bounds = [
            fit.predict(points) + half * np.hypot(fit.spread(points), other_sd) for fit in self.fits
        ]
        return np.asarray(worst(bounds, axis=0), float)


def fit_law(points: Points, values: Sequence[float], middles: Values) -> Law:
    """Fit a law.

    Args:
        points: the probes, more than there are coefficients, and not all alike in any variable.
        values: the transformed value of each probe.
        middles: the middle amount of each variable.

    Raises:
        ValueError: the probes do not determine the coefficients.
    """
    measured = np.asarray(values, float)
    fits = [_fit(points, measured, middles * factor) for factor in KNOWN]
    fits.sort(key=lambda fit: fit.left_out)
    most = fits[0].left_out * AS_GOOD + _ROUNDING
    as_good = tuple(fit for fit in fits if fit.left_out <= most)
    return Law(fits=as_good, dof=len(points) - points.shape[1] - 1)


def _fit(points: Points, values: Values, known: Values) -> Fit:
    rows = features(points, known)
    count, size = rows.shape
    if count <= size or np.linalg.matrix_rank(rows) < size:
        raise ValueError(f"{count} probes do not determine {size} coefficients")
    inverse = np.linalg.inv(rows.T @ rows)
    coefficients = inverse @ rows.T @ values
    residuals = values - rows @ coefficients
    leverage = np.einsum("ij,jk,ik->i", rows, inverse, rows)
    # A probe that alone determines a coefficient has leverage 1: its error says nothing.
    left_out = residuals / np.maximum(1 - leverage, 1e-6)
    return Fit(
        known=known,
        coefficients=coefficients,
        inverse=inverse,
        sd=float(np.sqrt(residuals @ residuals / (count - size))),
        residuals=residuals,
        left_out=float(np.sqrt(np.mean(left_out**2))),
    )
