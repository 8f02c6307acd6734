"""Finds the optimiser steps that are padded with blank rows, and the weights of their losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from axolotl_dmt.plan.training_plan import TrainingPlan


@dataclass(frozen=True, kw_only=True)
class BlankStep:
    """An optimiser step in which some micro batches are blank.

    Attributes:
        micro_batch_weight: the factor for a loss that is averaged over the step's micro batches:
            the number of micro batches divided by the number of those that hold real rows.
        rank_weight: the factor for a loss that each rank averages over its own tokens: the number
            of ranks divided by the number of those that have a micro batch with real rows.
    """

    micro_batch_weight: float
    rank_weight: float


def steps_with_blanks(plan: TrainingPlan, accumulation: int, ranks: int) -> dict[int, BlankStep]:
    """Return {step: its weights} for the steps that hold blank micro batches.

    Only the last step of a stage can be one.

    Args:
        plan: the plan.
        accumulation: micro batches of a step on one rank.
        ranks: number of ranks; micro batch m of a step goes to rank m modulo ranks.
    """
    steps = {}
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
            steps[step] = BlankStep(
                micro_batch_weight=real.size / int(real.sum()),
                rank_weight=ranks / int(real.any(axis=0).sum()),
            )
    return steps
