"""The trainer under a plan: rows in order, blanks without effect, curves as separate runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils.other import is_compiled_module
from axolotl.core.trainers import AxolotlMambaTrainer, AxolotlTrainer
from axolotl.core.trainers.mixins import SchedulerMixin
from axolotl.core.training_args import AxolotlTrainingArguments
from axolotl.monkeypatch.loss.eaft import eaft_loss
from axolotl.utils.dict import DictDefault
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
from transformers.trainer_utils import SchedulerType
from trl import SFTTrainer

from axolotl_dmt.checks.stages import AXOLOTLS_SCHEDULERS, CURVELESS_SCHEDULERS
from axolotl_dmt.plan import compile_plan
from axolotl_dmt.plan.amounts import parse_amount
from axolotl_dmt.plan.inputs import Domain, Packing, Stage
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.training.blank_steps import steps_with_blanks
from axolotl_dmt.training.callback import StageCallback
from axolotl_dmt.training.learning_rate import composed_scheduler
from axolotl_dmt.training.optimizer import set_weight_decay
from axolotl_dmt.training.pool_layout import PoolLayout
from axolotl_dmt.training.samplers import PlanPackSampler, PlanSampler
from axolotl_dmt.training.trainer import StageTrainerMixin, axolotls_trainer, stage_trainer
from tests.mistakes import expect_error

LENGTH = 6
VOCABULARY = 32


def stage(name: str, rows: int, **changes: Any) -> Stage:
    mix = {"math": parse_amount({"rows": rows}, "mix")}
    return Stage(name=name, mix=mix, **{"learning_rate": 0.1, **changes})


def plan_of(*stages: Stage, rows: int = 40, batch: int = 4, packing: Any = None) -> TrainingPlan:
    lengths = np.full(rows, LENGTH, np.int32)
    domain = Domain(
        name="math", rows=rows, lengths=lengths, trained=lengths, datasets=(("math", rows),)
    )
    return compile_plan(
        stages=stages, domains=[domain], seed=1, global_batch=batch, packing=packing
    )


class Rows(torch.utils.data.Dataset):
    """Random rows with different numbers of trained tokens; the last one is blank."""

    column_names = ("input_ids", "labels")

    def __init__(self, rows: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(0, VOCABULARY, (rows + 1, LENGTH), generator=generator)
        self.labels = self.tokens.clone()
        for row in range(rows):
            self.labels[row, : row % 4] = -100
        self.labels[rows] = -100

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[row], "labels": self.labels[row]}


class StageTrainer(StageTrainerMixin, Trainer):
    pass


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    )


def trainer(folder: Path, plan: TrainingPlan, rows: int, **arguments: Any) -> StageTrainer:
    made = StageTrainer(
        model=model(),
        args=TrainingArguments(
            output_dir=str(folder),
            **{
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "learning_rate": 0.1,
                "optim": "sgd",
                "lr_scheduler_type": "constant",
                "max_grad_norm": 0.0,
                "max_steps": plan.total_steps,
                "report_to": [],
                "save_strategy": "no",
                "use_cpu": True,
                "disable_tqdm": True,
                **arguments,
            },
        ),
        train_dataset=Rows(rows),
    )
    made.follow_plan(plan, PoolLayout(rows={"math": rows}))
    return made


def test_rows_are_dealt_in_plan_order_and_blanks_are_the_blank_row() -> None:
    plan = plan_of(stage("one", 6), stage("two", 3))
    dealt = list(PlanSampler(plan, PoolLayout(rows={"math": 99})))
    expected = [99 if row < 0 else row for row in plan.order.tolist()]
    assert dealt == expected
    assert dealt.count(99) == 2 + 1
    assert len(dealt) == plan.total_steps * 4


def test_packs_are_dealt_in_plan_order() -> None:
    packing = Packing(
        capacity=2 * LENGTH,
        packs_per_step=4,
        pack=lambda lengths: [[i, i + 1] for i in range(0, len(lengths) - 1, 2)],
    )
    plan = plan_of(stage("one", 12), packing=packing)
    batches = list(PlanPackSampler(plan, PoolLayout(rows={"math": 99}), batch_size=2))
    assert [len(batch) for batch in batches] == [2, 2, 2, 2]
    flat = [row for batch in batches for pack in batch for row in pack]
    assert [row for row in flat if row != 99] == [row for row in plan.order.tolist() if row >= 0]
    assert batches[3] == [[99], [99]]


@pytest.mark.parametrize("packed", [False, True])
def test_rows_whose_inputs_are_masked_differently_lie_behind_the_blank_row(packed: bool) -> None:
    packing = Packing(
        capacity=LENGTH, packs_per_step=4, pack=lambda lengths: [[i] for i in range(len(lengths))]
    )
    plan = plan_of(
        stage("one", 6),
        stage("two", 3, train_on_inputs=True),
        stage("three", 4),
        packing=packing if packed else None,
    )
    layout = PoolLayout(rows={"math": 40})
    if packed:
        batches = PlanPackSampler(plan, layout, batch_size=1)
        dealt = [row for (pack,) in batches for row in pack]
    else:
        dealt = list(PlanSampler(plan, layout))
    rows = plan.order.tolist()
    assert dealt[:8] == [40 if row < 0 else row for row in rows[:8]]
    assert dealt[8:12] == [40 if row < 0 else row + 41 for row in rows[8:12]]
    assert dealt[12:] == rows[12:]
    assert dealt.count(40) == 2 + 1


def test_the_layout_says_where_each_domain_and_the_blank_row_lie() -> None:
    layout = PoolLayout(rows={"math": 3, "none": 0, "code": 2})
    domains = ["m0", "m1", "m2", "c0", "c1"]
    dataset = layout.arrange(domains, "blank", [name.upper() for name in domains])
    assert dataset[layout.blank] == "blank"
    assert [dataset[i] for i in layout.range_of("code")] == ["c0", "c1"]
    assert list(layout.range_of("none")) == []
    assert dataset[layout.blank + 1 :] == ["M0", "M1", "M2", "C0", "C1"]


@pytest.mark.parametrize("by_tokens", [True, False])
@pytest.mark.parametrize("own_loss", [None, eaft_loss])
def test_a_blank_micro_batch_changes_nothing(
    tmp_path: Path, by_tokens: bool, own_loss: Any
) -> None:
    """10 rows at 4 a step: the last step has one real and one blank micro batch."""
    rows = 10
    plan = plan_of(stage("one", rows), rows=rows)
    made = trainer(tmp_path, plan, rows)
    made.model_accepts_loss_kwargs = by_tokens
    made.compute_loss_func = own_loss
    made.train()
    by_tokens = by_tokens or own_loss is not None

    expected, data = model(), Rows(rows)
    order = [row for row in plan.order.tolist() if row >= 0]
    for step in range(3):
        batch = order[step * 4 : step * 4 + 4]
        micro = [batch[i : i + 2] for i in range(0, len(batch), 2)]
        expected.zero_grad()
        counts = [int((data.labels[part][:, 1:] != -100).sum()) for part in micro]
        for part, count in zip(micro, counts, strict=True):
            output = expected(input_ids=data.tokens[part], labels=data.labels[part])
            loss = own_loss(output, data.labels[part]) if own_loss else output.loss
            weight = count / sum(counts) if by_tokens else 1 / len(micro)
            (loss * weight).backward()
        with torch.no_grad():
            for parameter in expected.parameters():
                parameter -= 0.1 * parameter.grad
    for ours, theirs in zip(made.model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_blank_steps_weigh_real_micro_batches_up() -> None:
    plan = plan_of(stage("one", 9), stage("two", 8), rows=9, batch=8)
    # step 1 has one real row: one of four micro batches, on one of two ranks
    (step,) = steps_with_blanks(plan, accumulation=2, ranks=2).items()
    assert step[0] == 1
    assert step[1].micro_batch_weight == 4
    assert step[1].rank_weight == 2


SCHEDULERS: dict[str, dict[str, Any]] = {
    "cosine": {},
    "linear": {},
    "constant": {},
    "constant_with_warmup": {},
    "polynomial": {"lr_scheduler_kwargs": {"power": 2.0, "lr_end": 1e-4}},
    "cosine_with_restarts": {"lr_scheduler_kwargs": {"num_cycles": 2}},
    "inverse_sqrt": {"lr_scheduler_kwargs": {"timescale": 7}},
    "cosine_with_min_lr": {"lr_scheduler_kwargs": {"min_lr": 0.004}},
    "cosine_warmup_with_min_lr": {
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1, "warmup_lr_rate": 0.2}
    },
    "warmup_stable_decay": {"lr_scheduler_kwargs": {"num_decay_steps": 3, "min_lr_ratio": 0.1}},
    "one_cycle": {"lr_scheduler_kwargs": {"div_factor": 10}},
    "rex": {},
    "cosine with cosine_min_lr_ratio": {"cosine_min_lr_ratio": 0.1},
    "cosine with cosine_constant_lr_ratio": {
        "cosine_min_lr_ratio": 0.1,
        "cosine_constant_lr_ratio": 0.6,
    },
    "cosine with lr_quadratic_warmup": {"lr_quadratic_warmup": True},
}
"""All schedulers that have a curve, with settings that change it."""


class AxolotlsTrainer(StageTrainerMixin, SchedulerMixin, Trainer):
    """Builds a scheduler as Axolotl's trainer does, and is a plain trainer otherwise."""


