"""Composes the learning rate of a run from one curve per stage."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.lr_scheduler import LambdaLR
from transformers.trainer_utils import SchedulerType

from axolotl_dmt.checks.stages import AXOLOTLS_SCHEDULERS
from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.plan.training_plan import StagePlan, TrainingPlan


def composed_scheduler(plan: TrainingPlan, trainer: Any, optimizer: Any) -> LambdaLR:
    """Return one scheduler that follows each stage's own curve, stage after stage.

    Args:
        plan: the plan.
        trainer: the trainer that follows the plan.
        optimizer: the optimiser whose learning rate is scheduled.

    Raises:
        DMTError: the trainer does not accept a stage's scheduler.
    """
    base = trainer.args.learning_rate
    curve = np.concatenate([stage_curve(stage, trainer) for stage in plan.stages]) / base

    def factor(step: int) -> float:
        return float(curve[min(step, len(curve) - 1)])

    return LambdaLR(optimizer, factor)


def stage_curve(stage: StagePlan, trainer: Any) -> NDArray[np.float64]:
    """Return the learning rate at each step of a stage, shape (steps,).

    The curve is that of a separate run of the stage: the trainer's own `create_scheduler` makes
    the scheduler, for a temporary optimiser, so that every scheduler name and setting keeps the
    meaning that it has in Axolotl.

    Raises:
        DMTError: the trainer does not accept the scheduler.
    """
    peak = stage.settings.learning_rate
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    try:
        with _arguments_of_stage(stage, trainer):
            scheduler = trainer.create_scheduler(stage.steps, optimizer=optimizer)
    except ValueError as error:
        key = f"lr_scheduler (stage {stage.name})"
        raise DMTError(key, first_line(error), "correct it or its settings") from None
    if isinstance(scheduler, LambdaLR):
        return np.array([peak * scheduler.lr_lambdas[0](step) for step in range(stage.steps)])
    rates = []
    for _ in range(stage.steps):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return np.array(rates, dtype=np.float64)


@contextlib.contextmanager
def _arguments_of_stage(stage: StagePlan, trainer: Any) -> Iterator[None]:
    """On entry, give the trainer the stage's arguments and no scheduler; on exit, restore its own.

    Raises:
        ValueError: transformers has no scheduler of that name.
    """
    name = str(stage.settings.lr_scheduler)
    # Axolotl's own schedulers are chosen by another argument, which its trainer builder sets.
    alternate = name if name in AXOLOTLS_SCHEDULERS else None
    trainers_own = trainer.args, trainer.lr_scheduler
    args = copy.copy(trainer.args)
    args.learning_rate, args.warmup_steps = stage.settings.learning_rate, stage.warmup_steps
    args.alternate_lr_scheduler_type = alternate
    args.lr_scheduler_type = SchedulerType("cosine" if alternate else name)
    try:
        trainer.args, trainer.lr_scheduler = args, None
        yield
    finally:
        trainer.args, trainer.lr_scheduler = trainers_own
