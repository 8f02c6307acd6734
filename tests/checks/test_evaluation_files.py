"""Evaluation files are read whole before training, and held against the model's context."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.checks.evaluation_files import (
    DATASETS,
    answer_length,
    check_evaluation_files,
    check_lengths,
    length_warnings,
)
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.scoring.prompts import Template, TrainedPrompts
from tests.mistakes import expect_error
from tests.tiny_model import make_tokenizer

GOOD = {"question": "1+1?", "answer": "#### 2"}
INSTRUCTION = {"key": 1, "prompt": "Hi", "instruction_id_list": ["dmt:equals"]}
PROMPTS = TrainedPrompts(
    domains={"math": Template(first="Q: {question}", later="{question}", trained=True)}
)


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def block(task: str, file: str, **more: Any) -> EvaluateConfig:
    ability = task.removeprefix("dmt_")
    return EvaluateConfig.model_validate({"tasks": [task], "data": {ability: file}, **more})


@pytest.mark.parametrize(
    ("task", "rows", "values"),
    [
        ("dmt_math", [GOOD, {"question": "2?"}], ["row 2", "`answer`"]),
        ("dmt_math", [GOOD, {"question": "2?", "answer": "none"}], ["row 2", "number"]),
        (
            "dmt_math_hard",
            [{"problem": "1", "solution": "\\boxed{1}"}, {"problem": "2", "solution": "two"}],
            ["row 2", "two"],
        ),
        (
            "dmt_general",
            [
                {**INSTRUCTION, "kwargs": [{"text": "hi"}]},
                {"prompt": "x", "instruction_id_list": ["dmt:equal"], "kwargs": [{}]},
            ],
            ["row 2", "dmt:equal"],
        ),
    ],
)
def test_a_row_that_cannot_be_scored_is_named(
    task: str, rows: list[dict[str, Any]], values: list[str], tmp_path: Path
) -> None:
    file = write(tmp_path / "rows.jsonl", *rows)
    key = f"dmt.evaluate.data.{task.removeprefix('dmt_')}"
    with expect_error(key, *values):
        check_evaluation_files(block(task, file))
    check_evaluation_files(block(task, write(tmp_path / "good.jsonl", rows[0])))


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (json.dumps({**GOOD, "question": "1+1 \ud83d"}), ["row 2", r"'\ud83d'"]),
        ('{"x": ' + "[" * 70 + "]" * 70 + "}", ["line 2", "64 levels"]),
        ('{"x": ' + "1" * 5000 + "}", ["line 2", "5000 digits"]),
    ],
)
def test_a_line_that_cannot_be_loaded_is_a_mistake(
    line: str, values: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with expect_error("dmt.evaluate.data.math", file, *values):
        check_evaluation_files(block("dmt_math", str(file)))


def test_a_file_that_passes_the_check_is_loaded(tmp_path: Path) -> None:
    rows = [{**GOOD, "id": value} for value in (1, "b")]
    config = block("dmt_math", write(tmp_path / "m.jsonl", *rows), prompt="plain")
    check_evaluation_files(config)
    (task,) = Tasks(config).load().values()
    assert [doc["id"] for doc in task.test_docs()] == ["1", '"b"']


def test_the_answer_length_is_that_of_the_task_unless_the_block_names_one() -> None:
    lengths = {task: answer_length(task, EvaluateConfig()) for task in DATASETS}
    assert (lengths["dmt_math"], lengths["dmt_general"]) == (512, 1280)
    assert answer_length("dmt_math", EvaluateConfig(max_new_tokens=7)) == 7


def test_prompts_are_held_against_the_context(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 30}')
    rows = [{"question": "x" * n, "answer": "#### 2"} for n in (5, 24)]
    config = block("dmt_math", write(tmp_path / "m.jsonl", *rows), max_new_tokens=10)
    raw = {"base_model": str(tmp_path)}
    (length,) = check_lengths(raw, config, PROMPTS, make_tokenizer())
    assert (length.longest, length.too_long, length.prompts) == (27, 1, 2)
    (warning,) = length_warnings([length])
    assert "1 of 2" in warning
    too_long = config.model_copy(update={"max_new_tokens": 30})
    with expect_error("dmt.evaluate.max_new_tokens", "dmt_math", "30"):
        check_lengths(raw, too_long, PROMPTS, make_tokenizer())
