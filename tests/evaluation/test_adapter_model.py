"""An adapter with padded embeddings is scored as the model that was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, LlamaForCausalLM

from axolotl_dmt.evaluation.adapter_model import AdapterModel
from axolotl_dmt.evaluation.batching import Batching
from axolotl_dmt.evaluation.saved import _has_modules
from tests.tiny_model import make_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("base"))


def trained(base: str, folder: Path, *, rows: int | None, modules: list[str] | None) -> Any:
    """Save an adapter and its tokenizer, and return the model that it was saved from."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = LlamaForCausalLM.from_pretrained(base)
    if rows is not None:
        tokenizer.add_tokens(["<calc>", "</calc>"])
        model.resize_token_embeddings(rows)
    tokenizer.save_pretrained(folder)
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=modules)
    adapter = get_peft_model(model, config)
    with torch.no_grad():
        for parameter in adapter.parameters():
            if parameter.requires_grad:
                parameter += torch.randn_like(parameter) / 10
    adapter.save_pretrained(folder)
    return adapter.eval()


@pytest.mark.parametrize(
    ("rows", "modules"),
    [
        (128, ["embed_tokens", "lm_head"]),  # 103 tokens and two more, padded
        (105, ["embed_tokens", "lm_head"]),
        (None, ["embed_tokens"]),
        (None, ["norm"]),
    ],
)
def test_the_loaded_model_computes_what_the_saved_one_did(
    base: str, tmp_path: Path, rows: int | None, modules: list[str]
) -> None:
    saved = trained(base, tmp_path, rows=rows, modules=modules)
    assert _has_modules(tmp_path)
    loaded = AdapterModel(
        batching=Batching(),
        pretrained=base,
        tokenizer=str(tmp_path),
        peft=str(tmp_path),
        device="cpu",
        batch_size=1,
    )
    tokens = torch.arange(3, 40)[None]
    torch.testing.assert_close(loaded.model(tokens).logits, saved(tokens).logits)


def test_a_plain_adapter_and_a_full_model_are_left_to_lm_eval(base: str, tmp_path: Path) -> None:
    assert not _has_modules(Path(base))
    trained(base, tmp_path, rows=None, modules=None)
    assert not _has_modules(tmp_path)
