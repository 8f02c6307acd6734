"""Programs are read out of answers as a careful human reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt import sandbox
from axolotl_dmt.scoring import code
from axolotl_dmt.scoring.code_answers import program_of
from tests.public_data import public_file

FOLDER = Path(__file__).parent


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def disagreements(answers: list[dict[str, Any]], rows: dict[Any, dict[str, Any]]) -> list[str]:
    """Return the notes of the answers whose verdict is not the expected one."""
    programs = []
    for item in answers:
        row = rows[item["row"]]
        make = code.mbpp_program if "test_list" in row else code.humaneval_program
        programs.append(make(row, item["answer"]))
    outcomes = sandbox.run_programs(programs, allow_unsafe_code=True)
    return [
        f"{item['row']}, {item['note']}: {outcome.status} {outcome.reason}"
        for item, outcome in zip(answers, outcomes, strict=True)
        if outcome.passed != item["expected"]
    ]


def test_answers_of_many_forms_get_the_verdict_of_a_human() -> None:
    rows = json.loads((FOLDER / "code_rows.json").read_text())
    answers = read(FOLDER / "code_answers.jsonl")
    assert len(answers) > 100 and {item["expected"] for item in answers} == {True, False}
    assert disagreements(answers, {row["task_id"]: row for row in rows}) == []


def test_collected_answers_get_the_verdict_of_a_human() -> None:
    answers = [row for row in read(public_file("../answers.jsonl")) if "dmt_code" in row["task"]]
    rows = {row["task_id"]: row for row in read(public_file("humaneval.jsonl"))}
    rows |= {f"MBPP {row['task_id']}": row for row in read(public_file("mbpp.jsonl"))}
    for item in answers:
        item["row"] = item["prompt"]
    assert disagreements(answers, rows) == []


# The text of the program

PROMPT = 'import math\n\n\ndef area(r):\n    """Area of a disc."""\n'
RIGHT = "def area(r):\n    return math.pi * r * r\n"


def test_a_continuation_is_the_prompt_and_the_body() -> None:
    body = "    def square(x):\n        return x * x\n    if r:\n        return 3 * square(r)\n"
    assert program_of(body, ("area",), PROMPT).rstrip() == (PROMPT + body).rstrip()


def test_a_program_gets_the_prompts_imports() -> None:
    program = program_of(f"```python\n{RIGHT}```", ("area",), PROMPT)
    assert program.split() == f"import math {RIGHT}".split()


def test_the_last_definition_wins_unless_it_is_a_stub() -> None:
    draft, final = "def area(r):\n    return 0", "def area(r):\n    return 1"
    blocks = f"```\n{draft}\n```\nthen\n```\n{final}\n```\n"
    assert program_of(blocks, ("area",)) == final
    assert program_of(f"{blocks}```\ndef area(r):\n    ...\n```", ("area",)) == final
    assert program_of(f"{draft}\n\nFinally:\n\n{final}\n\nDone.", ("area",)).strip() == final


def test_a_variable_computed_by_the_function_is_not_its_definition() -> None:
    answer = f"```\n{RIGHT}```\nUse it:\n```\narea = area(2)\nprint(area)\n```"
    assert "print" not in program_of(answer, ("area",), PROMPT)


def test_only_what_the_program_needs_comes_from_other_blocks() -> None:
    answer = """
```python
import numpy as np
import functools
LIMIT = 3

def square(x):
    return functools.reduce(int.__mul__, [x, x])

def draft():
    raise SystemExit
print(draft())
```
```python
def area(r):
    return square(r) * LIMIT
```
"""
    program = program_of(answer, ("area",))
    assert "numpy" not in program and "draft" not in program
    namespace: dict[str, Any] = {}
    exec(program, namespace)
    assert namespace["area"](2) == 12


def test_future_imports_come_first() -> None:
    answer = f'```python\n"""Areas."""\nfrom __future__ import annotations\n{RIGHT}```'
    assert program_of(answer, ("area",), PROMPT).startswith("from __future__ import annotations\n")


def test_reasoning_is_not_part_of_the_answer() -> None:
    for answer in (f"<think>\n{RIGHT}</think>\nI cannot.", f"<think>\n{RIGHT}"):
        assert "def area" not in program_of(answer, ("area",))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "```",
        "```\n```",
        "\0",
        "def area(",
        "```python\ndef area(r:\n```",
        "(" * 5000,
        "é\u00a0",
    ],
)
def test_any_text_gives_some_program(answer: str) -> None:
    assert isinstance(program_of(answer, ("area",), PROMPT), str)
    assert isinstance(program_of(answer, ("area",)), str)


def test_a_long_degenerate_answer_is_read() -> None:
    for line in ("```\n", "def area(r):\n", "    return (\n", "x = '''\n", "a `b` c\n"):
        assert isinstance(program_of(line * 1500, ("area",), PROMPT), str)
