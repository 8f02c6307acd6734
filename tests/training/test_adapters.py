"""Stacked adapters compute the same function in training and after loading from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from axolotl_dmt.training.adapters import StackedAdapters, is_stacked, stacked_adapters
from tests.mistakes import expect_error
from tests.training.test_trainer import Rows, model, plan_of, stage

TOKENS = Rows(8).tokens[:4]


def lora(**changes: Any) -> Any:
    targets = {"target_modules": ["q_proj", "up_proj"], "rank_pattern": {"up_proj": 3}}
    torch.manual_seed(1)
    return get_peft_model(model(), LoraConfig(r=2, lora_alpha=8, **{**targets, **changes}))


def logits(network: Any) -> torch.Tensor:
    with torch.no_grad():
        return network(input_ids=TOKENS).logits


def learn(network: Any, steps: int = 3) -> None:
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        network(input_ids=TOKENS, labels=TOKENS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def three_stages(tmp_path: Path) -> tuple[Any, StackedAdapters]:
    """A model that was trained in three stages, each with a fresh adapter."""
    network = lora()
    adapters = StackedAdapters(network)
    for left in (2, 1):
        learn(network)
        adapters.renew(seed=5, left=left)
    learn(network)
    return network, adapters


def test_a_fresh_adapter_changes_nothing_until_it_learns() -> None:
    network = lora()
    adapters = StackedAdapters(network)
    untouched = logits(network)
    learn(network)
    before = logits(network)
    adapters.renew(seed=5, left=1)
    torch.testing.assert_close(logits(network), before)
    assert not torch.allclose(before, untouched)
    learn(network)
    assert not torch.allclose(logits(network), before)
    # The trainable parameters are still the same.
    assert all(p.requires_grad == ("lora_" in name) for name, p in network.named_parameters())


def test_the_fresh_adapter_depends_on_seed_and_stage_alone() -> None:
    weights = []
    for noise, left in ((1, 1), (2, 1), (3, 2)):
        network = lora()
        adapters = StackedAdapters(network)
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        adapters.renew(seed=5, left=left)
        assert torch.get_rng_state().equal(state)
        weights.append(next(p for name, p in network.named_parameters() if "lora_A" in name))
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


def test_the_saved_adapter_is_the_trained_function_of_the_untouched_base(
    tmp_path: Path, three_stages: tuple[Any, StackedAdapters]
) -> None:
    network, adapters = three_stages
    network.save_pretrained(tmp_path)
    assert adapters.earlier == 2
    loaded = PeftModel.from_pretrained(model(), tmp_path)
    config = loaded.peft_config["default"]
    assert (config.r, config.lora_alpha, config.rank_pattern) == (6, 24, {"up_proj": 9})
    torch.testing.assert_close(logits(loaded), logits(network), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        logits(loaded.merge_and_unload()), logits(network), rtol=1e-5, atol=1e-6
    )
    # The trained adapter still has its first shape.
    assert network.peft_config["default"].r == 2


def test_training_continues_from_the_saved_adapter(
    tmp_path: Path, three_stages: tuple[Any, StackedAdapters]
) -> None:
    network, _ = three_stages
    network.save_pretrained(tmp_path / "one")
    other = lora()
    adapters = StackedAdapters(other)
    assert is_stacked(tmp_path / "one", other)
    adapters.load(tmp_path / "one")
    assert adapters.earlier == 2
    for part in (network, other):
        learn(part, steps=1)
    for name, part in (("two", network), ("three", other)):
        part.save_pretrained(tmp_path / name)
    saved = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("two", "three")]
    assert all(saved[0][key].equal(saved[1][key]) for key in saved[0])


def test_a_run_can_start_from_the_saved_adapter_of_the_stages_that_it_skips(
    tmp_path: Path, three_stages: tuple[Any, StackedAdapters]
) -> None:
    network, whole = three_stages
    network.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(model(), tmp_path, is_trainable=True)
    plan = plan_of(stage("four", 8, new_adapter=True), stage("five", 8))
    adapters = stacked_adapters(loaded, plan, loaded=True, earlier=2, rank=2)
    assert adapters is not None
    whole.renew(seed=1, left=2)
    for part in (network, loaded):
        learn(part)
    for name, part in (("one", network), ("two", loaded)):
        part.save_pretrained(tmp_path / name)
    saved = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two")]
    assert saved[0].keys() == saved[1].keys()
    assert all(saved[0][key].equal(saved[1][key]) for key in saved[0])
    configs = [PeftConfig.from_pretrained(tmp_path / name) for name in ("one", "two")]
    assert [(config.r, config.lora_alpha) for config in configs] == [(8, 32)] * 2


def test_an_adapter_that_holds_too_few_is_refused() -> None:
    with expect_error("lora_model_dir", "rank 2"):
        stacked_adapters(lora(), plan_of(stage("end", 8)), loaded=True, earlier=1, rank=2)


def test_without_a_fresh_adapter_nothing_is_stacked() -> None:
    network, plan = lora(), plan_of(stage("end", 8))
    assert stacked_adapters(network, plan, loaded=True, earlier=0, rank=2) is None


def test_without_an_earlier_adapter_it_is_saved_as_peft_does(tmp_path: Path) -> None:
    network, plain = lora(), lora()
    StackedAdapters(network)
    network.save_pretrained(tmp_path / "ours")
    plain.save_pretrained(tmp_path / "plain")
    assert not is_stacked(tmp_path / "ours", network)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()


def test_lora_on_an_embedding_is_refused() -> None:
    with expect_error("adapter: new", "embed_tokens", "Embedding"):
        StackedAdapters(lora(target_modules=["q_proj", "embed_tokens"]))
