"""A saved stage is passed to lm-eval's models with arguments that they accept."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path

import pytest

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.saved import _model_arguments


def parameters(module: str, name: str) -> set[str]:
    """Return the parameters of a class, read from its source, since vLLM may not be installed."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    (cls,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    (init,) = (n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    return {argument.arg for argument in (*init.args.args, *init.args.kwonlyargs)}


ACCEPTED = {
    "hf": parameters("lm_eval.models.huggingface", "HFLM"),
    "vllm": parameters("lm_eval.models.vllm_causallms", "VLLM"),
}


def adapter(folder: Path, rank: int) -> Path:
    settings = {"base_model_name_or_path": "some/base", "r": rank}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("model", ["hf", "vllm"])
def test_a_full_model_is_loaded_from_its_folder(model: str, tmp_path: Path) -> None:
    config = EvaluateConfig.model_validate({"runner": "subprocess", "model": model})
    arguments = _model_arguments(tmp_path, config)
    assert arguments == {"pretrained": str(tmp_path)}
    assert arguments.keys() <= ACCEPTED[model]


@pytest.mark.parametrize("model", ["hf", "vllm"])
def test_an_adapter_is_loaded_on_its_base_model(model: str, tmp_path: Path) -> None:
    config = EvaluateConfig.model_validate({"runner": "subprocess", "model": model})
    arguments = _model_arguments(adapter(tmp_path, 8), config)
    assert arguments["pretrained"] == "some/base"
    assert arguments["tokenizer"] == str(tmp_path)
    assert str(tmp_path) in (arguments.get("peft"), arguments.get("lora_local_path"))
    assert arguments.keys() <= ACCEPTED[model]


@pytest.mark.parametrize(("rank", "reserved"), [(4, 16), (16, 16), (17, 32), (64, 64)])
def test_vllm_reserves_room_for_the_adapters_rank(rank: int, reserved: int, tmp_path: Path) -> None:
    config = EvaluateConfig.model_validate({"runner": "subprocess", "model": "vllm"})
    assert _model_arguments(adapter(tmp_path, rank), config)["max_lora_rank"] == reserved


def test_the_users_own_arguments_take_precedence(tmp_path: Path) -> None:
    config = EvaluateConfig.model_validate(
        {"runner": "subprocess", "model": "vllm", "model_args": {"gpu_memory_utilization": 0.4}}
    )
    arguments = _model_arguments(tmp_path, config)
    assert arguments["gpu_memory_utilization"] == 0.4
    assert arguments.keys() <= ACCEPTED["vllm"]
