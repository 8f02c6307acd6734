"""Checks whether a run may resume from a checkpoint under its plan; sets incomplete ones aside."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.pool_record import PoolRecord
from axolotl_dmt.plan.training_plan import StagePlan, TrainingPlan
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.training.checkpoint_files import STATE_FILE, defect, lacks_optimizer, read_state
from axolotl_dmt.training.log import LOG

if TYPE_CHECKING:
    from transformers import TrainerState

STATE_KEY = "StageCallback"
"""The key under which the trainer's state file holds what `StageCallback.state` returns.

It is the name of the class, and part of the format of checkpoints.
"""
SECONDS = "stage_seconds"
"""What the callback calls the training time of the current stage."""


def set_aside_incomplete(output_dir: Path) -> list[Path]:
    """Rename incomplete checkpoints, so that the run resumes from the last complete one.

    A checkpoint without optimiser state is renamed only beside a complete one: otherwise the run
    would start from scratch, and `check_plan` refuses it instead.

    Args:
        output_dir: the `output_dir` of the run.

    Returns:
        The new paths.
    """
    run = RunFolder(output_dir)
    defects = {checkpoint: defect(checkpoint) for checkpoint in run.checkpoints()}
    model_only = [c for c, problem in defects.items() if not problem and lacks_optimizer(c)]
    if any(not problem and c not in model_only for c, problem in defects.items()):
        defects |= dict.fromkeys(model_only, "it holds no optimizer state")
    renamed = []
    for checkpoint, problem in defects.items():
        if problem:
            target = run.incomplete(checkpoint)
            with contextlib.suppress(FileNotFoundError):  # another host may have renamed it
                os.replace(checkpoint, target)
            LOG.warning("%s is not resumed and now called %s: %s", checkpoint, target.name, problem)
            renamed.append(target)
    return renamed


def fingerprint_of(checkpoint: Path) -> str | None:
    """Return the fingerprint of the plan that wrote a checkpoint, or None where it holds none."""
    state = read_state(checkpoint) or {}
    callback = (state.get("stateful_callbacks") or {}).get(STATE_KEY) or {}
    fingerprint = (callback.get("attributes") or {}).get("plan_fingerprint")
    return fingerprint if isinstance(fingerprint, str) else None


def seconds_before(state: TrainerState, stage: StagePlan) -> float:
    """Return how long a stage was trained before its checkpoint, where a run resumes within it."""
    saved: Any = state.stateful_callbacks or {}
    if state.global_step == stage.start_step or not isinstance(saved, dict):
        return 0.0
    return float((saved.get(STATE_KEY) or {}).get("attributes", {}).get(SECONDS) or 0.0)


def check_plan(checkpoint: Path, plan: TrainingPlan, *, replan: bool) -> TrainingPlan:
    """Refuse to resume from a checkpoint of another plan or of other rows.

    Args:
        checkpoint: the folder to resume from.
        plan: the plan that the run would follow.
        replan: allow another plan (`on_plan_change: replan`).

    Returns:
        The plan to follow. Where only the paths of the same rows changed, it has the former paths,
        so that its fingerprint stays the same.

    Raises:
        DMTError: the folder is not a complete checkpoint, or was written under another plan or with
            other rows.
    """
    _check_complete(checkpoint)
    former = fingerprint_of(checkpoint)
    saved = _saved_plan(checkpoint)
    if saved is not None and saved.fingerprint == former:
        renamed = _with_paths_of(saved, plan)
        plan = renamed if renamed.fingerprint == former else plan
    if replan:
        return plan
    fix = "start from scratch in another output_dir, or set dmt.on_plan_change: replan"
    if former is None:
        problem = f"{checkpoint} was not written by a run with a dmt plan"
        raise DMTError("resume_from_checkpoint", problem, fix)
    if former != plan.fingerprint:
        problem = f"the plan is not the one of {checkpoint}: {_changes(saved, former, plan)}"
    elif saved is not None and (edited := _edited(saved, plan)):
        problem = (
            f"the rows of {', '.join(edited)} are not those that {checkpoint} was trained on: "
            "their tokens changed, though not their number and lengths"
        )
    else:
        return plan
    raise DMTError("resume_from_checkpoint", problem, f"undo the change, {fix}")


def _check_complete(checkpoint: Path) -> None:
    """Refuse a folder that training cannot continue from.

    Raises:
        DMTError: files are missing or cut off.
    """
    if problem := defect(checkpoint):
        raise DMTError(
            "resume_from_checkpoint",
            f"{checkpoint} is not a complete checkpoint: {problem}",
            f"name a checkpoint folder that holds a readable {STATE_FILE}, the weights and the "
            "optimizer state",
        )
    if lacks_optimizer(checkpoint):
        raise DMTError(
            "resume_from_checkpoint",
            f"{checkpoint} holds no optimizer state, so the learning rate would start again in the "
            "middle of a stage",
            "name a checkpoint that was saved without save_only_model, or start from scratch in "
            "another output_dir",
        )


def _saved_plan(checkpoint: Path) -> TrainingPlan | None:
    """Return the plan beside a checkpoint, or None where it cannot be read."""
    try:
        return TrainingPlan.load(RunFolder(checkpoint.parent).plan)
    except (OSError, DMTError):
        return None


def _with_paths_of(saved: TrainingPlan, plan: TrainingPlan) -> TrainingPlan:
    """Return the plan with a saved plan's paths of the datasets that hold the same rows."""
    former = {pool.name: pool for pool in saved.pools}
    return replace(plan, pools=tuple(_renamed(pool, former.get(pool.name)) for pool in plan.pools))


def _renamed(pool: PoolRecord, former: PoolRecord | None) -> PoolRecord:
    if former is None or not pool.content or former.content != pool.content:
        return pool
    return replace(pool, datasets=former.datasets)


def _edited(saved: TrainingPlan, plan: TrainingPlan) -> list[str]:
    """Return the datasets whose rows differ from those of a saved plan, where both are known."""
    former = {pool.name: pool.content for pool in saved.pools}
    used = {name for stage in plan.stages for name in stage.domains}
    return [
        label
        for pool in plan.pools
        if pool.name in used
        for (label, _), now, then in zip(
            pool.datasets, pool.content, former.get(pool.name, ()), strict=False
        )
        if now != then
    ]


def _changes(saved: TrainingPlan | None, former: str, plan: TrainingPlan) -> str:
    """Describe how a plan differs from the one with the fingerprint `former`."""
    if saved is None:
        return "the changes are unknown, because its plan file is missing"
    if saved.fingerprint != former:
        return "the changes are unknown, because the folder holds a third plan"
    return "; ".join(plan.changes(saved)) or "the order of the rows changed"
