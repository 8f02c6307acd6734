"""Data is prepared once, and `axolotl dmt plan` reports on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from tests.conftest import ROWS
from tests.e2e.runs import axolotl, config, write


@pytest.fixture
def own(toy: Path, tmp_path: Path) -> Path:
    """A copy of the toy data that a test may change."""
    shutil.copytree(toy / "data", tmp_path / "data")
    shutil.copytree(toy / "base", tmp_path / "base")
    return tmp_path


def plan(folder: Path, settings: dict[str, Any], *options: str) -> dict[str, Any]:
    path = write(folder / "plan.yaml", settings)
    done = axolotl("dmt", "plan", str(path), "--json", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout[done.stdout.index("{") :])


@pytest.mark.long
def test_after_preprocess_another_schedule_tokenises_nothing(own: Path) -> None:
    settings = config(own, own / "out")
    settings["datasets"] = settings["datasets"][::2]  # fewer to tokenise
    settings["dataset_prepared_path"] = str(own / "own")
    first = axolotl("dmt", "plan", str(write(own / "dmt.yaml", settings)))
    assert f"tokenising, not prepared yet: {own}/data/math.jsonl, " in first.stderr
    prepared = axolotl("preprocess", str(own / "dmt.yaml"))
    assert prepared.returncode == 0, prepared.stderr[-3000:]
    path = str(write(own / "dmt.yaml", settings))
    assert "not prepared yet" not in axolotl("dmt", "plan", path).stderr
    # Without the sources, anything that had to be tokenised would fail.
    shutil.rmtree(own / "data")
    for dmt in (
        {"strategy": "dmt", "k": "1/2"},
        {"strategy": "sequential", "seed": 5, "order": "round_robin"},
    ):
        compiled = plan(own, {**settings, "dmt": dmt})
        assert compiled["stages"][0]["steps"] > 0


def test_the_plan_is_the_documented_contract(toy: Path, tmp_path: Path) -> None:
    compiled = plan(tmp_path, config(toy, tmp_path / "out"))
    assert compiled["schema"] == 1
    assert compiled["global_batch"] == 8
    assert compiled["seed"] == 7
    assert compiled["total_steps"] == sum(stage["steps"] for stage in compiled["stages"])
    assert [stage["name"] for stage in compiled["stages"]] == ["specialise", "generalise"]
    replay = compiled["stages"][1]["domains"]["math"]
    assert (replay["available"], replay["rows"], replay["draws"]) == (ROWS["math"], 30, 30)
    assert 0 < replay["trained_tokens"] < replay["tokens"]
    assert sum(d["share"] for d in compiled["stages"][1]["domains"].values()) == pytest.approx(1)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_rows_are_chosen_by_a_column_of_the_source(own: Path) -> None:
    source = own / "data/math.jsonl"
    lines = [json.loads(line) for line in source.open()]
    for number, line in enumerate(lines):
        line["quality"] = (number * 37) % len(lines)
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    stages = [{"name": "best", "mix": {"math": {"rows": 10}}}]
    settings = config(own, own / "out", dmt={"stages": stages, "select": "score:quality"})
    settings["datasets"] = settings["datasets"][:1]
    plan(own, settings, "--rows", str(own / "rows.parquet"))
    rows = parquet.read_table(own / "rows.parquet").column("row").to_pylist()
    assert sorted(lines[row]["quality"] for row in rows) == list(range(110, 120))


@pytest.mark.slow
def test_held_out_rows_keep_their_numbers_in_the_table_of_rows(own: Path) -> None:
    stages = [{"name": "all", "mix": {"math": "all"}}]
    whole = config(own, own / "out", dmt={"stages": stages})
    whole["datasets"] = whole["datasets"][:1]
    plan(own, whole, "--rows", str(own / "whole.parquet"))
    held = {**whole, "dmt": {"stages": stages, "val_rows": {"math": 20}}}
    compiled = plan(own, held, "--rows", str(own / "held.parquet"))
    assert compiled["stages"][0]["domains"]["math"]["available"] == ROWS["math"] - 20
    tables = [parquet.read_table(own / f"{name}.parquet") for name in ("whole", "held")]
    seen = [set(table.column("row").to_pylist()) for table in tables]
    assert seen[0] == set(range(ROWS["math"]))
    assert len(seen[1]) == ROWS["math"] - 20
    assert seen[1] < seen[0]


@pytest.mark.parametrize(
    ("dmt", "message"),
    [
        ({"strategy": "dmt", "val_rows": {"math": 500}}, "dmt.val_rows.math: 500 rows "),
        (
            {"strategy": "dmt", "select": "score:quality"},
            "has no column 'quality'; its columns: ",
        ),
    ],
)
@pytest.mark.long
def test_what_only_the_data_shows_is_refused_in_one_line(
    toy: Path, tmp_path: Path, dmt: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "dmt.yaml", config(toy, tmp_path / "out", dmt=dmt))
    done = axolotl("train", str(path), "--launcher", "python")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("axolotl-dmt: ")]
    assert message in line
    assert "Traceback" not in done.stderr
