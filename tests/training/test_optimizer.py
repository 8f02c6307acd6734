"""After a stage boundary every optimiser steps like a new one, and so it does after a resume.

The optimisers are built by the paths of Axolotl and transformers. A test of one whose package is
not installed is skipped.
"""

from __future__ import annotations

import copy
import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from axolotl.core.builders.base import TrainerBuilderBase
from axolotl.core.trainers.mixins import OptimizerMixin
from axolotl.core.training_args import AxolotlTrainingArguments
from axolotl.utils.dict import DictDefault
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlamaConfig, LlamaForCausalLM, Trainer

from axolotl_dmt.checks.optimizers import (
    PACKAGE_OF,
    PACKAGES,
    REFUSED,
    RESET_IN_PLACE,
    known_optimizers,
)
from axolotl_dmt.training.optimizer import (
    _reset_in_place,
    reset_optimizer,
    set_stage_constants,
    set_weight_decay,
    use_averaged_weights,
)
from axolotl_dmt.training.trainer import StageTrainerMixin

RATE, STAGE_RATE = 0.01, 0.002
WARMUP, STAGE_WARMUP = 5, 2
STEPS = 6

NOT_ON_A_CPU = {
    "adamw_torch_xla": "a TPU",
    "adamw_torch_npu_fused": "an NPU",
    "galore_adamw_8bit": "a GPU",
    "q_galore_adamw8bit": "a GPU",
}
LOW_RANK = {"optim_target_modules": ["mlp"], "optim_args": "rank=4,update_proj_gap=2"}
ON_A_CPU = {"optim_args": {"quantize": False, "fused": False, "master_weight_bits": None}}
"""What the `flash_` optimisers need to step without a GPU."""


class StageTrainer(StageTrainerMixin, OptimizerMixin, Trainer):
    pass


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    """Compiling takes minutes for some optimisers and changes nothing that is tested here."""
    with torch.compiler.set_stance("force_eager"):
        yield


def settings(name: str) -> dict[str, Any]:
    if name.startswith(("galore", "apollo")):
        return LOW_RANK
    return ON_A_CPU if name.startswith("flash_") else {}


def trainer(folder: Path, name: str, **changes: Any) -> Any:
    """A trainer over a tiny model, with the optimiser that Axolotl builds for this name."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    model = LlamaForCausalLM(config)
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "learning_rate": RATE,
        "warmup_steps": WARMUP,
        "weight_decay": 0.1,
        "report_to": [],
        "use_cpu": True,
        **changes,
    }
    own: dict[str, Any] = {
        "adam_beta2": 0.9,
        "dion_learning_rate": arguments["learning_rate"],
        "dion_momentum": 0.95,
    }
    cfg = DictDefault({"optimizer": name, **settings(name)})
    build = SimpleNamespace(cfg=cfg, model=model)
    keywords: dict[str, Any] = {}
    known = {**arguments, **own}
    TrainerBuilderBase._configure_optimizer(build, known, keywords)  # type: ignore[arg-type]
    if cfg.optim_target_modules:
        known["optim_target_modules"] = cfg.optim_target_modules
    made = StageTrainer(model=model, args=AxolotlTrainingArguments(**known), **keywords)
    made.create_optimizer()
    return made


def train(made: Any, steps: int, schedule: LambdaLR | None = None) -> None:
    batch = torch.randint(0, 64, (4, 8), generator=torch.Generator().manual_seed(7))
    for _ in range(steps):
        torch.manual_seed(1)
        if hasattr(made.optimizer, "train"):
            made.optimizer.train()
        loss = made.model(input_ids=batch, labels=batch).loss
        if hasattr(made.optimizer, "fused_backward"):
            made.optimizer.fused_backward(loss, made.optimizer.param_groups[0]["lr"])
        else:
            loss.backward()
            made.optimizer.step()
        made.optimizer.zero_grad()
        if schedule:
            schedule.step()


def used(folder: Path, name: str) -> Any:
    """A trainer at the end of its first stage, whose next step has the rate of the second."""
    made = trainer(folder, name)
    schedule = LambdaLR(
        made.optimizer, lambda step: 1.0 if step < STEPS else STAGE_RATE / made.args.learning_rate
    )
    train(made, STEPS, schedule)
    use_averaged_weights(made.optimizer)
    return made


def new(folder: Path, name: str, weights: dict[str, torch.Tensor]) -> Any:
    """A trainer of the second stage alone, over these weights."""
    made = trainer(folder, name, learning_rate=STAGE_RATE, warmup_steps=STAGE_WARMUP)
    made.model.load_state_dict(weights)
    return made


def weights_of(made: Any) -> dict[str, torch.Tensor]:
    return copy.deepcopy(made.model.state_dict())


def same(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(weights_of(ours), weights_of(theirs), rtol=0, atol=0)


def second_stage() -> Any:
    rate = SimpleNamespace(learning_rate=STAGE_RATE)
    return SimpleNamespace(settings=rate, warmup_steps=STAGE_WARMUP)


def needs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the test where the optimiser cannot step here."""
    if name in PACKAGE_OF:
        module, package = PACKAGES[PACKAGE_OF[name]]
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{package} is not installed")
    if name in NOT_ON_A_CPU:
        pytest.skip(f"{name} steps on {NOT_ON_A_CPU[name]}")
    if name == "adalomo" and not torch.cuda.is_available():  # it makes its moments with cuda()
        monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)


