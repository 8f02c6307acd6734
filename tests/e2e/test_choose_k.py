"""k is chosen by trials that share one stage 1, and a training uses the choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.results import Results
from tests.e2e.runs import axolotl, config, train, write
from tests.mistakes import assert_mistake

OPTIONS = ("--launcher-args", "--launcher python")


def refusal(output: str) -> str:
    """Return the line that refuses a run."""
    return next(line for line in output.splitlines() if line.startswith("axolotl-dmt: "))


@pytest.mark.slow
def test_k_is_chosen_by_trials_and_stage_2_continues_from_their_stage_1(
    toy: Path, tmp_path: Path
) -> None:
    settings = config(toy, tmp_path / "out", learning_rate=5e-3)
    settings["dmt"] = {
        "strategy": "dmt",
        "k": "auto",
        # After so little training the model scores 0, so no score can fall.
        "auto_k": {"ladder": ["1/2", "1/4"], "loss": 0.0, "max_steps": 3, "abilities": ["math"]},
        "evaluate": {
            "tasks": ["dmt_math"],
            "data": {"math": str(toy / "data/math_test.jsonl")},
            "max_new_tokens": 4,
        },
    }
    path = str(write(tmp_path / "dmt.yaml", settings))
    early = train(tmp_path, settings)
    assert early.code != 0
    assert_mistake(refusal(early.output), "axolotl-dmt: dmt.k", "auto", "axolotl dmt choose-k")

    done = axolotl("dmt", "choose-k", path, *OPTIONS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    out = tmp_path / "out"
    logs = {log: log.stat().st_mtime_ns for log in out.glob("dmt/choose_k/runs/*/*/run.log")}
    # A second call trains no trial again and goes on to stage 2.
    done = axolotl("dmt", "choose-k", path, *OPTIONS, "--train")
    assert len(logs) == 2
    assert all(log.stat().st_mtime_ns == time for log, time in logs.items())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    choice = json.loads((out / "dmt/k.json").read_text())
    assert (choice["k"], choice["holds"]) == ("1/4", True)
    assert [trial["k"] for trial in choice["trials"]] == ["1/4"]
    first, trial = (Path(run["folder"]) for run in (choice["stage_1"], choice["trials"][0]))
    assert TrainingPlan.load(trial / "dmt/plan").total_steps == 3
    kept = yaml.safe_load((trial / "config.yaml").read_text())
    assert kept["base_model"] == str(first / "stages/01-specialise")

    # The whole of stage 2 starts from the stage 1 of the trials.
    results = Results.load(out / "dmt")
    assert [stage.name for stage in results.stages] == ["generalise"]
    assert results.stages[0].rows == {"math": 30, "code": 15, "general": 100}
    assert results.baseline.values() == {"math": choice["stage_1"]["scores"]["math"]["value"]}

    # One training of both stages, which uses the recorded k, ends with the same weights.
    whole = train(tmp_path, settings)
    assert whole.code == 0, whole.output[-3000:]
    assert "axolotl-dmt: k = 1/4: " in whole.output
    ours, theirs = (
        load_file(folder / "model.safetensors")
        for folder in (
            next(out.glob("_earlier-*/stages/01-generalise")),
            out / "stages/02-generalise",
        )
    )
    assert all(ours[name].equal(theirs[name]) for name in theirs)

    other = {**settings, "dmt": {**settings["dmt"], "overrides": {"generalise": {"epochs": 0.1}}}}
    refused = axolotl("dmt", "plan", str(write(tmp_path / "other.yaml", other)))
    assert refused.returncode == 2
    values = (out / "dmt/k.json", "the trial", "axolotl dmt choose-k")
    assert_mistake(refusal(refused.stderr), "axolotl-dmt: dmt.k", *values)
