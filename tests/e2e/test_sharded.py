"""Stages under DeepSpeed ZeRO and FSDP2, in two processes on a CPU.

The tests are slow; those of DeepSpeed run only where it is installed.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROWS
from tests.e2e.runs import Finished, axolotl, config, write

pytestmark = pytest.mark.slow
TORCHRUN = ("--launcher", "torchrun", "--", "--nproc_per_node", "2", "--master_port", "29523")
END = 23
FSDP2 = {
    "fsdp_version": 2,
    "fsdp_config": {
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": "LlamaDecoderLayer",
        "state_dict_type": "SHARDED_STATE_DICT",
        "reshard_after_forward": True,
    },
}


def zero(stage: int) -> dict[str, Any]:
    """Return a ZeRO configuration like Axolotl's own, without offloading, which needs a GPU."""
    settings = {"stage": stage, "overlap_comm": False, "contiguous_gradients": True}
    if stage == 3:
        settings["gather_16bit_weights_on_model_save"] = True
    automatic = (
        "gradient_accumulation_steps",
        "gradient_clipping",
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
    )
    return {"zero_optimization": settings, **dict.fromkeys(automatic, "auto")}


def run(toy: Path, folder: Path, **changes: Any) -> Finished:
    folder.mkdir(parents=True, exist_ok=True)
    if "deepspeed" in changes:
        file = folder / "zero.json"
        file.write_text(json.dumps(changes["deepspeed"]))
        changes["deepspeed"] = str(file)
    data = {name: str(toy / f"data/{name}_test.jsonl") for name in ROWS}
    evaluate = {"tasks": ["dmt_math"], "data": data, "max_new_tokens": 4, "runner": "subprocess"}
    settings = config(
        toy,
        folder / "out",
        dmt={"strategy": "dmt", "k": "1/4", "evaluate": evaluate},
        micro_batch_size=4,
        reinit_weights=True,  # several CPU processes cannot load a model
        **changes,
    )
    settings["plugins"].insert(0, "tests.e2e.pretended_gpu.PretendedGPUPlugin")
    done = axolotl(
        "train",
        str(write(folder / "dmt.yaml", settings)),
        *TORCHRUN,
        DS_ACCELERATOR="cpu",
        OPTIMIZER_FILE=str(folder / "optimizer"),
    )
    return Finished(done.returncode, done.stdout + done.stderr, folder / "out")


@pytest.mark.parametrize("sharding", ["zero1", "zero2", "zero3", "fsdp2"])
def test_both_stages_run_over_sharded_state(toy: Path, tmp_path: Path, sharding: str) -> None:
    if sharding != "fsdp2" and importlib.util.find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed")
    changes = FSDP2 if sharding == "fsdp2" else {"deepspeed": zero(int(sharding[-1]))}
    done = run(toy, tmp_path, **changes)
    assert done.code == 0, done.output[-4000:]

    # At the boundary, both ranks reset their moments and step counts and keep their weights.
    for rank in (0, 1):
        seen = json.loads((tmp_path / f"optimizer.{rank}.json").read_text())
        before, after = seen["before"], seen["after"]
        assert any(before["moments"])
        assert set(before["steps"]) == {END}
        assert not any(after["moments"])
        assert set(after["steps"]) == {0}
        assert any(before["weights"])
        assert before["weights"] == after["weights"]

    # Each stage has its own learning-rate curve, and is scored from its folder.
    curve = done.results["learning_curve"]
    assert [point["step"] for point in curve] == list(range(1, 43))
    rates = [point["learning_rate"] for point in curve]
    assert rates[0] == rates[END] == pytest.approx(1e-3)
    assert rates[END - 1] < 2e-5
    for stage in done.results["stages"]:
        assert stage.get("error") is None
        assert stage["scores"]["math"]["n"] == 6

    from transformers import AutoModelForCausalLM

    last = done.folder / "stages/02-generalise"
    loaded = AutoModelForCausalLM.from_pretrained(last)
    assert sum(float(p.detach().abs().sum()) for p in loaded.parameters()) > 0
    assert json.loads((last / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
