"""DeepSpeed and FSDP settings that would fail hours later are refused on the YAML."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from axolotl_dmt.checks.sharding import check_sharding
from axolotl_dmt.config.args import read_config
from axolotl_dmt.errors import DMTError, DMTErrors
from tests.mistakes import expect_error

TEMPLATES = Path(__file__).parents[2] / "yaml_templates"
ZERO2 = {"zero_optimization": {"stage": 2}}
ZERO3 = {"zero_optimization": {"stage": 3, "gather_16bit_weights_on_model_save": True}}
FSDP = {"fsdp_version": 2, "fsdp_config": {"state_dict_type": "SHARDED_STATE_DICT"}}


def check(cfg: dict[str, Any], *, resets: bool = True, **evaluate: Any) -> None:
    block: dict[str, Any] = {"strategy": "dmt"}
    if evaluate:
        block["evaluate"] = {"tasks": ["dmt_math"], **evaluate}
    check_sharding(cfg, read_config(block), resets=resets)


@pytest.mark.parametrize("cfg", [{"deepspeed": ZERO3}, FSDP])
def test_a_live_model_in_pieces_is_not_scored(cfg: dict[str, Any]) -> None:
    for key, evaluate in (
        ("runner", {"runner": "in_process"}),
        ("when", {"runner": "subprocess", "when": {"every_steps": 5}}),
    ):
        with expect_error(f"dmt.evaluate.{key}", "FSDP" if cfg is FSDP else "ZeRO-3"):
            check(cfg, **evaluate)
    check(cfg, runner="in_process", when="never")
    check(cfg, runner="subprocess", before=True)
    check(cfg)


def test_zero_2_keeps_whole_weights_and_may_be_scored_live() -> None:
    check({"deepspeed": ZERO2}, runner="in_process", before=True)


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"scheduler": {"type": "WarmupLR"}}, "scheduler"),
        ({"optimizer": {"type": "OneBitAdam"}}, "OneBitAdam"),
        ({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "nvme"}}}, "nvme"),
        ({"zero_optimization": {"stage": 3}}, "stage3_gather_16bit_weights_on_model_save: true"),
    ],
)
def test_a_deepspeed_file_that_breaks_stages_is_refused(
    tmp_path: Path, changes: dict[str, Any], value: str
) -> None:
    file = tmp_path / "zero.json"
    file.write_text(json.dumps({**ZERO2, **changes}))
    with expect_error("deepspeed", value):
        check({"deepspeed": str(file)})


def test_what_matters_only_to_a_reset_is_allowed_without_one() -> None:
    check({"deepspeed": {**ZERO2, "optimizer": {"type": "OneBitAdam"}}}, resets=False)
    check({"deepspeed": {**ZERO2, "optimizer": {"type": "AdamW"}}})


def test_a_file_that_is_not_there_says_where_to_get_it(tmp_path: Path) -> None:
    with expect_error("deepspeed", "zero9.json", "axolotl fetch deepspeed_configs"):
        check({"deepspeed": "deepspeed_configs/zero9.json"})
    (tmp_path / "zero.json").write_text("{")
    with expect_error("deepspeed", tmp_path / "zero.json"):
        check({"deepspeed": str(tmp_path / "zero.json")})


def test_a_mistake_found_on_one_rank_reaches_the_others_whole() -> None:
    error = DMTErrors([DMTError("dmt.k", "is wrong", "write 1/256"), DMTError("seed", "no", "")])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.key) == (str(error), "dmt.k")


@pytest.mark.parametrize("name", ["deepspeed/zero1", "deepspeed/zero2", "deepspeed/zero3"])
def test_a_deepspeed_template_is_what_axolotl_takes(name: str) -> None:
    cfg = validated(name)
    assert cfg.deepspeed == f"deepspeed_configs/{name[10:]}{'_bf16' * name.endswith('3')}.json"
    assert cfg.gradient_checkpointing


def test_the_fsdp_template_is_what_axolotl_takes() -> None:
    cfg = validated("fsdp/fsdp2")
    assert cfg.fsdp_version == cfg.fsdp_config.fsdp_version == 2
    assert cfg.fsdp_config.transformer_layer_cls_to_wrap == "Qwen2DecoderLayer"


def validated(name: str) -> Any:
    """A template through Axolotl's own validation, as on a machine with eight GPUs."""
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    raw = yaml.safe_load((TEMPLATES / f"{name}.yaml").read_text())
    del raw["plugins"], raw["dmt"]
    for entry in raw["datasets"]:
        del entry["domain"]
    gpus = {"bf16": True, "tf32": True, "n_gpu": 8, "compute_capability": "sm_90"}
    return validate_config(DictDefault(raw), gpus, {"torch_version": "2.9.0"})
