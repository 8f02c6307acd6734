"""Rows of data files that share a long text with an item of an evaluation file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner
from pyarrow import parquet

from axolotl_dmt.checks.contamination import ContaminationSearch, check_decontaminate, strings
from axolotl_dmt.checks.evaluation_files import local_questions
from axolotl_dmt.cli.main import dmt
from axolotl_dmt.config.args import EvaluateConfig, read_config
from tests.evaluation.test_items import scored
from tests.mistakes import expect_error

QUESTION = (
    "Mary has seven red apples and her brother gives her five green apples on Monday morning. "
    "How many apples does Mary have now?"
)
ITEMS = [
    {"question": "What is 1+1?", "answer": "#### 2"},
    {"question": QUESTION, "answer": "#### 12"},
    {"question": QUESTION, "answer": "#### 12"},
]
CLEAN = {"instruction": "Add 1 and 2", "input": "", "output": "3"}
COPY = {"instruction": f"Solve this. {QUESTION.upper()}", "input": "", "output": "12"}


def evaluation(folder: Path, **changes: Any) -> dict[str, Any]:
    file = folder / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ITEMS))
    return {"tasks": ["dmt_math"], "data": {"math": str(file)}, **changes}


def test_the_keys_are_those_of_the_ledger(tmp_path: Path) -> None:
    keys, texts = local_questions(EvaluateConfig(**evaluation(tmp_path)))["dmt_math"]
    ledger = scored(tmp_path, ITEMS, prompt="vicuna")
    assert [item.item.partition("@")[0] for item in ledger] == keys
    assert texts[1] == QUESTION
    limited = local_questions(EvaluateConfig(**evaluation(tmp_path, limit=1)))
    assert len(limited["dmt_math"][0]) == 1


def test_a_search_counts_rows_and_items_by_domain_and_task(tmp_path: Path) -> None:
    block = EvaluateConfig(**evaluation(tmp_path, tasks=["dmt_math", "gsm8k"]))
    search = ContaminationSearch.of(block)
    assert search is not None
    matches = search.find([["nothing", QUESTION], [], [f"so {QUESTION} so", "no"]])
    assert matches[:, 0].tolist() == [1, 1, 2, 2]  # two of the items are equal
    assert search.fits(matches, 3) and not search.fits(matches, 2)
    search.add("math", "m.jsonl", matches)
    assert not len(search.find([["nothing"]]))
    (line,) = search.warnings()
    for part in ("2 row(s) of math", "2 of 3 items of math", "row 1 of m.jsonl", "mary has seven"):
        assert part in line
    task = search.record()["tasks"]["dmt_math"]
    ((_, counts),) = task["contaminated"].items()
    assert (task["items"], counts) == (3, {"math": 4})  # both equal items
    assert search.record()["not_searched"] == ["gsm8k"]
    assert "gsm8k" in search.summary() and "1 have too few words" in search.summary()


def test_without_a_local_evaluation_file_there_is_no_search(tmp_path: Path) -> None:
    assert ContaminationSearch.of(None) is None
    assert ContaminationSearch.of(EvaluateConfig(tasks=["gsm8k"])) is None
    assert ContaminationSearch.of(EvaluateConfig(**evaluation(tmp_path, when="never"))) is None


def write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "csv":
        lines = [",".join(json.dumps(text) for text in row.values()) for row in rows]
        path.write_text("\n".join([",".join(rows[0]), *lines]))
    else:
        path.write_text("\n\n".join(map(json.dumps, rows)))
    return path


def checked(folder: Path, path: Path, **changes: Any) -> str:
    content = {
        "base_model": "org/model",
        "plugins": ["axolotl_dmt.DMTPlugin"],
        "datasets": [
            {"path": str(path), "type": "alpaca", "domain": "general"},
            {"path": "org/data", "type": "alpaca", "domain": "math"},
        ],
        "output_dir": str(folder / "out"),
        "sequence_len": 512,
        "micro_batch_size": 1,
        "learning_rate": 1e-4,
        "dmt": {"strategy": "dmt", "evaluate": evaluation(folder), **changes},
    }
    (folder / "dmt.yaml").write_text(yaml.safe_dump(content))
    arguments = ["check", str(folder / "dmt.yaml"), "--contamination"]
    return CliRunner().invoke(dmt, arguments, catch_exceptions=False).output


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_the_command_searches_each_format(tmp_path: Path, kind: str) -> None:
    output = checked(tmp_path, write(tmp_path, kind, [CLEAN, COPY, CLEAN]))
    assert "1 row(s) of general share text with 2 of 3 items of math" in output
    assert f"row 1 of {tmp_path}/rows.{kind}" in output
    assert "not searched: org/data" in output
    assert "no mistakes found" in output


def test_the_command_says_that_nothing_was_found_or_searched(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl", [CLEAN])
    assert "no row shares text" in checked(tmp_path, path)
    assert "names no file" in checked(tmp_path, path, evaluate={"tasks": ["gsm8k"]})


def test_the_texts_of_conversations_are_read() -> None:
    row = {"messages": [{"role": "user", "content": [{"text": "a"}]}, {"content": "b"}], "n": 3}
    assert list(strings(row)) == ["user", "a", "b"]


def test_decontaminate_needs_a_file_to_compare_with(tmp_path: Path) -> None:
    block = {"strategy": "dmt", "decontaminate": True}
    check_decontaminate(read_config({**block, "evaluate": evaluation(tmp_path)}))
    for evaluate in (None, {"tasks": ["gsm8k"]}, evaluation(tmp_path, when="never")):
        with expect_error("dmt.decontaminate"):
            check_decontaminate(read_config({**block, "evaluate": evaluate}))
    output = checked(tmp_path, write(tmp_path, "jsonl", [CLEAN]), decontaminate=True, evaluate=None)
    assert "dmt.decontaminate" in output
