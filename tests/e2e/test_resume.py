"""A run that is killed and resumed ends with the weights of an uninterrupted run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROWS
from tests.e2e.runs import Finished, config, train
from tests.mistakes import assert_mistake

BOUNDARY = 23


def settings(toy: Path, output: Path, **changes: Any) -> dict[str, Any]:
    data = {name: str(toy / f"data/{name}_test.jsonl") for name in ROWS}
    evaluate = {"tasks": ["dmt_math"], "data": data, "max_new_tokens": 4}
    made = config(
        toy,
        output,
        dmt={"strategy": "dmt", "k": "1/4", "evaluate": evaluate},
        save_strategy="steps",
        save_steps=6,
        auto_resume_from_checkpoints=True,
        neftune_noise_alpha=1.0,  # draws random numbers, so that lost generator states show
        **changes,
    )
    made["plugins"] += ["tests.e2e.killer.KillerPlugin"]
    return made


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def unbroken(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("unbroken")
    done = train(folder, settings(toy, folder / "out"))
    assert done.code == 0, done.output[-4000:]
    return done


@pytest.mark.parametrize(
    "kill_at",
    [
        pytest.param("step:15", marks=pytest.mark.slow),
        pytest.param(f"step:{BOUNDARY - 1}", marks=pytest.mark.slow),
        pytest.param(f"stage-save:{BOUNDARY}", marks=pytest.mark.slow),
        pytest.param(f"evaluation:{BOUNDARY}", marks=pytest.mark.slow),
        pytest.param(f"step:{BOUNDARY}", marks=pytest.mark.slow),
        f"checkpoint:{BOUNDARY}",
        pytest.param(f"step:{BOUNDARY + 1}", marks=pytest.mark.slow),
        pytest.param("step:37", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_as_the_unbroken_one(
    toy: Path, tmp_path: Path, unbroken: Finished, kill_at: str
) -> None:
    made = settings(toy, tmp_path / "out")
    killed = train(tmp_path, made, KILL_AT=kill_at)
    assert killed.code != 0
    resumed = train(tmp_path, made)
    assert resumed.code == 0, resumed.output[-4000:]

    for part in (".", "stages/01-specialise", "stages/02-generalise"):
        assert weights(resumed.folder / part) == weights(unbroken.folder / part)
    ours, theirs = resumed.results, unbroken.results
    for name in ("plan_fingerprint", "retention", "forgetting"):
        assert ours[name] == theirs[name]
    assert [stage["scores"] for stage in ours["stages"]] == [
        stage["scores"] for stage in theirs["stages"]
    ]
    assert [point["learning_rate"] for point in ours["learning_curve"]] == [
        point["learning_rate"] for point in theirs["learning_curve"]
    ]
    assert not list((resumed.folder / "stages").glob(".*"))


@pytest.mark.slow
def test_a_finished_evaluation_is_not_repeated(toy: Path, tmp_path: Path) -> None:
    made = settings(toy, tmp_path / "out")
    # The stage is scored, but the run is killed before the checkpoint at the boundary is complete.
    assert train(tmp_path, made, KILL_AT=f"checkpoint:{BOUNDARY}").code != 0
    scored = json.loads((tmp_path / "out/dmt/results.json").read_text())["stages"]
    assert [stage["name"] for stage in scored] == ["specialise"]
    # A second evaluation of the stage would kill the run again.
    assert train(tmp_path, made, KILL_AT=f"evaluation:{BOUNDARY}").code == 0


def test_a_changed_plan_is_refused_and_says_what_changed(toy: Path, tmp_path: Path) -> None:
    made = settings(toy, tmp_path / "out")
    assert train(tmp_path, made, KILL_AT="step:15").code != 0
    made["dmt"] = {**made["dmt"], "k": "1/2"}
    refused = train(tmp_path, made)
    assert refused.code == 2
    (line,) = [line for line in refused.output.splitlines() if line.startswith("axolotl-dmt:")]
    values = ("draws of math", 30, 60, "replan")
    assert_mistake(line, "axolotl-dmt: resume_from_checkpoint", *values)
    assert "Traceback" not in refused.output

    made["dmt"] = {**made["dmt"], "on_plan_change": "replan"}
    assert train(tmp_path, made).code == 0
