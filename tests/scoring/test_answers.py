"""Answers in the styles of real models get the verdict of a careful reader.

`tests/fixtures/answers.jsonl` was written for these tests. A second, larger set is read where it
lies beside the repository.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.scoring import instructions, math, math_hard
from axolotl_dmt.scoring.ratings import read_rating
from tests.public_data import FOLDER, VARIABLE
from tests.scoring.gsm8k_filters import gsm8k_scorer

OWN = Path(__file__).parents[1] / "fixtures/answers.jsonl"
SHARED = Path(os.environ.get(VARIABLE) or FOLDER).parent / "answers.jsonl"
FILES = [
    OWN,
    pytest.param(
        SHARED, marks=pytest.mark.skipif(not SHARED.is_file(), reason=f"there is no {SHARED}")
    ),
]

# IFEval's checkers are used as they are, so that scores compare with published ones.
STRICTER_READERS = {("keywords:frequency", "Sun and sunny")}


def rows(file: Path, task: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [row for row in every if row["task"] == task]


def disagreements(file: Path, task: str, verdict) -> list[tuple[Any, ...]]:
    return [
        (row.get("gold", row.get("prompt")), row["answer"], f"expected {row['expected']}")
        for row in rows(file, task)
        if verdict(row) != row["expected"]
    ]


@pytest.mark.parametrize("file", FILES)
def test_numbers(file):
    def verdict(row):
        return math.process_results({"answer": f"#### {row['gold']}"}, [row["answer"]])["dmt_score"]

    assert disagreements(file, "dmt_math", verdict) == []


@pytest.mark.parametrize("file", FILES)
def test_expressions(file):
    def verdict(row):
        return math_hard.process_results(row, [row["answer"]])["dmt_score"]

    assert disagreements(file, "dmt_math_hard", verdict) == []


@pytest.mark.parametrize("file", FILES)
def test_instructions(file):
    def verdict(row):
        instruction, _, arguments = row["prompt"].partition(" ")
        if (instruction, row["answer"]) in STRICTER_READERS:
            return row["expected"]
        checks = json.dumps([[instruction, json.loads(arguments)]])
        doc = {"checks": checks, "skipped": 0}
        return instructions.process_results(doc, [row["answer"]])["dmt_score"]

    assert disagreements(file, "dmt_general", verdict) == []


@pytest.mark.parametrize("file", FILES)
def test_ratings(file):
    assert disagreements(file, "dmt_general_mtbench", lambda row: read_rating(row["answer"])) == []


@pytest.mark.parametrize("file", FILES)
def test_numbers_are_read_at_least_as_well_as_by_lm_eval_in_every_style(file):
    lm_eval_scores = gsm8k_scorer()
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])  # right: ours, strict, flexible
    for row in rows(file, "dmt_math"):
        ours = math.process_results({"answer": f"#### {row['gold']}"}, [row["answer"]])
        strict, flexible = lm_eval_scores(row["answer"], row["gold"])
        for index, score in enumerate((ours["dmt_score"], strict, flexible)):
            counts[row["note"]][index] += bool(score) == row["expected"]
    assert counts
    assert {note: right for note, right in counts.items() if right[0] < max(right)} == {}
