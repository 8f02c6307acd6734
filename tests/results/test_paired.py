"""Statistics of two models' scores on the same items; error rates and power are simulated."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from axolotl_dmt.results.paired import (
    common_items,
    detectable,
    holm,
    interval,
    items_needed,
    mcnemar_p,
    paired_difference,
    sign_flip_p,
)

DRAWS = 2_000
Sampler = Callable[[np.random.Generator, float], tuple[NDArray[np.float64], NDArray[np.float64]]]


def passed(n: int, correlated: float) -> Sampler:
    """Return a sampler of two models' verdicts on n items, of which a fraction never changes."""

    def draw(rng: np.random.Generator, effect: float) -> tuple[NDArray, NDArray]:
        before, fresh = rng.random(n) < 0.6, rng.random(n) < 0.6
        after = np.where(rng.random(n) < correlated, before, fresh)
        # Some passed items are lost, so that the expected difference is `effect`.
        after &= rng.random(n) >= -effect / 0.6
        return before.astype(float), after.astype(float)

    return draw


def graded(n: int) -> Sampler:
    """Return a sampler of two judges' grades from 1 to 10, correlated and skewed."""

    def draw(rng: np.random.Generator, effect: float) -> tuple[NDArray, NDArray]:
        common = rng.beta(5, 2, n) * 7
        before, after = (1 + common + 2 * rng.beta(2, 1, n) for _ in range(2))
        return np.round(before), np.round(np.clip(after + effect, 1, 10))

    return draw


def rejected(sampler: Sampler, effect: float = 0.0, draws: int = DRAWS) -> float:
    rng = np.random.default_rng(7)
    return float(np.mean([p_of(*sampler(rng, effect)) < 0.05 for _ in range(draws)]))


def p_of(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    if is_pass_or_fail(before, after):
        return cached_mcnemar_p(int((after < before).sum()), int((after > before).sum()))
    return sign_flip_p(after - before, resamples=499)


cached_mcnemar_p = cache(mcnemar_p)  # the same counts come up in many draws


def is_pass_or_fail(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    return bool(np.isin([before, after], (0, 1)).all())


@pytest.mark.parametrize("n", [100, 164, 1319])
@pytest.mark.parametrize("correlated", [0.5, 0.8])
def test_the_error_rate_for_pass_and_fail_is_the_nominal_one(n: int, correlated: float) -> None:
    assert 0.03 <= rejected(passed(n, correlated)) <= 0.06


@pytest.mark.parametrize("n", [20, 60])
def test_the_error_rate_for_grades_is_the_nominal_one(n: int) -> None:
    assert 0.03 <= rejected(graded(n)) <= 0.06


@pytest.mark.parametrize("sampler", [passed(164, 0.8), passed(1319, 0.8), graded(40)])
def test_the_interval_covers_the_true_difference(sampler: Sampler) -> None:
    rng, covered = np.random.default_rng(3), 0
    for _ in range(DRAWS):
        before, after = sampler(rng, 0.0)
        is_graded = not is_pass_or_fail(before, after)
        low, high = interval(after - before, 0.95, graded=is_graded)
        covered += low <= 0 <= high
    assert 0.935 <= covered / DRAWS <= 0.975


def test_the_power_is_the_one_that_the_number_of_items_was_planned_for() -> None:
    correlated, effect = 0.8, -0.03
    spread = paired_difference(
        *passed(100_000, correlated)(np.random.default_rng(1), effect)
    ).spread
    n = int(items_needed(effect, spread))
    assert 0.76 <= rejected(passed(n, correlated), effect) <= 0.84
    assert rejected(passed(n // 3, correlated), effect) < 0.5


def test_a_paired_test_shows_what_independent_errors_hide() -> None:
    rng = np.random.default_rng(0)
    before, after = passed(1000, 0.9)(rng, -0.03)
    change = paired_difference(before, after)
    independent = math.sqrt((before.var() + after.var()) / 1000)
    assert change.p < 0.01
    assert abs(change.difference / independent) < 1.96


def test_mcnemars_test_agrees_with_the_published_example() -> None:
    # Fagerland et al. 2013, the airway hyper-responsiveness of 21 children: 1 against 7 changed.
    assert mcnemar_p(1, 7) == mcnemar_p(7, 1) == pytest.approx(0.039, abs=5e-4)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 5)])
def test_equal_counts_say_nothing(lost: int, won: int) -> None:
    assert mcnemar_p(lost, won) == pytest.approx(1.0)


def test_few_grades_are_tested_over_all_sign_patterns() -> None:
    assert sign_flip_p([0.5, 1.0, 0.25, 0.0, 2.0]) == pytest.approx(1 / 16)
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([0.0, 0.5]) == 0.5  # one changed item says nothing of the direction


def test_the_interval_is_not_empty_where_no_item_changed() -> None:
    low, high = interval(np.zeros(164), 0.95, graded=False)
    assert low == pytest.approx(-high)
    assert 0.01 < high < 0.03


def test_only_items_of_both_models_with_a_score_are_compared() -> None:
    before = {"a": 1.0, "b": 1.0, "c": 0.0, "d": math.nan, "e": 1.0}
    after = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0, "f": 0.0}
    change = common_items(before, after)
    assert change is not None
    assert (change.n, change.lost, change.won, change.graded) == (3, 1, 0, False)
    assert change.difference == pytest.approx(-1 / 3)
    assert common_items({"a": 1.0}, {"b": 1.0}) is None


def test_holms_correction() -> None:
    corrected = holm({"math": 0.01, "code": 0.04, "general": 0.03})
    assert corrected == pytest.approx({"math": 0.03, "code": 0.06, "general": 0.06})
    assert holm({}) == {}


def test_a_smaller_difference_needs_more_items() -> None:
    spread = math.sqrt(0.1)
    assert items_needed(0.0, spread) == math.inf
    assert items_needed(0.01, spread) > 4 * 0.9 * items_needed(0.02, spread)
    n = items_needed(0.02, spread)
    assert detectable(int(n), spread) == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize(("before", "after"), [([], []), ([1.0], [1.0, 0.0]), ([math.nan], [1.0])])
def test_scores_that_cannot_be_paired_are_refused(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError):
        paired_difference(before, after)
