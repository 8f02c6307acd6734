"""Retention, forgetting and transfer of any matrix: with missing scores, zeros or no stages."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.results import metrics
from axolotl_dmt.results.metrics import ScoreMatrix

scores = st.one_of(st.none(), st.just(0.0), st.floats(0, 1, allow_subnormal=True))
rows = st.dictionaries(st.sampled_from(["math", "code", "general", "law"]), scores)
tables = st.lists(rows, max_size=6).map(lambda rs: [(f"s{i}", r) for i, r in enumerate(rs)])


def matrix(*stages: dict[str, float | None]) -> ScoreMatrix:
    return ScoreMatrix.build([(f"s{i}", row) for i, row in enumerate(stages)])


def test_forgetting_is_best_of_earlier_stages_minus_last_and_retention_is_their_ratio() -> None:
    m = matrix({"math": 0.5, "code": 0.2}, {"math": 0.8, "code": 0.1}, {"math": 0.6, "code": 0.3})
    assert metrics.forgetting(m) == pytest.approx({"math": 0.2, "code": -0.1})
    assert metrics.retention(m) == pytest.approx({"math": 0.75, "code": 1.5})


def test_a_missing_score_makes_the_measure_undefined_not_zero() -> None:
    m = matrix({"math": 0.5}, {"code": 0.4}, {"code": 0.2})
    assert metrics.forgetting(m) == {"math": None, "code": 0.2}
    assert metrics.retention(m) == {"math": None, "code": 0.5}


def test_one_stage_has_no_earlier_best() -> None:
    assert metrics.retention(matrix({"math": 0.5})) == {"math": None}
    assert metrics.forgetting(matrix({"math": 0.5})) == {"math": None}


def test_nan_and_infinity_count_as_missing() -> None:
    m = matrix({"math": math.nan, "code": math.inf}, {"math": 0.4, "code": 0.4})
    assert m.values[0] == (None, None)


def test_abilities_come_in_the_order_asked_for_then_as_seen() -> None:
    m = ScoreMatrix.build([("a", {"x": 1.0, "y": 1.0}), ("b", {"z": 1.0})], ["y", "never"])
    assert m.abilities == ("y", "never", "x", "z")
    assert m.column("never") == (None, None)


@given(tables)
def test_retention_is_none_wherever_the_best_is_zero_or_missing_and_never_an_error(
    table: list[tuple[str, dict[str, float | None]]],
) -> None:
    m = ScoreMatrix.build(table)
    kept, lost = metrics.retention(m), metrics.forgetting(m)
    assert kept.keys() == lost.keys() == set(m.abilities)
    for ability in m.abilities:
        best, last = m.best_earlier(ability), m.last(ability)
        if not best or last is None:
            assert kept[ability] is None
        elif kept[ability] is not None:
            assert math.isfinite(kept[ability]) and kept[ability] >= 0
            # Retention below 1 and forgetting above 0 are the same statement.
            if kept[ability] < 1:
                assert lost[ability] > 0
            if lost[ability] < 0:
                assert kept[ability] >= 1
        assert (lost[ability] is None) == (best is None or last is None)


@given(tables)
def test_forgetting_is_at_least_the_loss_against_every_earlier_stage(
    table: list[tuple[str, dict[str, float | None]]],
) -> None:
    m = ScoreMatrix.build(table)
    for ability, lost in metrics.forgetting(m).items():
        for value in m.column(ability)[:-1]:
            if lost is not None and value is not None:
                assert lost >= value - m.last(ability)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.randoms())
def test_forgetting_does_not_depend_on_the_order_of_the_earlier_stages(
    column: list[float], random: object
) -> None:
    earlier = column[:-1]
    shuffled = earlier[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = matrix(*({"a": v} for v in [*earlier, column[-1]]))
    two = matrix(*({"a": v} for v in [*shuffled, column[-1]]))
    assert metrics.forgetting(one) == metrics.forgetting(two)


@given(tables)
def test_backward_transfer_from_the_best_earlier_stage_is_negated_forgetting(
    table: list[tuple[str, dict[str, float | None]]],
) -> None:
    m = ScoreMatrix.build(table)
    best = {a: m.best_earlier_stage(a) for a in m.abilities}
    learned = {a: m.stages[i] for a, i in best.items() if i is not None}
    lost = metrics.forgetting(m)
    for ability, transfer in metrics.backward_transfer(m, learned).items():
        assert transfer == (None if lost[ability] is None else -lost[ability])


def test_backward_transfer_counts_from_the_stage_that_taught_the_ability() -> None:
    m = matrix({"math": 0.9, "code": 0.1}, {"math": 0.5, "code": 0.6}, {"math": 0.7, "code": 0.7})
    trained = [("s0", {"math": 10, "code": 0}), ("s1", {"code": 5}), ("s2", {"general": 5})]
    learned = metrics.first_trained(trained)
    assert learned == {"math": "s0", "code": "s1", "general": "s2"}
    transfer = metrics.backward_transfer(m, learned)
    assert transfer == pytest.approx({"math": -0.2, "code": 0.1})
    assert metrics.mean(transfer.values()) == pytest.approx(-0.05)


def test_conflict_is_mixed_minus_single_for_abilities_in_both() -> None:
    mixed = {"math": 0.4753, "code": None, "general": 5.76, "law": 0.1}
    single = {"math": 0.4910, "code": 0.184, "general": 5.88}
    expected = {"math": -0.0157, "code": None, "general": -0.12}
    conflict = metrics.conflict(mixed, single)
    assert conflict.keys() == expected.keys() and conflict["code"] is None
    assert conflict["math"] == pytest.approx(-0.0157) and conflict["general"] == pytest.approx(
        -0.12
    )


@given(rows, rows)
def test_conflict_changes_sign_when_the_runs_are_swapped(
    one: dict[str, float | None], two: dict[str, float | None]
) -> None:
    there, back = metrics.conflict(one, two), metrics.conflict(two, one)
    assert there == {a: None if v is None else -v for a, v in back.items()}


def test_the_mean_of_nothing_is_undefined() -> None:
    assert metrics.mean([]) is None
    assert metrics.mean([None, None]) is None
    assert metrics.mean([None, 0.5]) == 0.5


def test_errors_of_a_difference_add_in_quadrature() -> None:
    assert metrics.difference_stderr(0.03, 0.04) == pytest.approx(0.05)
    assert metrics.difference_stderr(None, 0.04) is None
