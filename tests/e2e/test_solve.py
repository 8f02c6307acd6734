"""Probes share stage 1 and go on where they ended; the mix that is found is trained and judged."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from axolotl_dmt.results import Results
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.items import read_items
from tests.e2e.runs import axolotl, config, write

OPTIONS = ("--launcher-args", "--launcher python")


@pytest.mark.slow
def test_a_yaml_with_floors_becomes_a_trained_and_judged_run(toy: Path, tmp_path: Path) -> None:
    settings = config(toy, tmp_path / "out", learning_rate=2e-3)
    settings["dmt"] = {
        "strategy": "dmt",
        "k": "auto",
        "val_rows": 10,
        "keep": {"math": {"loss": 9.0}},
        "evaluate": {
            "tasks": ["dmt_math"],
            "data": {"math": str(toy / "data/math_test.jsonl")},
            "prompt": "plain",
            "max_new_tokens": 4,
            "limit": 5,
        },
        "solve": {"budget": 3.0, "lengths": ["1/4", "1/2"], "levels": ["1/8", "1/4", "1/2"]},
    }
    path = str(write(tmp_path / "my.yaml", settings))
    dry = axolotl("dmt", "solve", path, "--dry-run")
    assert dry.returncode == 0, dry.stdout[-3000:] + dry.stderr[-3000:]
    words = " ".join(dry.stdout.split())
    assert "of a full run" in words
    assert re.search(r"the shortest probe has \d+ optimiser steps: .* dmt.solve.lengths", words)
    assert not (tmp_path / "my.solved.yaml").exists()

    done = axolotl("dmt", "solve", path, *OPTIONS, timeout=1800)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    out = RunFolder(tmp_path / "out")
    solution = json.loads(out.solution.read_text())
    logs = {log: log.stat().st_mtime_ns for log in out.probes.glob("runs/*/*/run.log")}
    assert len(logs) == len(solution["probes"]) + 1  # stage 1 is trained once
    solved = yaml.safe_load((tmp_path / "my.solved.yaml").read_text())
    stages = solved["dmt"]["stages"]
    assert stages[1]["mix"]["math"] == {"rows": solution["rows"]["math"]}

    # A second call trains no probe again and goes on to the last stage.
    done = axolotl("dmt", "solve", path, *OPTIONS, "--train", timeout=1800)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert all(log.stat().st_mtime_ns == time for log, time in logs.items())
    results = Results.load(out.results)
    assert [stage.name for stage in results.stages] == ["specialise", "generalise"]
    assert results.stages[1].rows["math"] == solution["rows"]["math"]
    # Probes for floors on losses are not scored; the model after stage 1 is scored now.
    assert [set(stage.scores) for stage in results.stages] == [{"math"}, {"math"}]
    assert results.baseline is None
    assert {*read_items(out.items)["point"].to_pylist()} == {"specialise", "generalise"}
    assert results.stages[1].held_out_losses().keys() == {"math", "code", "general"}
    report = out.report_markdown.read_text()
    assert "Predicted and achieved" in report
    assert "loss math" in report
    assert "gate: holds: keep loss math=+9" in done.stdout + done.stderr

    # If no mix is sure enough to hold, the command ends with 1, or writes the nearest mix.
    settings["dmt"]["keep"] = {"math": {"loss": 0.0}}
    settings["dmt"]["solve"]["confidence"] = 1 - 1e-12
    write(tmp_path / "my.yaml", settings)
    (tmp_path / "my.solved.yaml").unlink()
    done = axolotl("dmt", "solve", path, *OPTIONS, timeout=1800)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    assert "NO mix" in done.stdout
    assert not (tmp_path / "my.solved.yaml").exists()
    done = axolotl("dmt", "solve", path, *OPTIONS, "--nearest", timeout=1800)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    text = (tmp_path / "my.solved.yaml").read_text()
    assert "This one is the nearest." in text
    nearest = json.loads(out.solution.read_text())["rows"]["math"]
    assert yaml.safe_load(text)["dmt"]["stages"][1]["mix"]["math"] == {"rows": nearest}


@pytest.mark.slow
def test_a_domain_that_overfits_ends_early_in_the_stage_before_the_last(
    toy: Path, tmp_path: Path
) -> None:
    settings = config(toy, tmp_path / "out", learning_rate=1e-2)
    settings["dmt"] = {
        "strategy": "dmt",
        "val_rows": 10,
        "keep": {"math": {"loss": 9.0}, "code": {"loss": 9.0}},
        "overrides": {"specialise": {"epochs": 50}},
        "solve": {
            "budget": 9.0,
            "lengths": ["1/4", "1/2"],
            "levels": ["1/8", "1/4"],
            "end_early": 0.01,
        },
    }
    path = str(write(tmp_path / "my.yaml", settings))
    done = axolotl("dmt", "solve", path, *OPTIONS, "--jobs", "2", timeout=1800)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    out = RunFolder(tmp_path / "out")
    (whole,) = out.probes.glob("runs/specialise-as-written/*/dmt/results.json")
    curve = json.loads(whole.read_text())["held_out_curve"]
    assert len(curve) == 8
    losses = {name: [point["losses"][name] for point in curve] for name in ("math", "code")}
    turned = {name for name, each in losses.items() if each[-1] - min(each) > 0.01}
    assert turned, losses
    text = " ".join(done.stdout.split())
    for name in ("math", "code"):
        assert (f"{name} ends early in specialise" in text) is (name in turned)
    stage = yaml.safe_load((tmp_path / "my.solved.yaml").read_text())["dmt"]["stages"][0]
    if "stays as it is written" in text:
        assert stage["epochs"] == 50
    else:
        assert stage["epochs"] == 1
        assert (out.probes / "runs/specialise-shortened").is_dir()
