"""Rows of a local file become lm-eval's rows, or are refused with the file and the line."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt import files
from axolotl_dmt.scoring import math
from axolotl_dmt.scoring.sources import read_rows
from tests.mistakes import expect_error

ROW = {"question": "1+1?", "answer": "#### 2"}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def loaded(path: Path, *rows: dict[str, Any]) -> Any:
    """Return the rows of `dmt_math` as lm-eval gets them."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return math.dataset(dmt_math_data=str(path))["test"]


@pytest.mark.parametrize(
    "values",
    [
        (1, "b"),
        ("b", 1),
        (True, 2),
        (1, 10**30),
        ({"a": 1}, {"a": "x"}),
        ([1], 2),
        (nested(60), nested(60)),
    ],
)
def test_a_column_that_arrow_cannot_hold_is_json_text(
    values: tuple[Any, Any], tmp_path: Path
) -> None:
    rows = loaded(tmp_path / "m.jsonl", *({**ROW, "id": v, "level": {"n": 3}} for v in values))
    assert [json.loads(text) for text in rows["id"]] == list(values)
    # All other columns are as without it, in their order.
    others = loaded(tmp_path / "m.jsonl", *({**ROW, "level": {"n": 3}} for _ in values))
    assert rows.remove_columns("id").to_list() == others.to_list()
    assert rows.column_names[:4] == ["question", "answer", "id", "level"]


@pytest.mark.parametrize("values", [(1, 2.5), (None, 1), ("a", None), ([], [1]), ({}, {})])
def test_a_column_that_arrow_can_hold_stays_as_it_is(
    values: tuple[Any, Any], tmp_path: Path
) -> None:
    rows = loaded(tmp_path / "m.jsonl", *({**ROW, "id": value} for value in values))
    assert list(rows["id"]) == list(values)


def test_a_text_that_arrow_cannot_hold_is_never_changed(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps(ROW))
    with pytest.raises(UnicodeEncodeError):
        math.dataset(dmt_math_data=str(tmp_path / "m.jsonl"), dmt_prompt="\ud83d {question}")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ('{"question": "q"', ["line 3, column 17"]),
        ('{"x": ' + "[" * 70 + "]" * 70 + "}", ["line 3", "64 levels"]),
        ('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", ["line 3", "64 levels"]),
        ('{"x": ' + "1" * 5000 + "}", ["line 3", "5000 digits"]),
        (json.dumps({**ROW, "question": "1 \ud83d"}), ["row 3", r"'\ud83d'"]),
        (json.dumps({**ROW, "x": [{"\udc00": 1}]}), ["row 3", r"'\udc00'"]),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, values: list[str], tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text(f"{json.dumps(ROW)}\n\n{line}\n")
    with expect_error("dmt_math_data", file, *values):
        inspect.unwrap(math.dataset)(dmt_math_data=str(file))


def test_an_array_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text(json.dumps([{**ROW, "x": nested(70)}]))
    with expect_error("key", file, "64 levels", "question"):
        read_rows("key", file, {"question": str})


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST", 2**20)
    file = tmp_path / "m.jsonl"
    file.write_text(json.dumps({**ROW, "x": "x" * 2**20}))
    with expect_error("key", file, "larger than 1 MiB", "shorten"):
        read_rows("key", file, {"question": str})


def test_a_whole_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    (row,) = loaded(tmp_path / "m.jsonl", {**ROW, "question": "\U0001f600?"})
    assert row["question"] == "\U0001f600?"
