"""A very small study through the command line: shared stages, failures, a rerun, the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.results.items import read_items
from axolotl_dmt.study.cell_results import read_cell_results, read_missing
from tests.e2e.runs import axolotl, config, train, write


def study_yaml(toy: Path, folder: Path, val_rows: int = 0, **changes: Any) -> Path:
    base = config(toy, folder / "unused", learning_rate=5e-3)
    base["dmt"]["evaluate"] = {
        "tasks": ["dmt_math", "dmt_general"],
        "data": {name: str(toy / f"data/{name}_test.jsonl") for name in ("math", "general")},
        "prompt": "plain",
        "max_new_tokens": 4,
    }
    if val_rows:
        base["dmt"]["val_rows"] = val_rows
    del base["output_dir"]
    write(folder / "base.yaml", base)
    study = {
        "base": "base.yaml",
        "output_dir": str(folder / "study"),
        "seeds": [5],
        "cells": [
            {"strategy": "mixed_sequential"},
            {"strategy": "dmt", "k": [0, "1/2"]},
            {"strategy": "mixed_sequential", "merge": "slerp"},
        ],
        **changes,
    }
    return write(folder / "study.yaml", study)


OPTIONS = ("--jobs", "2", "--launcher-args", "--launcher python")


def folders(study: Path) -> list[list[str]]:
    """Return the folders of the runs of each cell."""
    cells = json.loads((study / "study.json").read_text())["cells"]
    return [[run["folder"] for run in cell["runs"]] for cell in cells]


@pytest.mark.long
def test_a_study_trains_each_stage_once_and_goes_on_where_it_ended(
    toy: Path, tmp_path: Path
) -> None:
    path, study = study_yaml(toy, tmp_path, val_rows=10, keep_weights=False), tmp_path / "study"
    done = axolotl("dmt", "study", str(path), *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    mixed, none, half, merged = folders(study)
    # The weights of the models that others start from, or that are merged, are all that is left.
    weights = {str(file.relative_to(study).parent) for file in study.rglob("*.safetensors")}
    assert weights == {f"{mixed[0]}/stages/01-specialise", f"{mixed[1]}/stages/01-generalise"}
    assert mixed == none
    assert mixed[0] == half[0]
    assert len({*mixed, *half}) == 3
    assert merged[:-1] == mixed
    assert list((study / "report").glob("*.html"))
    # The results hold the whole schedule, with the scores of the shared stage.
    outcome = read_cell_results(study)[2]
    assert [(stage.name, stage.rows) for stage in outcome.stages] == [
        ("specialise", {"math": 110, "code": 50}),
        ("generalise", {"general": 90, "math": 55, "code": 25}),
    ]
    assert all(set(stage.scores) == {"math", "general"} for stage in outcome.stages)
    # A merge is scored like a stage, and has losses on the same held-out rows.
    last = read_cell_results(study)[3].stages[-1]
    assert (last.name, set(last.scores)) == ("merge", {"math", "general"})
    (merge,) = load_results(study / merged[-1]).stages
    (stage,) = load_results(study / mixed[-1]).stages
    losses, others = merge.held_out_losses(), stage.held_out_losses()
    assert losses.keys() == others.keys() == {"math", "code", "general"}
    assert all(losses[name] != others[name] for name in losses)
    assert (study / merged[-1] / "stages/01-merge/dmt_merge.json").is_file()
    again = CliRunner().invoke(dmt, ["study", str(path), *OPTIONS])
    assert again.exit_code == 0, again.output
    assert "4 of 4 runs are done already" in again.output


@pytest.mark.slow
def test_the_model_before_training_is_scored_once(toy: Path, tmp_path: Path) -> None:
    cells = [{"strategy": ["multi_task", "mixed_sequential"]}]
    path = study_yaml(toy, tmp_path, cells=cells, set={"dmt.evaluate.before": True}, val_rows=10)
    study = tmp_path / "study"
    done = axolotl("dmt", "study", str(path), *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    (multi,), (first, _) = folders(study)
    logs = [(study / folder / "run.log").read_text() for folder in (multi, first)]
    assert ["the starting model scored" in log for log in logs] == [True, False]
    scored, given = (load_results(study / folder).baseline for folder in (multi, first))
    assert scored is not None and scored == given
    assert set(scored.held_out_losses()) == {"math", "code", "general"}
    points = read_items(study / first / "dmt/items.parquet")["point"].to_pylist()
    assert {*points} == {"baseline", "specialise"}
    assert all(cell.before == scored.values() for cell in read_cell_results(study))
    again = CliRunner().invoke(dmt, ["study", str(path), *OPTIONS])
    assert "3 of 3 runs are done already" in again.output


@pytest.mark.slow
def test_a_run_whose_weights_are_gone_is_trained_again_for_a_new_cell(
    toy: Path, tmp_path: Path
) -> None:
    cells: list[dict[str, Any]] = [{"strategy": "dmt", "k": "1/2"}]
    path, study = study_yaml(toy, tmp_path, cells=cells), tmp_path / "study"
    done = axolotl("dmt", "study", str(path), *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    ((first, last),) = folders(study)
    weights = study / first / "stages/01-specialise/model.safetensors"
    before = load_file(weights)
    weights.unlink()
    again = CliRunner().invoke(dmt, ["study", str(path), *OPTIONS])
    assert "2 of 2 runs are done already" in again.output
    path = study_yaml(toy, tmp_path, cells=[*cells, {"strategy": "mixed_sequential"}])
    done = axolotl("dmt", "study", str(path), *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "need their weights, which are gone: dmt-k1_2.1-specialise/seed-5" in done.stdout
    assert "1 of 3 runs are done already" in done.stdout
    after = load_file(weights)
    assert all((after[name] == before[name]).all() for name in before)
    assert len([*(study / first).glob("**/results.json")]) == 2  # the former results are kept
    assert len(read_cell_results(study)) == 2
    assert (study / last / "stages/01-generalise/model.safetensors").is_file()


@pytest.mark.slow
def test_the_last_stage_of_a_cell_is_that_of_one_run_through_all(toy: Path, tmp_path: Path) -> None:
    path, study = study_yaml(toy, tmp_path, cells=[{"k": "1/2"}]), tmp_path / "study"
    done = axolotl("dmt", "study", str(path), *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    whole = yaml.safe_load((tmp_path / "base.yaml").read_text())
    whole |= {"output_dir": str(tmp_path / "whole"), "seed": 5}
    whole["dmt"] = {"strategy": "dmt", "k": "1/2"}
    one = train(tmp_path, whole)
    assert one.code == 0, one.output[-3000:]
    ((_, last),) = folders(study)
    ours = load_file(study / last / "stages/01-generalise/model.safetensors")
    theirs = load_file(tmp_path / "whole/stages/02-generalise/model.safetensors")
    assert all((ours[name] == theirs[name]).all() for name in theirs)

    look = axolotl("dmt", "study", str(path), "--dry-run")
    plans = [json.loads((study / f / "dmt/plan/plan.json").read_text()) for f in folders(study)[0]]
    assert f"in total {sum(plan['total_steps'] for plan in plans)} optimiser steps" in look.stdout
    assert "cells: 1, seeds: 1, runs: 2, done: 2" in look.stdout


@pytest.mark.slow
def test_a_failed_run_is_recorded_and_not_fatal(toy: Path, tmp_path: Path) -> None:
    nowhere = {"base_model": str(tmp_path / "nowhere")}
    cells = [{"variant": "broken"}, {"variant": "whole", "strategy": "multi_task"}]
    variants = {"broken": nowhere, "whole": {}}
    path = study_yaml(toy, tmp_path, cells=cells, variants=variants)
    done = axolotl("dmt", "study", str(path), *OPTIONS)
    assert done.returncode == 1
    assert "seed-5 0 s: failed: skipped, " in done.stdout
    assert [outcome.settings["variant"] for outcome in read_cell_results(tmp_path / "study")] == [
        "whole"
    ]
    (why,) = read_missing(tmp_path / "study").values()
    assert "see " in why
    assert "run.log" in why
