"""LoRA and sample packing through both stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.training_plan import TrainingPlan
from tests.e2e import spy
from tests.e2e.runs import axolotl, config, fields, train, write

LORA = {
    "adapter": "lora",
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_target_modules": ["q_proj", "v_proj"],
}


def test_one_adapter_goes_through_all_stages_and_any_stage_can_be_merged(
    toy: Path, tmp_path: Path
) -> None:
    from peft import AutoPeftModelForCausalLM
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    data = {name: str(toy / f"data/{name}_test.jsonl") for name in ("math", "general")}
    evaluate = {"tasks": ["dmt_math", "dmt_general"], "data": data, "max_new_tokens": 4}
    settings = config(toy, tmp_path / "out", **LORA)
    settings["dmt"] = {**settings["dmt"], "evaluate": evaluate}
    done = train(tmp_path, settings)
    assert done.code == 0, done.output[-4000:]
    assert all(set(stage["scores"]) == {"math", "general"} for stage in done.results["stages"])

    folders = [done.folder / "stages" / name for name in ("01-specialise", "02-generalise")]
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    assert first.keys() == second.keys()
    assert any(not first[name].equal(second[name]) for name in first)
    assert AutoPeftModelForCausalLM.from_pretrained(folders[0]).num_parameters() > 0

    path = write(tmp_path / "merge.yaml", settings)
    merged = axolotl(
        "merge-lora", str(path), f"--lora-model-dir={folders[0]}", f"--output-dir={tmp_path}/m"
    )
    assert merged.returncode == 0, merged.stderr[-3000:]
    (where,) = [tmp_path / "m" / name for name in ("merged",) if (tmp_path / "m" / name).is_dir()]
    assert AutoModelForCausalLM.from_pretrained(where).num_parameters() > 0


def with_a_fresh_adapter(toy: Path, output: Path, **changes: Any) -> dict[str, Any]:
    made = config(toy, output, **{"save_strategy": "epoch", **LORA, **changes})
    made["dmt"] = {**made["dmt"], "overrides": {"generalise": {"adapter": "new"}}}
    made["auto_resume_from_checkpoints"] = True
    test = {"path": str(toy / "data/math_test.jsonl"), "type": fields("question", "answer")}
    made |= {"test_datasets": [{**test, "split": "train"}], "eval_strategy": "epoch"}
    made["plugins"] += ["tests.e2e.killer.KillerPlugin"]
    return made


def adapter_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def test_a_fresh_adapter_leaves_the_earlier_one_as_it_was(toy: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    settings = with_a_fresh_adapter(toy, tmp_path / "out")
    done = train(tmp_path, settings)
    assert done.code == 0, done.output[-4000:]
    folders = [done.folder / "stages" / name for name in ("01-specialise", "02-generalise")]
    first, second = (adapter_of(folder) for folder in folders)
    for name in first:
        axis = 0 if "lora_A" in name else 1
        earlier, fresh = second[name].split(4, dim=axis)
        assert earlier.equal(first[name])
        assert not fresh.equal(first[name])
        assert fresh.abs().sum() > 0
    final = adapter_of(done.folder)
    assert all(final[name].equal(second[name]) for name in second)
    # epoch saves at the end of the run, and the plan at each boundary
    assert {path.name for path in done.folder.glob("checkpoint-*")} == {
        "checkpoint-23",
        "checkpoint-42",
    }

    evaluated = {entry["step"] for entry in done.history if "eval_test_loss" in entry}
    assert evaluated == {0, 23, 42}

    path = write(tmp_path / "merge.yaml", settings)
    merged = axolotl(
        "merge-lora", str(path), f"--lora-model-dir={folders[1]}", f"--output-dir={tmp_path}/m"
    )
    assert merged.returncode == 0, merged.stderr[-3000:]
    base, whole = (
        AutoModelForCausalLM.from_pretrained(folder).state_dict()
        for folder in (toy / "base", tmp_path / "m/merged")
    )
    for name in second:
        if "lora_A" in name:
            weight = name.removeprefix("base_model.model.").replace("lora_A", "")
            weight = weight.replace("..", ".")
            change = 2 * second[name.replace("lora_A", "lora_B")] @ second[name]
            torch.testing.assert_close(whole[weight], base[weight] + change, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [{}, {"adapter": "qlora", "load_in_4bit": True}])
@pytest.mark.parametrize("kill_at", ["checkpoint:23", "step:30"])
def test_a_run_killed_under_a_fresh_adapter_ends_as_the_unbroken_one(
    toy: Path, tmp_path: Path, adapter: dict[str, Any], kill_at: str
) -> None:
    changes = {**adapter, "save_strategy": "steps", "save_steps": 6}
    for name in ("unbroken", "killed"):
        (tmp_path / name).mkdir()
    unbroken = train(
        tmp_path / "unbroken", with_a_fresh_adapter(toy, tmp_path / "unbroken/out", **changes)
    )
    assert unbroken.code == 0, unbroken.output[-4000:]
    settings = with_a_fresh_adapter(toy, tmp_path / "killed/out", **changes)
    assert train(tmp_path / "killed", settings, KILL_AT=kill_at).code != 0
    resumed = train(tmp_path / "killed", settings)
    assert resumed.code == 0, resumed.output[-4000:]
    ours, theirs = adapter_of(resumed.folder), adapter_of(unbroken.folder)
    assert all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.parametrize("accumulation", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_no_pack_holds_rows_of_two_stages(toy: Path, tmp_path: Path, accumulation: int) -> None:
    (tmp_path / "spy").mkdir()
    settings = config(
        toy,
        tmp_path / "out",
        sample_packing=True,
        sequence_len=256,
        micro_batch_size=2,
        gradient_accumulation_steps=accumulation,
        attn_implementation="sdpa",
    )
    settings["plugins"] += ["tests.e2e.spy.SpyPlugin"]
    done = train(tmp_path, settings, SPY_FILE=str(tmp_path / "spy/seen"))
    assert done.code == 0, done.output[-4000:]

    plan = TrainingPlan.load(done.folder / "dmt/plan")
    assert plan.packs_per_step == 2 * accumulation
    ends = [stage["end_step"] for stage in done.results["stages"]]
    assert ends[-1] == plan.total_steps
    seen = spy.read(tmp_path / "spy")
    assert {part["step"] for part in seen} == set(range(plan.total_steps))
    # every row starts with the beginning-of-text token: count rows by it
    starts = [sum(row.count(1) for row in part["rows"]) for part in seen if part["step"] < ends[0]]
    blanks = int((plan.order[: plan.pack_offsets[ends[0] * plan.packs_per_step]] < 0).sum())
    assert sum(starts) == 120 + 60 + blanks
    assert all(point["loss"] < 20 for point in done.results["learning_curve"])
