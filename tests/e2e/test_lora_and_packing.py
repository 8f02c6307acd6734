"""LoRA and sample packing through both stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from axolotl_dmt.plan.training_plan import TrainingPlan
from tests.conftest import ROWS
from tests.e2e import spy
from tests.e2e.runs import axolotl, config, train, write

pytestmark = pytest.mark.long

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
        val_set_size=5,
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
    # Every row starts with the beginning-of-text token, so counting it counts the rows.
    starts = [sum(row.count(1) for row in part["rows"]) for part in seen if part["step"] < ends[0]]
    blanks = int((plan.order[: plan.pack_offsets[ends[0] * plan.packs_per_step]] < 0).sum())
    assert sum(starts) == (120 - 2) + (60 - 1) + blanks
    assert all(point["loss"] < 20 for point in done.results["learning_curve"])
    for point in done.results["learning_curve"]:
        domains = {"math", "code"} | ({"general"} if point["stage"] == "generalise" else set())
        losses = point["domain_loss"]
        assert set(losses) <= domains and losses
        assert min(losses.values()) <= point["loss"] * 1.001, point
        assert point["loss"] * 0.999 <= max(losses.values()), point
    # The held-out rows do not fill a batch of packs, but each has a loss.
    for stage in done.results["stages"]:
        assert stage["held_out_loss"].keys() == ROWS.keys()
