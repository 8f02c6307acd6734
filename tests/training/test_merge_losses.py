"""What is taken from a YAML to measure merges, and models that do not fit are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from axolotl_dmt.checks.schedule import WEIGHT_DECAY, check_reading
from axolotl_dmt.checks.yaml_check import refused_by_axolotl
from axolotl_dmt.config.reading import read_schedule
from axolotl_dmt.training.held_out_losses import for_one_process
from axolotl_dmt.training.merge_losses import tensors_of, without_adapters
from tests.mistakes import expect_error

RAW: dict[str, Any] = {
    "base_model": "org/model",
    "datasets": [
        {"path": "math.jsonl", "type": "alpaca", "domain": "math"},
        {"path": "chat.jsonl", "type": "alpaca", "domain": "general"},
    ],
    "dmt": {"strategy": "dmt", "k": "1/4", "val_rows": 2},
    "learning_rate": 1e-4,
    "num_epochs": 1,
    "micro_batch_size": 1,
    "sequence_len": 64,
}
LORA = {"adapter": "lora", "lora_r": 8, "lora_target_linear": True}
QLORA = {**LORA, "adapter": "qlora", "load_in_4bit": True}
FSDP = {
    "fsdp_version": 2,
    "fsdp_config": {
        "state_dict_type": "FULL_STATE_DICT",
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": "LlamaDecoderLayer",
        "reshard_after_forward": True,
    },
}


@pytest.mark.parametrize(
    "changes",
    [
        LORA,
        {**QLORA, "ple_cpu_offload": True},
        {**FSDP, "fp32_norms": True},
        {**FSDP, "fp8": True, "fp8_enable_fsdp_float8_all_gather": True},
        {"dmt": {**RAW["dmt"], "overrides": {"generalise": {"adapter": "new"}}}, **LORA},
        {
            "dmt": {
                "val_rows": 2,
                "stages": [
                    {"name": "one", "mix": {"math": "all"}},
                    {"name": "two", "mix": {"general": "all"}, "adapter": "new"},
                ],
            },
            **LORA,
        },
    ],
    ids=["lora", "qlora", "fsdp", "fp8", "new adapter in overrides", "new adapter in stages"],
)
def test_full_models_are_measured_by_any_yaml(changes: dict[str, Any]) -> None:
    raw = {**RAW, **changes}
    assert mistakes(raw) == []  # the training itself is fine
    assert mistakes(for_one_process(without_adapters(raw))) == []


def mistakes(raw: dict[str, Any]) -> list[str]:
    reading = read_schedule(raw, weight_decay=WEIGHT_DECAY)
    problems = [*check_reading(raw, reading, files=False), *refused_by_axolotl(raw)]
    return [str(problem) for problem in problems]


def model(*, tied: bool) -> LlamaForCausalLM:
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, **size, **heads, tie_word_embeddings=tied))


def test_folders_with_tensors_that_the_model_ties_are_refused(tmp_path: Path) -> None:
    model(tied=False).save_pretrained(tmp_path / "untied")
    model(tied=True).save_pretrained(tmp_path / "tied")
    with expect_error("--stages", "lm_head.weight", "embed_tokens", tmp_path / "untied", "--to"):
        tensors_of(tmp_path / "untied", model(tied=True))
    for folder, tied in (("tied", True), ("tied", False), ("untied", False)):
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / folder).state_dict()
        tensors = tensors_of(tmp_path / folder, model(tied=tied))
        assert all(torch.equal(tensor, loaded[name]) for name, tensor in tensors.items())


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    wide = LlamaForCausalLM(
        LlamaConfig(**{**model(tied=True).config.to_dict(), "intermediate_size": 64})
    )
    wide.save_pretrained(tmp_path / "wide")
    with expect_error("--stages", "(64, 16)", "(32, 16)", tmp_path / "wide"):
        tensors_of(tmp_path / "wide", model(tied=True))
