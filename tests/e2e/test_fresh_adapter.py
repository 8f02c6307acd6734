"""A fresh LoRA adapter in stage 2, on top of the adapter of stage 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.e2e.runs import Finished, axolotl, config, fields, train, write
from tests.e2e.test_lora_and_packing import LORA

pytestmark = pytest.mark.slow

STAGES = ("01-specialise", "02-generalise")


def settings(toy: Path, output: Path, **changes: Any) -> dict[str, Any]:
    test = {"path": str(toy / "data/math_test.jsonl"), "type": fields("question", "answer")}
    made = config(toy, output)
    made |= {
        **LORA,
        "save_strategy": "epoch",
        "test_datasets": [{**test, "split": "train"}],
        "eval_strategy": "epoch",
        "auto_resume_from_checkpoints": True,
        **changes,
    }
    made["dmt"] = {**made["dmt"], "overrides": {"generalise": {"adapter": "new"}}}
    made["plugins"] += ["tests.e2e.killer.KillerPlugin"]
    return made


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("fresh")
    done = train(folder, settings(toy, folder / "out"))
    assert done.code == 0, done.output[-4000:]
    return done


def adapter_of(folder: Path) -> dict[str, Any]:
    return load_file(folder / "adapter_model.safetensors")


def assert_same_adapter(ours: Path, theirs: Path) -> None:
    one, two = adapter_of(ours), adapter_of(theirs)
    assert one.keys() == two.keys()
    assert all(one[name].equal(two[name]) for name in two)


def assert_stage_1_lies_in_stage_2(folder: Path) -> None:
    first, second = (adapter_of(folder / "stages" / name) for name in STAGES)
    assert first.keys() == second.keys()
    for name in first:
        earlier, fresh = second[name].split(4, dim=0 if "lora_A" in name else 1)
        assert earlier.equal(first[name])
        assert not fresh.equal(first[name])
        assert fresh.abs().sum() > 0


def test_the_earlier_adapter_stays_as_it_was_and_both_are_saved_as_one(finished: Finished) -> None:
    assert_stage_1_lies_in_stage_2(finished.folder)
    assert_same_adapter(finished.folder, finished.folder / "stages" / STAGES[1])


def test_epochs_save_and_evaluate_at_the_end_of_the_run_and_stages_at_theirs(
    finished: Finished,
) -> None:
    kept = {path.name for path in finished.folder.glob("checkpoint-*")}
    assert kept == {"checkpoint-23", "checkpoint-42"}
    evaluated = {entry["step"] for entry in finished.history if "eval_test_loss" in entry}
    assert evaluated == {0, 23, 42}


def test_merging_the_last_stage_merges_both_adapters(
    toy: Path, tmp_path: Path, finished: Finished
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    path = write(tmp_path / "merge.yaml", settings(toy, tmp_path / "out"))
    stage = finished.folder / "stages" / STAGES[1]
    merged = axolotl(
        "merge-lora", str(path), f"--lora-model-dir={stage}", f"--output-dir={tmp_path}/m"
    )
    assert merged.returncode == 0, merged.stderr[-3000:]
    base, whole = (
        AutoModelForCausalLM.from_pretrained(folder).state_dict()
        for folder in (toy / "base", tmp_path / "m/merged")
    )
    adapter = adapter_of(stage)
    changed = {name.removeprefix("base_model.model.") for name in adapter if "lora_A" in name}
    assert changed
    for name in changed:
        a = adapter[f"base_model.model.{name}"]
        b = adapter[f"base_model.model.{name.replace('lora_A', 'lora_B')}"]
        weight = name.replace(".lora_A", "")
        torch.testing.assert_close(whole[weight], base[weight] + 2 * b @ a, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_run_can_start_at_the_fresh_adapter_from_the_stage_before(
    toy: Path, tmp_path: Path, finished: Finished
) -> None:
    earlier = str(finished.folder / "stages" / STAGES[0])
    made = settings(toy, tmp_path / "out", lora_model_dir=earlier)
    made["dmt"]["start_stage"] = "generalise"
    done = train(tmp_path, made)
    assert done.code == 0, done.output[-4000:]
    assert_same_adapter(done.folder, finished.folder)


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", ["step:30", "checkpoint:23"])
def test_a_killed_run_ends_as_the_unbroken_one(
    toy: Path, tmp_path: Path, finished: Finished, kill_at: str
) -> None:
    made = settings(toy, tmp_path / "out", save_strategy="steps", save_steps=6)
    assert train(tmp_path, made, KILL_AT=kill_at).code != 0
    resumed = train(tmp_path, made)
    assert resumed.code == 0, resumed.output[-4000:]
    assert_same_adapter(resumed.folder, finished.folder)


@pytest.mark.slow
def test_qlora_goes_through_stages(toy: Path, tmp_path: Path) -> None:
    # On a CPU, bitsandbytes repacks the 4-bit weights at the first evaluation, after which there
    # are no gradients.
    unevaluated = {"test_datasets": None, "eval_strategy": "no"}
    qlora = {"adapter": "qlora", "load_in_4bit": True}
    done = train(tmp_path, settings(toy, tmp_path / "out", **qlora, **unevaluated))
    assert done.code == 0, done.output[-4000:]
    assert_stage_1_lies_in_stage_2(done.folder)
