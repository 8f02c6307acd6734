"""The estimates of memory and GPU hours, held against published runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.dict import DictDefault
from transformers import LlamaConfig

from axolotl_dmt.errors import DMTError
from axolotl_dmt.training.requirements import (
    Shape,
    activation_bytes,
    memory_per_gpu,
    model_shape,
    needs,
    training_flops,
)

A100 = 312e12 * 0.4 * 3600
"""FLOP in an hour of an A100 at the assumed efficiency."""


def config(**changes: Any) -> Any:
    basics = {"bf16": True, "sequence_len": 2048, "micro_batch_size": 1, "optimizer": "adamw_torch"}
    return DictDefault({**basics, **changes})


def shape_of(folder: Path, cfg: Any, **sizes: int) -> Shape:
    """Return the shape of a Llama with these sizes, 7B by default."""
    LlamaConfig(architectures=["LlamaForCausalLM"], **sizes).save_pretrained(folder)
    cfg.base_model = str(folder)
    return model_shape(cfg)


LLAMA_8B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
}


def test_the_shape_of_a_model_is_found_without_weights(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, config())
    assert shape.parameters == shape.trained == 6_738_415_616  # Llama 2 7B
    assert (shape.layers, shape.hidden, shape.vocabulary) == (32, 4096, 32_000)
    assert shape.quantised == 6_738_415_616 - 2 * 32_000 * 4096 - 65 * 4096


def test_lora_trains_the_matrices_of_its_targets(tmp_path: Path) -> None:
    every = config(adapter="lora", lora_r=16, lora_target_linear=True)
    assert shape_of(tmp_path, every).trained == 39_976_960  # as PEFT prints for Llama 2 7B
    two = config(adapter="lora", lora_r=16, lora_target_modules=["q_proj", "v_proj"])
    assert shape_of(tmp_path, two).trained == 32 * 2 * 16 * (4096 + 4096)


@pytest.mark.parametrize(
    ("parameters", "tokens", "gpu_hours"),
    [
        # Touvron et al. 2023 (arXiv 2307.09288), table 2: GPU hours on A100-80GB
        (6.74e9, 2e12, 184_320),
        (13.0e9, 2e12, 368_640),
        (69.0e9, 2e12, 1_720_320),
        # Touvron et al. 2023 (arXiv 2302.13971), table 15
        (6.7e9, 1e12, 82_432),
        (13.0e9, 1e12, 135_168),
        (32.5e9, 1.4e12, 530_432),
    ],
)
def test_hours_agree_with_published_training(
    parameters: float, tokens: float, gpu_hours: float
) -> None:
    count = int(parameters)
    shape = Shape(parameters=count, quantised=0, trained=count, layers=1, hidden=1, vocabulary=1)
    estimate = training_flops(config(), shape, int(tokens)) / A100
    assert 0.75 < estimate / gpu_hours < 1.35


def test_full_fine_tuning_with_adam_takes_16_bytes_a_parameter_when_sharded(
    tmp_path: Path,
) -> None:
    # ZeRO (Rajbhandari et al. 2020): 16 bytes per parameter, divided among the GPUs.
    cfg = config(fsdp_config={"a": 1}, gradient_checkpointing=True, micro_batch_size=4)
    shape = shape_of(tmp_path, cfg)
    difference = memory_per_gpu(cfg, shape, 8) - memory_per_gpu(cfg, shape, 16)
    assert difference == pytest.approx(shape.parameters * 16 / 16)
    zero = {n: config(deepspeed={"zero_optimization": {"stage": n}}) for n in (1, 2, 3)}
    states = [memory_per_gpu(zero[n], shape, 1000) for n in (1, 2, 3)]
    weights = [round((m - states[2]) / shape.parameters) for m in states]
    assert weights == [4, 2, 0]


def test_qlora_of_8b_fits_into_16_gb(tmp_path: Path) -> None:
    qlora = config(
        adapter="qlora",
        load_in_4bit=True,
        lora_r=16,
        lora_target_linear=True,
        gradient_checkpointing=True,
    )
    shape = shape_of(tmp_path, qlora, **LLAMA_8B)
    assert shape.parameters == 8_030_261_248 and shape.trained == 41_943_040
    assert 9e9 < memory_per_gpu(qlora, shape, 1) < 13e9
    lora = config(**{**qlora, "adapter": "lora", "load_in_4bit": False})
    assert 19e9 < memory_per_gpu(lora, shape, 1) < 24e9


def test_checkpointing_saves_memory_and_costs_flops(tmp_path: Path) -> None:
    plain, checkpointed = config(), config(gradient_checkpointing=True)
    shape = shape_of(tmp_path, plain)
    assert activation_bytes(checkpointed, shape) < activation_bytes(plain, shape) / 5
    assert training_flops(checkpointed, shape, 100) == training_flops(plain, shape, 100) * 8 / 6


def test_the_number_of_gpus_is_the_smallest_that_holds_the_run(tmp_path: Path) -> None:
    cfg = config(fsdp_config={"a": 1}, gradient_checkpointing=True)
    found = {need.gpu.name: need for need in needs(cfg, shape_of(tmp_path, cfg), 10**9)}
    assert found["A100, 80 GB"].count == 2 and found["H200, 141 GB"].count == 1
    assert found["H100, 80 GB"].gpu_hours < found["A100, 80 GB"].gpu_hours
    alone = {need.gpu.name: need for need in needs(config(), shape_of(tmp_path, cfg), 10**9)}
    assert alone["RTX 4090, 24 GB"].count is None  # nothing is divided


def test_a_model_that_cannot_be_built_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DMTError, match="cannot be found"):
        model_shape(config(base_model=str(tmp_path)))
