"""Statistics of two models' scores on the same items.

Two stages answer the same questions, so their errors are correlated, and the difference of their
scores is known much better than two independent standard errors suggest.

    from axolotl_dmt.results.paired import common_items, holm

    change = common_items(before, after)    # two mappings {item key: score}
    print(change.difference, change.low, change.high, change.p, change.lost, change.won)

Scores of 0 and 1 are tested with McNemar's exact conditional test in its mid-p form. The plain
exact test is conservative: with 10 to 40 changed items, its error rate at a nominal 5% is between
2% and 4.5%. The mid-p form stays close to 5% (Fagerland, Lydersen and Laake, "The McNemar test for
binary matched-pairs data", BMC Medical Research Methodology 13:91, 2013). The interval is Bonett
and Price's adjusted one, which the same authors recommend (Statistics in Medicine 33, 2014). It
stays wider than zero where no item changed.

Graded scores are tested by flipping the signs of the items' differences, with the mid-p value too,
since grades that are whole numbers have many equal sums. Their interval is Student's, over the
items' differences.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)

LEVEL = 0.95
"""The level of the intervals."""
ALPHA = 0.05
"""The error rate that a test is planned for."""
POWER = 0.8
"""The power that a number of items is planned for."""

_MOST_ITEMS = 10_000_000
_BATCH = 2**22  # numbers that the test holds in memory at once


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How the scores of the same items differ between two models.

    Attributes:
        n: number of items that both models answered.
        before: mean score of the first model.
        after: mean score of the second model.
        low: lower end of the 95% interval of the difference.
        high: its upper end.
        p: two-sided p-value of "the models do not differ".
        lost: number of items with a lower score after.
        won: number of items with a higher score after.
        spread: the root of the mean squared difference of an item; for scores of 0 and 1 the root
            of the fraction of items that changed.
        graded: whether any score is other than 0 and 1.
    """

    n: int
    before: float
    after: float
    low: float
    high: float
    p: float
    lost: int
    won: int
    spread: float
    graded: bool

    @property
    def difference(self) -> float:
        """The mean score after minus that before."""
        return self.after - self.before

    @property
    def stderr(self) -> float:
        """The standard error of the difference."""
        return math.sqrt(max(0.0, self.spread**2 - self.difference**2) / self.n)


def common_items(
    before: Mapping[Name, float], after: Mapping[Name, float]
) -> PairedDifference | None:
    """Compare two models on the items that both have.

    Args:
        before: {item: score} of the first model; an item without a finite score is left out.
        after: the same of the second model.

    Returns:
        The comparison, or None if no item has a score of both.
    """
    pairs = [
        (score, after[item])
        for item, score in before.items()
        if item in after and math.isfinite(score) and math.isfinite(after[item])
    ]
    if not pairs:
        return None
    scores = np.asarray(pairs, float)
    return paired_difference(scores[:, 0], scores[:, 1])


def paired_difference(before: npt.ArrayLike, after: npt.ArrayLike) -> PairedDifference:
    """Compare two models' scores of the same items.

    Args:
        before: the first model's score of each item, shape (items,).
        after: the second model's, in the same order.

    Raises:
        ValueError: there is no item, the numbers of items differ, or a score is not finite.
    """
    first, second = np.asarray(before, float), np.asarray(after, float)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise ValueError("needs two lists of the same number of scores, at least one")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("every score must be finite")
    change = second - first
    lost, won = int((change < 0).sum()), int((change > 0).sum())
    graded = not (np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all())
    low, high = interval(change, LEVEL, graded=graded)
    return PairedDifference(
        n=len(change),
        before=float(first.mean()),
        after=float(second.mean()),
        low=low,
        high=high,
        p=sign_flip_p(change) if graded else mcnemar_p(lost, won),
        lost=lost,
        won=won,
        spread=float(np.sqrt((change**2).mean())),
        graded=graded,
    )


def mcnemar_p(lost: int, won: int) -> float:
    """Return the two-sided mid-p value of McNemar's exact conditional test.

    Args:
        lost: number of items that only the first model passed.
        won: number of items that only the second model passed.
    """
    from scipy.stats import binom

    fewer, changed = min(lost, won), lost + won
    if not changed:
        return 1.0
    # Twice the one-sided probability, with the observed outcome counted by half.
    return float(2 * binom.cdf(fewer, changed, 0.5) - binom.pmf(fewer, changed, 0.5))


