"""A very small study through the command line: shared stages, failures, going on, the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file

from tests.e2e.runs import axolotl, config, train, write


def study_yaml(toy: Path, folder: Path, **changes: Any) -> Path:
    base = config(toy, folder / "unused", learning_rate=5e-3)
    base["dmt"]["evaluate"] = {
        "tasks": ["dmt_math", "dmt_general"],
        "data": {name: str(toy / f"data/{name}_test.jsonl") for name in ("math", "general")},
        "prompt": "plain",
        "max_new_tokens": 4,
    }
    del base["output_dir"]
    write(folder / "base.yaml", base)
    study = {
        "base": "base.yaml",
        "output_dir": str(folder / "study"),
        "seeds": [5],
        "cells": [
            {"strategy": "mixed_sequential"},
            {"strategy": "dmt", "k": [0, "1/2"]},
        ],
        **changes,
    }
    return write(folder / "study.yaml", study)


def test_a_study_trains_each_stage_once_and_goes_on_where_it_ended(
    toy: Path, tmp_path: Path
) -> None:
    options = ("--jobs", "2", "--launcher-args", "--launcher python")
    # Of a base model that is not there: all fails, nothing is fatal, and it says why.
    path = study_yaml(toy, tmp_path, set={"base_model": str(tmp_path / "nowhere")})
    failed = axolotl("dmt", "study", str(path), *options)
    assert failed.returncode == 1
    assert "skipped, mixed_sequential.1-specialise/seed-5 failed" in failed.stdout

    path = study_yaml(toy, tmp_path)
    refused = axolotl("dmt", "study", str(path), *options)
    assert refused.returncode == 2
    assert "holds 3 runs of other settings" in refused.stderr
    done = axolotl("dmt", "study", str(path), *options, "--retrain-changed")
    assert done.returncode == 0, done.stdout + done.stderr
    study = tmp_path / "study"
    cells = json.loads((study / "study.json").read_text())["cells"]
    folders = [[run["folder"] for run in cell["runs"]] for cell in cells]
    assert folders[0] == folders[1]
    assert folders[0][0] == folders[2][0]
    assert len({folder for chain in folders for folder in chain}) == 3
    assert list((study / "report").glob("*.html"))

    # The cell's last stage is, bit for bit, that of one run through both stages.
    whole = yaml.safe_load((tmp_path / "base.yaml").read_text())
    whole |= {"output_dir": str(tmp_path / "whole"), "seed": 5}
    whole["dmt"] = {"strategy": "dmt", "k": "1/2"}
    one = train(tmp_path, whole)
    assert one.code == 0, one.output[-3000:]
    ours = load_file(study / folders[2][1] / "stages/01-generalise/model.safetensors")
    theirs = load_file(tmp_path / "whole/stages/02-generalise/model.safetensors")
    assert all((ours[name] == theirs[name]).all() for name in theirs)

    again = axolotl("dmt", "study", str(path), *options)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "3 of 3 runs are done already" in again.stdout
    look = axolotl("dmt", "study", str(path), "--dry-run")
    assert "3 cells under 1 seeds are 3 runs, 3 of them done" in look.stdout
    steps = sum(
        json.loads((study / f / "dmt/plan/plan.json").read_text())["total_steps"]
        for f in {folder for chain in folders for folder in chain}
    )
    assert f"in all {steps} optimiser steps" in look.stdout