@pytest.mark.parametrize("name", sorted(known_optimizers() - REFUSED.keys()))
def test_after_a_reset_an_optimizer_steps_like_a_new_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(name, monkeypatch)
    made = used(tmp_path, name)
    weights = weights_of(made)
    reset_optimizer(made)
    set_stage_constants(made, second_stage())
    torch.testing.assert_close(weights_of(made), weights, rtol=0, atol=0)
    fresh = new(tmp_path, name, weights)
    for _ in range(STEPS):
        train(made, 1)
        train(fresh, 1)
        same(made, fresh)
    assert any(not torch.equal(tensor, weights[key]) for key, tensor in weights_of(made).items())


@pytest.mark.parametrize("name", sorted(RESET_IN_PLACE))
def test_a_reset_in_place_is_one_too_and_keeps_the_tensors(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(name, monkeypatch)
    made = used(tmp_path, name)
    weights = weights_of(made)
    held = {id(value) for state in made.optimizer.state.values() for value in state.values()}
    with torch.no_grad():
        _reset_in_place(made.optimizer)
    set_stage_constants(made, second_stage())
    assert all(
        id(value) in held
        for state in made.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    fresh = new(tmp_path, name, weights)
    for _ in range(STEPS):
        train(made, 1)
        train(fresh, 1)
        same(made, fresh)


@pytest.mark.parametrize("steps", [0, 2], ids=["at the boundary", "within the stage"])
@pytest.mark.parametrize(
    "name",
    [
        "adamw_bnb_8bit",
        "paged_adamw_8bit",
        "adamw_torch_4bit",
        "muon",
        "adafactor",
        "schedule_free_adamw",
        "galore_adamw",
        "apollo_adamw",
    ],
)
def test_a_resumed_optimizer_steps_like_one_that_was_never_saved(
    name: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(name, monkeypatch)
    made = used(tmp_path, name)
    reset_optimizer(made)
    set_stage_constants(made, second_stage())
    train(made, steps)
    file = io.BytesIO()
    torch.save(made.optimizer.state_dict(), file)
    file.seek(0)
    resumed = trainer(tmp_path, name)
    resumed.model.load_state_dict(weights_of(made))
    resumed.optimizer.load_state_dict(torch.load(file, weights_only=True))
    set_stage_constants(resumed, second_stage())
    for _ in range(STEPS):
        train(made, 1)
        train(resumed, 1)
        same(made, resumed)


def test_parameters_that_a_stage_froze_are_reset_too(tmp_path: Path) -> None:
    made = used(tmp_path, "adagrad")
    head = made.model.lm_head.weight
    head.requires_grad_(False)
    reset_optimizer(made)
    assert not head.requires_grad
    assert float(made.optimizer.state[head]["sum"].sum()) == 0


def test_paged_memory_is_set_to_zero_and_not_given_up(tmp_path: Path) -> None:
    made = used(tmp_path, "paged_adamw_32bit")
    moment = made.optimizer.state[made.model.lm_head.weight]["state1"]
    moment.is_paged = True
    reset_optimizer(made)
    assert list(made.optimizer.state) == [made.model.lm_head.weight]
    assert made.optimizer.state[made.model.lm_head.weight]["state1"] is moment
    assert float(moment.abs().sum()) == 0


def test_a_stage_s_weight_decay_reaches_muon(tmp_path: Path) -> None:
    made = trainer(tmp_path, "muon")
    set_weight_decay(made, 0.3)
    assert [group["wd"] for group in made.optimizer.param_groups] == [0.3]


def decays(made: Any) -> dict[str, float]:
    """Return the weight decay of each parameter that is in a group."""
    names = {id(parameter): name for name, parameter in made.model.named_parameters()}
    return {
        names[id(parameter)]: float(group.get("wd", group.get("weight_decay", 0.0)))
        for group in made.optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("name", sorted(known_optimizers() - REFUSED.keys()))
@pytest.mark.parametrize("run", [0.0, 0.1])
def test_a_stage_s_weight_decay_reaches_what_the_run_s_would(
    name: str, run: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(name, monkeypatch)
    made = trainer(tmp_path, name, weight_decay=run)
    set_weight_decay(made, 0.3)
    assert decays(made) == decays(trainer(tmp_path, name, weight_decay=0.3))


@pytest.mark.parametrize("run", [0.0, 0.1])
@pytest.mark.parametrize(
    ("keys", "without"),
    [
        ({}, ("norm",)),
        ({"embedding_lr": 1e-4}, ("norm", "embed_tokens", "lm_head")),
        ({"embedding_lr_scale": 0.5}, ("norm", "embed_tokens", "lm_head")),
        (
            {"lr_groups": [{"name": "attention", "modules": ["self_attn"], "lr": 1e-4}]},
            ("norm", "embed_tokens", "lm_head"),
        ),
        ({"loraplus_lr_ratio": 4.0}, ("",)),
    ],
)
def test_groups_that_axolotl_leaves_without_decay_stay_without(
    keys: dict[str, Any], without: tuple[str, ...], run: float, tmp_path: Path
) -> None:
    made = trainer(tmp_path, "adamw_torch", weight_decay=run, **keys)
    set_weight_decay(made, 0.3)
    assert decays(made) == {
        name: 0.0 if any(part in name for part in without) else 0.3
        for name, _ in made.model.named_parameters()
    }


def test_the_weights_of_a_schedule_free_stage_are_the_averaged_ones(tmp_path: Path) -> None:
    made = trainer(tmp_path, "schedule_free_sgd")
    train(made, STEPS)
    trained = weights_of(made)
    use_averaged_weights(made.optimizer)
    averaged = weights_of(made)
    use_averaged_weights(made.optimizer)
    torch.testing.assert_close(weights_of(made), averaged, rtol=0, atol=0)
    assert not torch.equal(averaged["lm_head.weight"], trained["lm_head.weight"])
    made.optimizer.train()
    torch.testing.assert_close(weights_of(made), trained)
