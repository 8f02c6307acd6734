"""`select: score:<column>` needs rows that match those of the file."""

from __future__ import annotations

from typing import Any

import pytest

from axolotl_dmt.checks.score_columns import unmatched_scores
from tests.mistakes import assert_mistakes
from tests.pools import stage


def mistakes(entry: dict[str, Any], select: Any = "score:quality") -> list[str]:
    entries = [{"path": "m.jsonl", "type": "alpaca", **entry}, {"path": "g.jsonl"}]
    stages = [stage({"math": "1/4", "general": 0}, select=select)]
    return [str(e) for e in unmatched_scores({"datasets": entries}, ["math", "general"], stages)]


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"preprocess_shards": 4}, "preprocess_shards"),
        ({"shards": 4}, "shards"),
        ({"type": "completion"}, "type"),
    ],
)
def test_what_rearranges_the_rows_is_refused(entry: dict[str, Any], key: str) -> None:
    expected = (f"datasets[0].{key}", entry[key], "score:quality", "m.jsonl")
    assert_mistakes(mistakes(entry), expected)
    assert mistakes(entry, select={"math": "longest"}) == []


@pytest.mark.parametrize("entry", [{}, {"preprocess_shards": 1}, {"shards": None}])
def test_rows_in_the_order_of_the_file_are_accepted(entry: dict[str, Any]) -> None:
    assert mistakes(entry) == []
