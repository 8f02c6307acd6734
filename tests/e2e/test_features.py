"""Several features of Axolotl and of `dmt:` together in one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.e2e import spy
from tests.e2e.runs import Finished, axolotl, config, fields, train, write
from tests.e2e.test_ranks import TORCHRUN
from tests.mistakes import assert_mistake

pytestmark = pytest.mark.long

FROZEN = ["embed_tokens", r"layers\.0\.mlp"]


def settings(toy: Path, output: Path, **changes: Any) -> dict[str, Any]:
    made = config(toy, output, train_on_inputs=False)
    made["dmt"] = {
        **made["dmt"],
        "overrides": {"generalise": {"freeze": FROZEN, "train_on_inputs": True}},
    }
    test = {"path": str(toy / "data/math_test.jsonl"), "type": fields("question", "answer")}
    made |= {
        "test_datasets": [{**test, "split": "train"}],
        "eval_strategy": "steps",
        "eval_steps": 10,
        "save_strategy": "steps",
        "save_steps": 20,
        "gradient_checkpointing": True,
        "bf16": True,
        "auto_resume_from_checkpoints": True,
        **changes,
    }
    made["plugins"] += ["tests.e2e.spy.SpyPlugin", "tests.e2e.killer.KillerPlugin"]
    return made


def run(folder: Path, made: dict[str, Any], **variables: str) -> Finished:
    (folder / "spy").mkdir(exist_ok=True)
    return train(folder, made, SPY_FILE=str(folder / "spy/seen"), **variables)


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("features")
    done = run(folder, settings(toy, folder / "out"))
    assert done.code == 0, done.output[-4000:]
    return done


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


def test_both_stages_run_to_their_ends(finished: Finished) -> None:
    assert [stage["end_step"] for stage in finished.results["stages"]] == [23, 42]
    assert finished.results["settings"]["bf16"] is True


def test_what_is_frozen_in_a_stage_is_bit_for_bit_the_same_after_it(finished: Finished) -> None:
    first, second = (
        weights(finished.folder / "stages" / name) for name in ("01-specialise", "02-generalise")
    )
    same = {name for name in first if first[name].equal(second[name])}
    assert same == {name for name in first if "embed_tokens" in name or "layers.0.mlp" in name}


def test_inputs_are_trained_on_in_the_stage_that_says_so(finished: Finished) -> None:
    inputs: list[set[bool]] = [set(), set()]
    for seen in spy.read(finished.folder.parent / "spy"):
        for row, labels in zip(seen["rows"], seen["labels"], strict=True):
            if any(label != -100 for label in labels):  # no blank
                inputs[seen["step"] >= 23].add(labels[0] == row[0])
    assert inputs == [{False}, {True}]
    plan = json.loads((finished.folder / "dmt/plan/plan.json").read_text())
    for stage, alike in zip(plan["stages"], (False, True), strict=True):
        for draw in stage["domains"].values():
            assert (draw["trained_tokens"] == draw["tokens"]) is alike


def test_the_loss_on_test_datasets_is_taken_at_each_evaluation(finished: Finished) -> None:
    evaluated = {entry["step"] for entry in finished.history if "eval_test_loss" in entry}
    assert evaluated == {0, 10, 20, 23, 30, 40, 42}
    losses = [stage["held_out_loss"]["test"] for stage in finished.results["stages"]]
    assert all(loss > 0 for loss in losses)


def test_checkpoints_are_kept_at_their_steps_and_at_the_boundary(finished: Finished) -> None:
    kept = {path.name for path in finished.folder.glob("checkpoint-*")}
    assert kept == {f"checkpoint-{step}" for step in (20, 23, 40, 42)}


@pytest.mark.slow
def test_a_run_killed_in_a_frozen_stage_ends_as_the_unbroken_one(
    toy: Path, tmp_path: Path, finished: Finished
) -> None:
    made = settings(toy, tmp_path / "out")
    assert run(tmp_path, made, KILL_AT="step:41").code != 0
    resumed = run(tmp_path, made)
    assert resumed.code == 0, resumed.output[-4000:]
    ours, theirs = weights(resumed.folder), weights(finished.folder)
    assert all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.slow
def test_frozen_parameters_hold_on_two_processes(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "spy").mkdir()
    made = settings(toy, tmp_path / "out", reinit_weights=True, micro_batch_size=4)
    done = axolotl(
        "train",
        str(write(tmp_path / "dmt.yaml", made)),
        *TORCHRUN,
        SPY_FILE=str(tmp_path / "spy/seen"),
        WEIGHTS=str(toy / "base/model.safetensors"),
        ACCELERATE_USE_CPU="true",
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert {seen["rank"] for seen in spy.read(tmp_path / "spy")} == {0, 1}
    first, second = (
        weights(tmp_path / "out/stages" / name) for name in ("01-specialise", "02-generalise")
    )
    same = {name for name in first if first[name].equal(second[name])}
    assert same == {name for name in first if "embed_tokens" in name or "layers.0.mlp" in name}


@pytest.mark.slow
def test_patterns_that_match_nothing_end_the_run_before_its_first_step(
    toy: Path, tmp_path: Path
) -> None:
    made = settings(toy, tmp_path / "out")
    made["dmt"]["overrides"]["generalise"]["freeze"] = ["encoder"]
    done = run(tmp_path, made)
    assert done.code == 2
    (line,) = [line for line in done.output.splitlines() if line.startswith("axolotl-dmt: ")]
    assert_mistake(line, "axolotl-dmt: freeze (stage generalise)", "'encoder'")
    assert "Traceback" not in done.output
    assert not spy.read(tmp_path / "spy")
