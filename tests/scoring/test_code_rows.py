"""Rows that cannot be scored are refused by name; the tests' expectations are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.scoring import code, code_rows
from tests.mistakes import expect_error

GOOD = {"task_id": "a", "text": "Add.", "test_list": ["assert f(1) == 2"]}


def mbpp(tmp_path: Path, *rows: dict[str, Any]) -> Any:
    file = tmp_path / "mbpp.json"
    file.write_text(json.dumps(rows))
    return code.mbpp_dataset(dmt_code_mbpp_data=str(file), allow_unsafe_code=True)["test"]


def humaneval(tmp_path: Path, **fields: str) -> Any:
    row = {"prompt": "def f(x):\n", "entry_point": "f", "test": "def check(c):\n    assert c(1)\n"}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row | fields))
    return code.dataset(dmt_code_data=str(file), allow_unsafe_code=True)["test"]


def test_the_names_that_tests_expect() -> None:
    def names(*tests: str, **row: Any) -> tuple[str, ...]:
        return code_rows.mbpp_names({"test_list": list(tests), **row})

    assert names("assert set(f([1])) == set(g(2))") == ("f", "g")
    assert names("assert sum(1, 2) == 3", code="def sum(a, b): return a + b") == ("sum",)
    assert names("assert sum(1, 2) == 3") == ("sum",)
    assert names("assert math.isclose(f(1), sys.maxsize)") == ("f",)
    assert names("assert f(Pair(1, 2)) == Pair.zero") == ("Pair", "f")
    assert names("assert f(root)", test_setup_code="root = Node(1)") == ("Node", "f")


def test_the_sanitised_file_of_mbpp_can_be_read(tmp_path: Path) -> None:
    row = {
        "source_file": "Benchmark Questions Verification V2.ipynb",
        "task_id": 7,
        "prompt": "Write a function to turn degrees into radians.",
        "code": "import math\ndef rad(x): return math.radians(x)",
        "test_imports": ["import math"],
        "test_list": ["assert math.isclose(rad(180), math.pi)"],
    }
    rows = mbpp(tmp_path, row, {**row, "test_imports": [], "test_list": ["assert rad(0) == 0"]})
    assert "degrees" in rows[0]["prompt"] and "isclose" in rows[0]["prompt"]
    docs = [dict(item) for item in rows]
    judged = code.run_answers([[row["code"], "def rad(x): return x"]] * 2, docs)
    assert [verdict["passed"] for verdict in judged[0]] == [True, False]
    assert judged[1][0]["passed"]


def test_tests_with_changed_arguments_instances_and_functions_are_scored(tmp_path: Path) -> None:
    tests = [
        "xs = [3, 1]\nsort(xs)\nassert xs == [1, 3]",
        "assert apply(lambda x: x + 1, 2) == 3 and apply(abs, -2) == 2",
        "assert Point(1, 2).x == 1 and norm(Point(3, 4)) == 5",
    ]
    answer = """
def sort(xs): xs.sort()
def apply(f, x): return f(x)
class Point:
    def __init__(self, x, y): self.x, self.y = x, y
def norm(p): return (p.x ** 2 + p.y ** 2) ** 0.5
"""
    docs = [dict(item) for item in mbpp(tmp_path, {**GOOD, "test_list": tests})]
    wrong = answer.replace("xs.sort()", "sorted(xs)")
    ((right, failing),) = code.run_answers([[answer, wrong]], docs)
    assert right["passed"] and not failing["passed"]


@pytest.mark.parametrize(
    "row",
    [
        {"test_list": []},
        {"test_list": [3]},
        {"test_list": ["assert f(1) =="]},
        {"test_list": ["assert 1 == 1"]},
        {"text": " "},
        {"test_list": ["import numpy as np\nassert f(np.array([1]))"]},
        {"test_list": ["import inspect\nassert inspect.signature(f)"]},
        {"test_list": ["class Mine(Base): pass\nassert f(Mine())"]},
        {"test_list": ["try:\n    f()\nexcept Refused:\n    pass"]},
        {"test_list": ["with f() as g:\n    assert g"]},
        {"test_list": ["async def go():\n    assert await f()"]},
    ],
)
def test_an_mbpp_row_that_cannot_be_scored_is_refused(tmp_path: Path, row: dict[str, Any]) -> None:
    with expect_error("dmt_code_mbpp_data", "row 2 (b)"):
        mbpp(tmp_path, GOOD, {**GOOD, "task_id": "b", **row})


@pytest.mark.parametrize(
    "fields",
    [{"entry_point": "f(x)"}, {"test": "def check(c):"}, {"test": "assert f(1)"}],
)
def test_a_humaneval_row_that_cannot_be_scored_is_refused(
    tmp_path: Path, fields: dict[str, str]
) -> None:
    assert len(humaneval(tmp_path)) == 1
    with expect_error("dmt_code_data", "row 1"):
        humaneval(tmp_path, **fields)
