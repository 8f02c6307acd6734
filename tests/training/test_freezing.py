"""A frozen parameter does not change by a single bit, and is trained again afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from axolotl.core.trainers.mixins.activation_checkpointing import ac_wrap_hf_model
from safetensors.torch import load_file
from transformers import TrainerCallback

from axolotl_dmt.training.freezing import Freezer
from tests.mistakes import expect_error
from tests.training.test_trainer import model, plan_of, stage, trainer

EMBEDDING = "model.embed_tokens.weight"


class Watch(TrainerCallback):
    """Freezes as each stage asks for, and copies the weights before and after each stage."""

    def __init__(self, made: Any, plan: Any) -> None:
        self.made, self.plan, self.freezer = made, plan, Freezer(made.model)
        self.weights: list[dict[str, torch.Tensor]] = [self.copy()]

    def copy(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.made.model.named_parameters()}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        current = self.plan.stages[self.plan.stage_at(state.global_step)]
        if state.global_step == current.start_step:
            self.freezer.apply(current.settings.freeze)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in [part.end_step for part in self.plan.stages]:
            self.weights.append(self.copy())


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused", "sgd", "rmsprop"])
def test_frozen_parameters_do_not_move_and_others_do(tmp_path: Path, optimizer: str) -> None:
    plan = plan_of(
        stage("all", 8),
        stage("part", 8, freeze=("embed_tokens", r"layers\.0\.mlp")),
        stage("end", 8),
    )
    made = trainer(tmp_path, plan, 40, optim=optimizer, weight_decay=0.5)
    watch = Watch(made, plan)
    made.add_callback(watch)
    made.train()
    moved = [
        {name for name in before if not before[name].equal(after[name])}
        for before, after in zip(watch.weights, watch.weights[1:], strict=False)
    ]
    everything = set(watch.weights[0])
    assert moved[0] == moved[2] == everything
    frozen = everything - moved[1]
    assert frozen == {name for name in everything if "embed_tokens" in name or ".mlp." in name}


def test_the_error_for_a_pattern_without_a_match_names_parameters() -> None:
    plan = plan_of(stage("one", 8, freeze=("embed_tokens", "encoder")))
    with expect_error("freeze (stage one)", "'encoder'", EMBEDDING):
        Freezer(model()).check(plan.stages)


def test_freezing_everything_is_refused() -> None:
    with expect_error("freeze (stage one)", 12):
        Freezer(model()).check(plan_of(stage("one", 8, freeze=("",))).stages)


def test_a_parameter_that_was_not_trained_before_is_never_unfrozen() -> None:
    network = model()
    network.get_parameter(EMBEDDING).requires_grad_(False)
    freezer = Freezer(network)
    freezer.apply(("lm_head",))
    freezer.apply(())
    assert not network.get_parameter(EMBEDDING).requires_grad
    assert network.get_parameter("lm_head.weight").requires_grad


def test_names_of_parameters_are_the_same_when_activations_are_offloaded(tmp_path: Path) -> None:
    """`activation_offloading` wraps each layer, and `torch_compile` the whole model."""
    plain = Freezer(model()).trainable.keys()
    wrapped = model()
    ac_wrap_hf_model(wrapped)
    freezer = Freezer(wrapped)
    assert freezer.trainable.keys() == plain
    freezer.apply([r"layers\.0\.mlp"])
    frozen = {name for name, p in freezer.trainable.items() if not p.requires_grad}
    assert frozen == {name for name in plain if "layers.0.mlp" in name}
    compiled: Any = torch.compile(wrapped, backend="eager")
    assert Freezer(compiled).trainable.keys() == plain - frozen
    wrapped.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == plain
