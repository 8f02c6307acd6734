"""Which held-out loss a score corresponds to, by the probes' own losses and scores.

The log-odds of a score are taken as linear in the logarithm of the loss, fitted by least squares in
which each score weighs as much as its number of items says. Floors on scores become floors on
losses in this way, because a loss is measured far more precisely than a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from axolotl_dmt.solver.law import Values


def log_odds(share: float, items: int) -> float:
    """Return the log-odds of a share of items; half an item keeps 0 and 1 finite."""
    right = min(max(share, 0.0), 1.0) * items
    return float(np.log((right + 0.5) / (items - right + 0.5)))


def share_of(odds: float) -> float:
    """Return the share that has some log-odds."""
    return float(1 / (1 + np.exp(-odds)))


@dataclass(frozen=True, kw_only=True)
class ScoreCurve:
    """The log-odds of a score as a function of the logarithm of the loss.

    Attributes:
        items: the number of items of a score.
        intercept: the log-odds at a loss of 1.
        slope: their change for each unit of the logarithm; below 0.
        covariance: that of intercept and slope, shape (2, 2).
    """

    items: int
    intercept: float
    slope: float
    covariance: Values

    def share(self, log_loss: float) -> float:
        """Return the expected score at a loss, as a share of its scale."""
        return share_of(self.intercept + self.slope * log_loss)

    def log_loss(self, share: float) -> float:
        """Return the logarithm of the loss at which a score is expected."""
        return (log_odds(share, self.items) - self.intercept) / self.slope

    def log_loss_sd(self, share: float) -> float:
        """Return the standard deviation of that logarithm.

        It holds the uncertainty of the curve and the noise of scoring once with these items.
        """
        point = np.array([1.0, self.log_loss(share)])
        likely = np.clip(share, 0.5 / self.items, 1 - 0.5 / self.items)
        noise = 1 / (self.items * likely * (1 - likely))
        return float(np.sqrt(point @ self.covariance @ point + noise) / abs(self.slope))


def fit_curve(
    log_losses: Sequence[float], shares: Sequence[float], items: int
) -> ScoreCurve | None:
    """Fit the curve.

    Args:
        log_losses: the logarithm of the loss of each training.
        shares: its score, as a share of the scale.
        items: the number of items of a score.

    Returns:
        None if the scores do not fall as the loss rises, so that nothing can be translated.
    """
    if len(log_losses) < 3:
        return None
    rows = np.column_stack([np.ones(len(log_losses)), log_losses])
    odds = np.array([log_odds(share, items) for share in shares])
    likely = np.clip(np.asarray(shares, float), 0.5 / items, 1 - 0.5 / items)
    weights = items * likely * (1 - likely)
    cross = rows.T @ (rows * weights[:, None])
    if np.linalg.matrix_rank(cross) < 2:
        return None
    inverse = np.linalg.inv(cross)
    intercept, slope = inverse @ rows.T @ (weights * odds)
    errors = odds - rows @ np.array([intercept, slope])
    # Above 1 where the scores scatter more than their number of items explains.
    scatter = max(1.0, float((weights * errors**2).sum() / (len(odds) - 2)))
    if slope >= 0 or slope + 2 * np.sqrt(scatter * inverse[1, 1]) >= 0:
        return None
    return ScoreCurve(
        items=items, intercept=float(intercept), slope=float(slope), covariance=scatter * inverse
    )
