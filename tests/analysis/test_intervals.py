"""Intervals over seeds and the sign-flip test agree with their definitions and in simulation."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from axolotl_dmt.analysis.intervals import Difference, over_seeds, paired, sign_flip_p

finite = st.floats(-100, 100)
samples = st.lists(finite, min_size=2, max_size=8)


@given(samples)
def test_the_interval_is_students_and_the_bootstrap_stays_within_the_values(
    values: list[float],
) -> None:
    interval = over_seeds(values)
    assert interval.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert interval.low is not None and interval.high is not None
    error = statistics.stdev(values) / len(values) ** 0.5
    if error > 1e-6:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=interval.mean, scale=error)
        assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)
    assert interval.bootstrap is not None
    low, high = interval.bootstrap
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


@given(samples, finite)
def test_shifting_every_seed_shifts_the_interval(values: list[float], by: float) -> None:
    before, after = over_seeds(values), over_seeds([value + by for value in values])
    assert before.low is not None and after.low is not None
    assert after.low - before.low == pytest.approx(by, abs=1e-6)


def test_one_seed_gives_a_mean_and_no_interval() -> None:
    only = over_seeds([0.5])
    assert (only.mean, only.low, only.high, only.bootstrap) == (0.5, None, None, None)


def test_seeds_that_agree_give_an_interval_of_zero_width() -> None:
    interval = over_seeds([0.7] * 5)
    assert (interval.low, interval.high) == pytest.approx((0.7, 0.7))


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_values_that_are_missing_or_not_finite_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        over_seeds(values)


def test_the_same_values_give_the_same_bootstrap() -> None:
    assert over_seeds([1.0, 2.0, 4.0]).bootstrap == over_seeds([1.0, 2.0, 4.0]).bootstrap


def test_at_five_seeds_students_interval_covers_the_truth_and_the_bootstrap_is_too_narrow() -> None:
    chance = np.random.default_rng(1)
    drawn = chance.normal(0.6, 0.05, (400, 5))
    intervals = [over_seeds(list(row)) for row in drawn]
    student = np.mean([i.low is not None and i.low <= 0.6 <= (i.high or 0) for i in intervals])
    resampled = np.mean(
        [bool(i.bootstrap and i.bootstrap[0] <= 0.6 <= i.bootstrap[1]) for i in intervals]
    )
    assert 0.92 <= student <= 0.98
    assert 0.76 <= resampled <= 0.90


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_the_p_value_is_the_share_of_sign_patterns_at_least_as_high(values: list[int]) -> None:
    patterns = itertools.product((1, -1), repeat=len(values))
    sums = [sum(s * v for s, v in zip(p, values, strict=True)) for p in patterns]
    expected = sum(total >= sum(values) for total in sums) / len(sums)
    assert sign_flip_p([float(value) for value in values]) == pytest.approx(expected)


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=10))
def test_seeds_that_all_agree_give_the_smallest_possible_p_value(values: list[float]) -> None:
    assert sign_flip_p(values) == pytest.approx(2.0 ** -len(values))


def test_the_test_is_exact_under_the_null() -> None:
    chance = np.random.default_rng(2)
    p = [sign_flip_p(list(row)) for row in chance.normal(0, 1, (2000, 6))]
    for level in (1 / 16, 1 / 4, 1 / 2):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=0.035)


def test_many_seeds_are_tested_by_sampled_sign_patterns() -> None:
    assert sign_flip_p([0.1] * 20) < 0.001
    chance = np.random.default_rng(3)
    assert 0.01 < sign_flip_p(list(chance.normal(0, 1, 20))) < 0.99


def test_pairs_are_taken_over_the_common_seeds() -> None:
    difference = paired({1: 0.9, 2: 0.8, 3: 0.7}, {2: 0.5, 3: 0.5, 4: 0.1})
    assert difference is not None
    assert difference.by_seed == pytest.approx({2: 0.3, 3: 0.2})
    assert paired({1: 1.0}, {2: 1.0}) is None


def test_pairing_removes_the_effect_of_the_seed() -> None:
    seeds = dict(enumerate([0.1, 0.9, 0.4, 0.6, 0.2]))
    difference = paired({s: v + 0.05 + s * 1e-4 for s, v in seeds.items()}, seeds)
    assert difference is not None and difference.interval.low is not None
    assert difference.interval.low > 0.04
    assert difference.p_greater == pytest.approx(1 / 32)
    assert difference.p == pytest.approx(2 / 32)


def test_no_difference_has_a_p_value_of_one() -> None:
    assert Difference(by_seed=dict.fromkeys(range(5), 0.0)).p == 1
