"""Fitted curves recover known parameters, and crossings are found where they are planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.analysis.scaling import fit_scaling, gain_turns_to_conflict

ROWS = [16, 64, 256, 1024, 4096]


def points(curve, noise: float = 0.0, seeds: int = 5):
    """Return {seed: (rows, score)} on a curve, with normal noise."""
    chance = np.random.default_rng(0)
    return {s: [(r, curve(r) + noise * chance.normal()) for r in ROWS] for s in range(seeds)}


@given(st.floats(-1, 1), st.floats(-0.2, 0.2))
def test_a_logarithm_is_fitted_exactly(a: float, b: float) -> None:
    fit = fit_scaling(points(lambda r: a + b * math.log2(r), seeds=2))["log"]
    assert (fit.parameters["a"], fit.parameters["b"]) == pytest.approx((a, b), abs=1e-6)
    assert fit.residual == pytest.approx(0, abs=1e-6)
    assert fit.predict(100) == pytest.approx(a + b * math.log2(100), abs=1e-6)


@pytest.mark.parametrize("c", [0.3, 0.7, 1.2])
def test_a_power_law_is_fitted_and_preferred(c: float) -> None:
    fits = fit_scaling(points(lambda r: 0.9 - 2 * r**-c, noise=0.002))
    assert next(iter(fits)) == "power"
    fit = fits["power"]
    assert fit.parameters["a"] == pytest.approx(0.9, abs=4 * fit.errors["a"] + 0.005)
    assert fit.parameters["c"] == pytest.approx(c, abs=4 * fit.errors["c"] + 0.05)


def test_a_logarithm_is_preferred_where_a_power_law_adds_nothing() -> None:
    assert next(iter(fit_scaling(points(lambda r: 0.1 + 0.07 * math.log2(r), noise=0.02)))) == "log"


def test_errors_cover_the_truth_as_often_as_they_say() -> None:
    chance, inside = np.random.default_rng(0), 0
    for _ in range(200):
        data = {
            s: [(r, 0.1 + 0.05 * math.log2(r) + chance.normal(0, 0.03)) for r in ROWS[:3]]
            for s in range(5)
        }
        fit = fit_scaling(data)["log"]
        inside += abs(fit.parameters["b"] - 0.05) <= 2.776 * fit.errors["b"]
    assert 0.9 <= inside / 200 <= 0.99


def test_few_amounts_are_fitted_by_few_parameters_or_none() -> None:
    line = {s: [(r, 0.5) for r in ROWS] for s in range(3)}
    assert fit_scaling({s: p[:2] for s, p in line.items()}) == {}
    assert list(fit_scaling({s: p[:3] for s, p in line.items()})) == ["log"]
    assert fit_scaling({0: line[0]})["log"].errors == {}


def conflict(values: list[float], noise: float = 0.0, seeds: int = 5):
    """Return {amount: {seed: mixed minus single}} for amounts up to 1, with normal noise."""
    chance = np.random.default_rng(0)
    amounts = [4.0**-i for i in reversed(range(len(values)))]
    return {
        amount: {s: value + noise * chance.normal() for s in range(seeds)}
        for amount, value in zip(amounts, values, strict=True)
    }


@given(st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_crossing_is_interpolated_over_the_log_of_the_amount(gain: float, loss: float) -> None:
    crossing = gain_turns_to_conflict(conflict([gain, -loss]))
    assert crossing is not None and crossing.amount is not None
    share = gain / (gain + loss)
    assert crossing.amount == pytest.approx(4.0 ** (share - 1))
    assert crossing.interval == pytest.approx((crossing.amount, crossing.amount))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.3, 0.2, 0.1], "a gain at 1"),
        ([-0.1, -0.2, -0.3], "a conflict at 1"),
        ([0.0, 0.0, -0.2], "a conflict at 1"),
        ([-0.2, -0.1, 0.1], "a gain at 1"),
    ],
)
def test_a_missing_crossing_is_explained(values: list[float], reason: str) -> None:
    crossing = gain_turns_to_conflict(conflict(values))
    assert crossing is not None
    assert (crossing.amount, crossing.interval, crossing.resamples) == (None, None, 0)
    assert reason in crossing.reason


def test_the_last_of_several_crossings_is_taken_and_a_flat_zero_is_passed() -> None:
    crossing = gain_turns_to_conflict(conflict([0.1, -0.1, 0.2, 0.0, -0.2]))
    assert crossing is not None and crossing.amount == pytest.approx(0.25)


def test_an_uncertain_crossing_has_no_interval_but_a_fraction_of_resamples() -> None:
    doubtful = dict(enumerate([-0.2, 0.1, 0.05, -0.1, 0.1]))
    uncertain = gain_turns_to_conflict({0.25: dict.fromkeys(range(5), 0.1), 1.0: doubtful})
    assert uncertain is not None and uncertain.interval is None and 0 < uncertain.resamples < 0.95
    certain = gain_turns_to_conflict(conflict([0.3, 0.0, -0.3], noise=0.02))
    assert certain is not None and certain.interval is not None and certain.amount is not None
    assert certain.interval[0] <= certain.amount <= certain.interval[1]
    assert certain.interval[0] <= 0.25 <= certain.interval[1]


def test_one_amount_or_no_common_seed_has_no_crossing() -> None:
    assert gain_turns_to_conflict({1.0: {0: 0.1}}) is None
    assert gain_turns_to_conflict({0.5: {0: 0.1}, 1.0: {1: -0.1}}) is None