def test_every_scheduler_of_transformers_and_axolotl_is_tried_or_refused() -> None:
    names = {name.split()[0] for name in SCHEDULERS} | set(CURVELESS_SCHEDULERS)
    assert names == {kind.value for kind in SchedulerType} | set(AXOLOTLS_SCHEDULERS)


def rates(scheduler: Any, optimizer: Any, steps: int) -> list[float]:
    """Return the learning rate at each step."""
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize("case", SCHEDULERS)
@pytest.mark.parametrize("warmup", [0, 3])
def test_each_stage_has_the_curve_of_a_separate_run(tmp_path: Path, case: str, warmup: int) -> None:
    name, settings = case.split()[0], SCHEDULERS[case]
    plan = plan_of(
        stage("one", 40, lr_scheduler=name, warmup_steps=warmup),
        stage("two", 24, lr_scheduler=name, warmup_steps=warmup, learning_rate=0.05),
    )

    def made(peak: float) -> Any:
        alternate = {"alternate_lr_scheduler_type": name} if name in AXOLOTLS_SCHEDULERS else {}
        return AxolotlsTrainer(
            model=model(),
            args=AxolotlTrainingArguments(
                output_dir=str(tmp_path),
                learning_rate=peak,
                lr_scheduler_type="cosine" if alternate else name,
                warmup_steps=warmup,
                report_to=[],
                use_cpu=True,
                **{"lr_scheduler_kwargs": {}, **alternate, **settings},
            ),
            train_dataset=Rows(40),
        )

    staged = made(0.1)
    optimizer = torch.optim.AdamW(staged.model.parameters(), lr=0.1)
    composed = rates(composed_scheduler(plan, staged, optimizer), optimizer, plan.total_steps)
    alone = []
    for part in plan.stages:
        plain = made(part.settings.learning_rate)
        optimizer = torch.optim.AdamW(plain.model.parameters(), lr=part.settings.learning_rate)
        alone += rates(plain.create_scheduler(part.steps, optimizer), optimizer, part.steps)
    np.testing.assert_allclose(composed, alone, rtol=1e-9)
    assert name.startswith("constant") or len(set(composed)) > 4