def sign_flip_p(changes: npt.ArrayLike, *, resamples: int = 9_999) -> float:
    """Return the two-sided mid-p value of the paired permutation test on the items' differences.

    If the models did not differ, the opposite sign of each item's difference would be equally
    likely. All sign patterns are visited, or some random ones where there are more.

    Args:
        changes: the score after minus the score before of each item, shape (items,).
        resamples: the largest number of sign patterns.
    """
    from scipy.stats import permutation_test

    nonzero = np.asarray(changes, float)
    nonzero = nonzero[nonzero != 0]  # the sign of a zero says nothing
    if not nonzero.size:
        return 1.0
    if nonzero.size == 1:  # scipy refuses one observation; both signs are equally far from zero
        return 0.5
    options: dict[str, Any] = {"random_state": np.random.default_rng(0)}
    result = permutation_test(
        (nonzero,),
        lambda sample, axis: np.sum(sample, axis=axis),
        permutation_type="samples",
        n_resamples=resamples,
        vectorized=True,
        batch=max(1, _BATCH // len(nonzero)),
        **options,
    )
    sums, observed = np.abs(result.null_distribution), abs(nonzero.sum())
    # Sums of the same numbers in another order differ in the last digits.
    equal = np.isclose(sums, observed, rtol=1e-9)
    as_far = float((sums[~equal] > observed).sum() + equal.sum() / 2)
    if len(sums) == 2 ** len(nonzero):
        return as_far / len(sums)
    return min(1.0, (as_far + 1) / (len(sums) + 1))


def interval(changes: npt.ArrayLike, level: float, *, graded: bool) -> tuple[float, float]:
    """Return the two-sided interval of the mean difference.

    One end alone is a one-sided bound of level `(1 + level) / 2`.

    Args:
        changes: the score after minus the score before of each item, shape (items,); at least one.
        level: the level, such as 0.95.
        graded: whether any score is other than 0 and 1.

    Returns:
        Its ends. They are infinite for a single graded item.
    """
    from scipy.stats import norm, t

    sample, n = np.asarray(changes, float), np.size(changes)
    if not graded:
        won, lost = ((sample > 0).sum() + 1) / (n + 2), ((sample < 0).sum() + 1) / (n + 2)
        centre = won - lost
        half = norm.ppf((1 + level) / 2) * math.sqrt((won + lost - centre**2) / (n + 2))
        return float(max(-1.0, centre - half)), float(min(1.0, centre + half))
    if n == 1:
        return -math.inf, math.inf
    half = t.ppf((1 + level) / 2, n - 1) * sample.std(ddof=1) / math.sqrt(n)
    return float(sample.mean() - half), float(sample.mean() + half)


def interval_of(change: PairedDifference, level: float) -> tuple[float, float]:
    """Return the two-sided interval of a difference at another level than 95%.

    Args:
        change: the comparison.
        level: the level, such as 0.9.
    """
    from scipy.stats import t

    if not change.graded:
        unchanged = change.n - change.lost - change.won
        changes = np.repeat([-1.0, 1.0, 0.0], [change.lost, change.won, unchanged])
        return interval(changes, level, graded=False)
    if change.n == 1:
        return -math.inf, math.inf
    half = (
        t.ppf((1 + level) / 2, change.n - 1) * change.stderr * math.sqrt(change.n / (change.n - 1))
    )
    return float(change.difference - half), float(change.difference + half)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Return p-values corrected for their number, by Holm's method.

    The probability that any true "no difference" among them is rejected at 5% is at most 5%.

    Args:
        p_values: {name: p-value}, for example one for each ability.
    """
    corrected: dict[Name, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def items_needed(
    difference: float, spread: float, *, alpha: float = ALPHA, power: float = POWER, sides: int = 2
) -> float:
    """Return how many items would show a difference of this size.

    Connor, "Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43, 1987; for graded scores the same normal approximation.

    Args:
        difference: the true difference of the mean scores.
        spread: the root of the mean squared difference of an item (`PairedDifference.spread`).
        alpha: the error rate of the test.
        power: the probability with which the test shows the difference.
        sides: 2 for a two-sided test, 1 for a one-sided one.

    Returns:
        The number of items; infinite for a difference of 0.
    """
    from scipy.stats import norm

    if difference == 0:
        return math.inf
    spread = max(spread, abs(difference))
    within = math.sqrt(spread**2 - difference**2)
    root = norm.ppf(1 - alpha / sides) * spread + norm.ppf(power) * within
    return float(max(1.0, math.ceil((root / difference) ** 2)))


def items_to_clear(
    change: PairedDifference, limit: float, *, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Return how many items would show on which side of a limit a difference lies.

    The items beyond those at hand are assumed to change as these did.

    Args:
        change: the comparison on the items at hand.
        limit: the limit, such as -0.02.
        alpha: the error rate of the one-sided bound.
        power: the probability with which the bound clears the limit.

    Returns:
        The number of items; None if more than ten million would be needed.
    """
    from scipy.stats import norm

    errors = float(norm.ppf(1 - alpha) + norm.ppf(power))

    def clears(n: int) -> bool:
        if change.graded:
            centre, variance = change.difference, change.stderr**2 * change.n
            distance = abs(centre - limit) - errors * math.sqrt(variance / n)
            return distance > 0
        won, lost = ((count * n / change.n + 1) / (n + 2) for count in (change.won, change.lost))
        centre = won - lost
        half = errors * math.sqrt((won + lost - centre**2) / (n + 2))
        is_above = change.difference > limit
        return centre - half > limit if is_above else centre + half < limit

    low, high = 1, _MOST_ITEMS
    if not clears(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if clears(middle) else (middle + 1, high)
    return low


def detectable(
    n: int, spread: float, *, alpha: float = ALPHA, power: float = POWER, sides: int = 2
) -> float:
    """Return the smallest difference that a test of this many items is likely to show.

    Args:
        n: number of items.
        spread: as in `items_needed`.
        alpha: the error rate of the test.
        power: the probability with which the test shows the difference.
        sides: 2 for a two-sided test, 1 for a one-sided one.
    """
    from scipy.stats import norm

    z, w = norm.ppf(1 - alpha / sides), norm.ppf(power)
    return float((z + w) * spread / math.sqrt(n))
