"""What the trainer does differently under a plan: row order, learning rate, stage ends.

The trainer stays Axolotl's (or another plugin's); `stage_trainer` mixes in a sampler that deals
the plan's rows in order and a loss that leaves blank rows out. A callback acts where a stage
starts or ends.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from axolotl.core.trainers import AxolotlTrainer
from numpy.typing import NDArray
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import BatchSampler, Sampler
from transformers import Trainer
from transformers.trainer_utils import SchedulerType

from axolotl_dmt.adapters import StackedAdapters, is_stacked
from axolotl_dmt.data import IGNORED
from axolotl_dmt.errors import DMTError
from axolotl_dmt.interruption import Tell, told
from axolotl_dmt.model_card import update_card
from axolotl_dmt.pool_layout import PoolLayout
from axolotl_dmt.record import Recorder
from axolotl_dmt.stage_checks import AXOLOTLS_SCHEDULERS
from axolotl_dmt.training_plan import StagePlan, TrainingPlan


class PlanSampler(Sampler[int]):
    """Deals the plan's rows in order; blanks become the pool's blank row."""

    def __init__(self, plan: TrainingPlan, layout: PoolLayout) -> None:
        self.plan, self.layout = plan, layout

    def __len__(self) -> int:
        return len(self.plan.order)

    def __iter__(self) -> Iterator[int]:
        chunk = 65536
        for start in range(0, len(self.plan.order), chunk):
            yield from self.layout.positions(self.plan, start, start + chunk).tolist()


class PlanPackSampler(BatchSampler):
    """Deals the plan's packs in order, as lists of `batch_size` packs of rows.

    The nested lists are what Axolotl's data loader expects of its own multipack sampler.
    """

    def __init__(self, plan: TrainingPlan, layout: PoolLayout, batch_size: int) -> None:
        self.plan, self.layout = plan, layout
        self.batch_size, self.drop_last = batch_size, False
        assert plan.pack_offsets is not None
        self.offsets: NDArray[np.int64] = plan.pack_offsets

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.batch_size

    def __iter__(self) -> Iterator[list[list[int]]]:  # type: ignore[override]
        for batch in range(len(self)):
            yield [
                self._pack(batch * self.batch_size + position)
                for position in range(self.batch_size)
            ]

    def _pack(self, index: int) -> list[int]:
        first, last = self.offsets[index : index + 2].tolist()
        return self.layout.positions(self.plan, first, last).tolist()


class StageTrainerMixin:
    """Mixed into a trainer class by `stage_trainer`; does nothing until `dmt_plan` is set.

    Attributes:
        dmt_plan: the plan to train by.
        dmt_layout: where the plan's rows lie in the training dataset.
        dmt_recorder: what the model card tells of.
        dmt_tell: makes the line that an interrupted training prints.
        dmt_decaying: which of the optimiser's groups hold parameters that decay.
        dmt_adapters: the adapters of earlier stages, where a stage starts a fresh one.
    """

    dmt_plan: TrainingPlan | None = None
    dmt_layout: PoolLayout
    dmt_adapters: StackedAdapters | None = None
    dmt_recorder: Recorder | None = None
    dmt_tell: Tell | None = None
    dmt_blank_steps: Mapping[int, BlankStep]
    dmt_decaying: Sequence[bool] = ()

    def follow_plan(
        self: Any, plan: TrainingPlan, layout: PoolLayout, adapters: StackedAdapters | None = None
    ) -> None:
        """Train by this plan from now on."""
        self.dmt_plan, self.dmt_layout, self.dmt_adapters = plan, layout, adapters
        self.dmt_blank_steps = steps_with_blanks(
            plan, self.args.gradient_accumulation_steps, self.args.world_size
        )

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        """The trainer's training, with a line of ours where a signal ends it."""
        if self.dmt_tell is None:
            return super().train(*args, **kwargs)  # type: ignore[misc]
        with told(self.dmt_tell if self.is_world_process_zero() else None):
            return super().train(*args, **kwargs)  # type: ignore[misc]

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        if self.dmt_adapters is None or not is_stacked(folder, self.model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        else:
            self.dmt_adapters.load(folder)

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        if self.dmt_plan is None:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        if self.dmt_plan.pack_offsets is None:
            return PlanSampler(self.dmt_plan, self.dmt_layout)
        micro_batches = self.args.gradient_accumulation_steps * self.args.world_size
        packs = self.dmt_plan.packs_per_step // micro_batches
        return PlanPackSampler(self.dmt_plan, self.dmt_layout, packs)

    def create_optimizer(self: Any, *args: Any, **kwargs: Any) -> Any:
        """The trainer's optimiser; DeepSpeed and FSDP later swap the parameters in its groups."""
        optimizer = super().create_optimizer(*args, **kwargs)  # type: ignore[misc]
        names = set(self.get_decay_parameter_names(self.model))
        decaying = {id(p) for name, p in self.model.named_parameters() if name in names}
        self.dmt_decaying = [
            any(id(parameter) in decaying for parameter in group["params"])
            for group in optimizer.param_groups
        ]
        return optimizer

    def create_model_card(self: Any, *args: Any, **kwargs: Any) -> None:
        """The trainer's card, with a section on the stages and their scores."""
        super().create_model_card(*args, **kwargs)  # type: ignore[misc]
        if self.dmt_recorder is not None and self.is_world_process_zero():
            update_card(Path(self.args.output_dir), self.dmt_recorder.results)

    def compute_loss(
        self: Any, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The trainer's loss; a micro batch of blank rows alone adds nothing.

        The mean over no token is NaN, so such a micro batch is scored on its own tokens and
        multiplied by zero; the step's other micro batches are weighted up, so that its gradient
        is the mean over its real ones.
        """
        step = None
        if self.dmt_plan is not None and model.training:
            step = self.dmt_blank_steps.get(self.state.global_step)
        if step is None:
            return super().compute_loss(  # type: ignore[misc]
                model, inputs, return_outputs=return_outputs, **kwargs
            )
        by_tokens = kwargs.get("num_items_in_batch") is not None
        weight = step.rank_weight if by_tokens else step.micro_batch_weight
        if bool((inputs["labels"] == IGNORED).all()):
            weight = 0.0
            inputs = {**inputs, "labels": inputs["input_ids"]}
            kwargs["num_items_in_batch"] = None
        loss, outputs = super().compute_loss(  # type: ignore[misc]
            model, inputs, return_outputs=True, **kwargs
        )
        return (loss * weight, outputs) if return_outputs else loss * weight


@dataclass(frozen=True, kw_only=True)
class BlankStep:
    """An optimiser step of which some micro batches are blank.

    Attributes:
        micro_batch_weight: for a loss that is the mean over the step's micro batches: all micro
            batches over the real ones.
        rank_weight: for a loss that is each rank's mean over its own tokens: all ranks over the
            ranks that have a real micro batch.
    """

    micro_batch_weight: float
    rank_weight: float


def steps_with_blanks(plan: TrainingPlan, accumulation: int, ranks: int) -> dict[int, BlankStep]:
    """The steps that hold blank micro batches: at most the last one of each stage.

    Args:
        plan: the plan.
        accumulation: micro batches of a step on one rank.
        ranks: number of ranks; micro batch m of a step goes to rank m modulo ranks.
    """
    found = {}
    for stage in plan.stages:
        step = stage.end_step - 1
        if plan.pack_offsets is None or plan.packs_per_step is None:
            rows = plan.order[step * plan.global_batch : stage.end_step * plan.global_batch]
            units = np.asarray(rows) >= 0
        else:
            first, last = step * plan.packs_per_step, stage.end_step * plan.packs_per_step
            units = np.asarray(plan.order)[plan.pack_offsets[first:last]] >= 0
        real = units.reshape(accumulation, ranks, -1).any(axis=2)
        if not real.all():
            found[step] = BlankStep(
                micro_batch_weight=real.size / int(real.sum()),
                rank_weight=ranks / int(real.any(axis=0).sum()),
            )
    return found


def stage_trainer(base: type[Trainer] | None) -> type[Trainer]:
    """A trainer class that can follow a plan, on top of Axolotl's or another plugin's."""
    base = base or AxolotlTrainer
    return type(f"Stage{base.__name__}", (StageTrainerMixin, base), {})


def set_weight_decay(trainer: Any, decay: float) -> None:
    """Change the weight decay of the parameters that decay; biases and norms stay without."""
    groups = trainer.optimizer.param_groups
    # Under DeepSpeed with an optimiser of its own, the trainer made none: one group, all decays.
    for group, decays in zip(groups, trainer.dmt_decaying or [True] * len(groups), strict=True):
        if decays:
            group["weight_decay"] = decay


def composed_scheduler(plan: TrainingPlan, trainer: Any, optimizer: Any) -> LambdaLR:
    """One scheduler that runs each stage's own curve, stage after stage."""
    base = trainer.args.learning_rate
    curve = np.concatenate([stage_curve(stage, trainer) for stage in plan.stages]) / base

    def factor(step: int) -> float:
        return float(curve[min(step, len(curve) - 1)])

    return LambdaLR(optimizer, factor)


def stage_curve(stage: StagePlan, trainer: Any) -> NDArray[np.float64]:
    """Learning rate at each step of a stage, shape (steps,), as a run of its own would have it.

    The trainer's `create_scheduler` is asked for a scheduler of a throw-away optimiser, so that
    every name and setting that Axolotl takes means here what it means there.

    Raises:
        DMTError: the trainer does not take the scheduler.
    """
    name = str(stage.settings.lr_scheduler)
    key = f"lr_scheduler (stage {stage.name})"
    peak = stage.settings.learning_rate
    throwaway = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    kept_args, kept_scheduler = trainer.args, trainer.lr_scheduler
    args = copy.copy(kept_args)
    args.learning_rate, args.warmup_steps = peak, stage.warmup_steps
    # As Axolotl's builder translates the names that transformers does not know.
    alternate = name if name in AXOLOTLS_SCHEDULERS else None
    args.alternate_lr_scheduler_type = alternate
    try:
        args.lr_scheduler_type = SchedulerType("cosine" if alternate else name)
        trainer.args, trainer.lr_scheduler = args, None
        scheduler = trainer.create_scheduler(stage.steps, optimizer=throwaway)
    except ValueError as error:
        raise DMTError(key, str(error).splitlines()[0], "use a name that Axolotl knows") from None
    finally:
        trainer.args, trainer.lr_scheduler = kept_args, kept_scheduler
    if isinstance(scheduler, LambdaLR):
        return np.array([peak * scheduler.lr_lambdas[0](step) for step in range(stage.steps)])
    rates = []
    for _ in range(stage.steps):
        rates.append(scheduler.get_last_lr()[0])
        throwaway.step()
        scheduler.step()
    return np.array(rates, dtype=np.float64)