def test_parameter_groups_with_different_rates_keep_their_ratio(tmp_path: Path) -> None:
    plan = plan_of(stage("one", 8, lr_scheduler="constant"), stage("two", 8, learning_rate=0.2))
    made = trainer(tmp_path, plan, 40)
    first, *others = made.model.parameters()
    optimizer = torch.optim.SGD([{"params": [first], "lr": 0.01}, {"params": others}], lr=0.1)
    scheduler = composed_scheduler(plan, made, optimizer)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    small, large = scheduler.get_last_lr()
    assert small == pytest.approx(0.02)
    assert large == pytest.approx(0.2)


def test_weight_decay_changes_where_there_is_decay_and_nowhere_else(tmp_path: Path) -> None:
    made = trainer(tmp_path, plan_of(stage("one", 8)), 40, weight_decay=0.0)
    made.create_optimizer()
    set_weight_decay(made, 0.3)
    decays = {
        name: group["weight_decay"]
        for group in made.optimizer.param_groups
        for name, parameter in made.model.named_parameters()
        if any(parameter is member for member in group["params"])
    }
    assert {decay for name, decay in decays.items() if "norm" in name} == {0.0}
    assert {decay for name, decay in decays.items() if "norm" not in name} == {0.3}


@pytest.mark.parametrize("whole", [False, True])
def test_a_compiled_model_is_saved_under_its_own_names(tmp_path: Path, whole: bool) -> None:
    plan = plan_of(stage("one", 4), stage("two", 4))
    compiles = {} if whole else {"torch_compile": True, "torch_compile_backend": "eager"}
    made = trainer(tmp_path, plan, 40, **compiles)
    if whole:  # as under FSDP, where the trainer holds the compiled model
        made.model = torch.compile(made.model, backend="eager")
    else:
        made.train()
        assert is_compiled_module(made.model_wrapped)
    ranks = SimpleNamespace(wait=lambda: None)
    callback: Any = SimpleNamespace(trainer=made, ranks=ranks, tasks=None)
    folder = StageCallback._save_model(callback, tmp_path / "stage")
    plain = made.accelerator.unwrap_model(made.model, keep_torch_compile=False)
    loaded = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.testing.assert_close(loaded.state_dict(), plain.state_dict(), rtol=0, atol=0)
    saved = load_file(folder / "model.safetensors")
    assert saved.keys() == dict(plain.named_parameters()).keys()


def test_the_trainer_that_the_yaml_names_is_extended() -> None:
    named = axolotls_trainer(DictDefault({"trainer_cls": "trl.SFTTrainer", "plugins": ["a.B"]}))
    assert named is SFTTrainer
    assert issubclass(stage_trainer(named), (SFTTrainer, StageTrainerMixin))
    assert axolotls_trainer(DictDefault({})) is AxolotlTrainer
    mamba = axolotls_trainer(DictDefault({"model_config_type": "mamba"}))
    assert mamba is AxolotlMambaTrainer
    with expect_error("trainer_cls", "no_such.Trainer"):
        axolotls_trainer(DictDefault({"trainer_cls": "no_such.Trainer"}))
