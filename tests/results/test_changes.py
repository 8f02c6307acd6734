"""Changes between the points of a ledger, and what forbids a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from axolotl_dmt.results.changes import (
    BEST,
    PREVIOUS,
    RUN,
    START,
    Change,
    Ledger,
    answers_by_point,
    compare,
    stage_changes,
)
from axolotl_dmt.results.items import Item, Point, items_table


def item(ability: str, index: int, score: float | None, **changes: Any) -> Item:
    settings: dict[str, Any] = {
        "ability": ability,
        "task": f"dmt_{ability}",
        "item": f"{ability}{index}@1.0",
        "doc": index,
        "score": score,
        "passed": score == 1 if score in (0, 1) else None,
        "prompt_digest": f"p{index}",
        "fewshot": 0,
        "lm_eval": "0.4.11",
        "suite": "1.0",
    }
    return Item(**settings | changes)


def items(ability: str, scores: Sequence[float | None], **changes: Any) -> list[Item]:
    return [item(ability, index, score, **changes) for index, score in enumerate(scores)]


def ledger(points: Mapping[Point, Sequence[Item]]) -> Ledger:
    return answers_by_point(pa.concat_tables(items_table(p, rows) for p, rows in points.items()))


FIRST, SECOND = Point.stage("one", 10), Point.stage("two", 20)


def passes(count: int, of: int = 40) -> list[float | None]:
    return [float(index < count) for index in range(of)]


def test_each_stage_is_compared_with_the_former_the_best_and_the_start() -> None:
    made = ledger(
        {
            Point.baseline(): items("math", passes(5)),
            FIRST: items("math", passes(30)),
            Point.at_step(15): items("math", passes(40)),  # within a stage: never a reference
            SECOND: items("math", passes(20)),
            Point.stage("three", 30): items("math", passes(22)),
        }
    )
    changes = stage_changes(made, ["one", "two", "three"])
    found = [(c.after, c.reference, c.before) for c in changes]
    assert found == [
        ("one", PREVIOUS, "baseline"),
        ("one", START, "baseline"),
        ("two", PREVIOUS, "one"),
        ("two", BEST, "one"),
        ("two", START, "baseline"),
        ("three", PREVIOUS, "two"),
        ("three", BEST, "one"),
        ("three", START, "baseline"),
    ]
    lost = changes[3].paired
    assert lost is not None
    assert (lost.lost, lost.won, lost.n) == (10, 0, 40)
    assert changes[3].p == pytest.approx(lost.p) and lost.p < 0.01


def test_p_values_are_corrected_for_the_number_of_abilities() -> None:
    before = items("math", passes(30)) + items("code", passes(30)) + items("chat", passes(30))
    after = items("math", passes(24)) + items("code", passes(30)) + items("chat", passes(29))
    changes = stage_changes(ledger({FIRST: before, SECOND: after}), ["one", "two"])
    math = next(c for c in changes if c.ability == "math")
    assert math.paired is not None and math.p == pytest.approx(3 * math.paired.p)
    assert next(c.p for c in changes if c.ability == "code") == 1.0


def changed(**changes: Any) -> Change:
    before = ledger({FIRST: items("math", passes(10))})["one"]
    after = ledger({FIRST: items("math", passes(5), **changes)})["one"]
    (change,) = compare(before, after, names=("a", "b"), reference=RUN)
    return change


@pytest.mark.parametrize(
    "difference",
    [
        {"prompt_digest": "other"},
        {"fewshot": 5},
        {"lm_eval": "0.4.12"},
        {"sandbox": "processes"},
        {"generation": '{"max_gen_toks": 8}'},
        {"task": "dmt_math_cot"},
    ],
    ids=str,
)
def test_answers_that_were_asked_differently_are_not_compared(difference: dict[str, Any]) -> None:
    change = changed(**difference)
    assert change.paired is None and change.p is None
    assert change.refusal


def test_another_version_of_the_task_forbids_a_comparison() -> None:
    before = ledger({FIRST: [item("math", 0, 1.0)]})["one"]
    after = ledger({FIRST: [item("math", 0, 1.0, item="math0@1.1")]})["one"]
    (change,) = compare(before, after, names=("a", "b"), reference=RUN)
    assert change.refusal and "1.0" in change.refusal and "1.1" in change.refusal


def test_another_version_of_the_suite_is_only_a_warning() -> None:
    change = changed(suite="1.1")
    assert change.paired is not None and change.refusal is None
    assert change.warning and "1.1" in change.warning


def test_only_common_items_count_and_equal_rows_are_kept_apart() -> None:
    twice = [item("math", 0, 1.0), item("math", 1, 1.0), item("math", 1, 0.0, item="math0@1.0#2")]
    before = ledger({FIRST: [*twice, item("math", 7, 1.0)]})["one"]
    after = ledger({FIRST: [*twice, item("math", 8, 0.0), item("math", 9, None)]})["one"]
    (change,) = compare(before, after, names=("a", "b"), reference=RUN)
    assert change.paired is not None
    assert (change.paired.n, change.paired.before, change.items) == (3, 2 / 3, (4, 4))


def test_runs_on_other_items_have_nothing_to_compare() -> None:
    before = ledger({FIRST: [item("math", 0, 1.0)]})["one"]
    after = ledger({FIRST: [item("math", 1, 1.0), item("code", 1, 1.0)]})["one"]
    (change,) = compare(before, after, names=("a", "b"), reference=RUN)
    assert change.paired is None and change.refusal == "no item has a score of both"
