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
ENDS = (BOUNDARY, 42)
"""The last steps of the stages."""


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


def test_the_stages_are_scored_by_continuous_batching(unbroken: Finished) -> None:
    """So that what the other tests compare was trained after such a scoring."""
    for stage in unbroken.results["stages"]:
        assert stage["generation"]["batching"].startswith("continuous batching")
        assert stage["generation"]["tokens"] > 0


@pytest.mark.slow
def test_scoring_leaves_an_adapter_over_checkpointed_and_compiled_layers_as_it_was(
    toy: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "adapter": "lora",
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.1,  # draws random numbers, too
        "lora_target_linear": True,
        "gradient_checkpointing": True,
        "torch_compile": True,
        "torch_compile_backend": "eager",
    }
    made = {name: settings(toy, tmp_path / name / "out", **changes) for name in ("scored", "not")}
    del made["not"]["dmt"]["evaluate"]
    done = {}
    for name, one in made.items():
        (tmp_path / name).mkdir()
        done[name] = train(tmp_path / name, one)
        assert done[name].code == 0, done[name].output[-4000:]
    for stage in done["scored"].results["stages"]:
        assert stage["generation"]["batching"].startswith("continuous batching")
    for part in ("stages/01-specialise", "stages/02-generalise"):
        files = [done[name].folder / part / "adapter_model.safetensors" for name in made]
        assert files[0].read_bytes() == files[1].read_bytes()

    killed = settings(toy, tmp_path / "killed" / "out", **changes)
    (tmp_path / "killed").mkdir()
    assert train(tmp_path / "killed", killed, KILL_AT=f"step:{BOUNDARY + 1}").code != 0
    resumed = train(tmp_path / "killed", killed)
    assert resumed.code == 0, resumed.output[-4000:]
    part = "stages/02-generalise/adapter_model.safetensors"
    assert (resumed.folder / part).read_bytes() == (done["scored"].folder / part).read_bytes()


@pytest.mark.parametrize(
    "kill_at",
    [
        pytest.param("step:15", marks=pytest.mark.slow),
        pytest.param(f"step:{BOUNDARY - 1}", marks=pytest.mark.slow),
        pytest.param(f"stage-save:{BOUNDARY}", marks=pytest.mark.slow),
        pytest.param(f"evaluation:{BOUNDARY}", marks=pytest.mark.slow),
        pytest.param(f"step:{BOUNDARY}", marks=pytest.mark.slow),
        pytest.param(f"checkpoint:{BOUNDARY}", marks=pytest.mark.long),
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
    # The time of a stage includes that before the checkpoint.
    for state in resumed.folder.glob("checkpoint-*/trainer_state.json"):
        saved = json.loads(state.read_text())
        seconds = saved["stateful_callbacks"]["StageCallback"]["attributes"]["stage_seconds"]
        name = "specialise" if saved["global_step"] <= BOUNDARY else "generalise"
        assert seconds <= ours["timings"][f"train {name}"]
        assert (seconds > 0) is (saved["global_step"] not in ENDS)


@pytest.mark.slow
def test_a_finished_evaluation_is_not_repeated(toy: Path, tmp_path: Path) -> None:
    made = settings(toy, tmp_path / "out")
    # The stage is scored, but the run is killed before the checkpoint at the boundary is complete.
    assert train(tmp_path, made, KILL_AT=f"checkpoint:{BOUNDARY}").code != 0
    scored = json.loads((tmp_path / "out/dmt/results.json").read_text())["stages"]
    assert [stage["name"] for stage in scored] == ["specialise"]
    # A second evaluation of the stage would kill the run again.
    assert train(tmp_path, made, KILL_AT=f"evaluation:{BOUNDARY}").code == 0


@pytest.mark.long
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
