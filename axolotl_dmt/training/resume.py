"""Checks whether a checkpoint is complete, and whether a run may resume from it under its plan."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.results.folder import RunFolder

STATE_FILE = "trainer_state.json"
STATE_KEY = "StageCallback"
"""The key under which the trainer's state file holds what `StageCallback.state` returns.

It is the name of the class, and part of the format of checkpoints.
"""


def read_state(checkpoint: Path) -> dict[str, Any] | None:
    """Return the trainer's state in a checkpoint, or None where the checkpoint is incomplete.

    The trainer writes this file last: where the writing of a checkpoint was interrupted, the file
    is missing or not valid JSON.
    """
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def set_aside_incomplete(output_dir: Path) -> list[Path]:
    """Rename incomplete checkpoints, so that the run resumes from the last complete one.

    Args:
        output_dir: the `output_dir` of the run.

    Returns:
        The new paths.
    """
    run, renamed = RunFolder(output_dir), []
    for checkpoint in run.checkpoints():
        if read_state(checkpoint) is None:
            target = run.incomplete(checkpoint)
            os.replace(checkpoint, target)
            renamed.append(target)
    return renamed


def fingerprint_of(checkpoint: Path) -> str | None:
    """Return the fingerprint of the plan that wrote a checkpoint, or None where it holds none."""
    state = read_state(checkpoint) or {}
    callback = (state.get("stateful_callbacks") or {}).get(STATE_KEY) or {}
    fingerprint = (callback.get("attributes") or {}).get("plan_fingerprint")
    return fingerprint if isinstance(fingerprint, str) else None


def check_plan(checkpoint: Path, plan: TrainingPlan, *, replan: bool) -> None:
    """Refuse to resume from a checkpoint of another plan.

    Args:
        checkpoint: the folder to resume from.
        plan: the plan that the run would follow.
        replan: allow another plan (`on_plan_change: replan`).

    Raises:
        DMTError: the folder is not a complete checkpoint, or another plan wrote it.
    """
    if read_state(checkpoint) is None:
        raise DMTError(
            "resume_from_checkpoint",
            f"{checkpoint} is not a complete checkpoint",
            f"name a checkpoint folder that holds a readable {STATE_FILE}",
        )
    former = fingerprint_of(checkpoint)
    if former == plan.fingerprint or replan:
        return
    if former is None:
        raise DMTError(
            "resume_from_checkpoint",
            f"{checkpoint} was not written by a run with a dmt plan",
            "start from scratch in another output_dir, or set dmt.on_plan_change: replan",
        )
    raise DMTError(
        "resume_from_checkpoint",
        f"the plan is not the one of {checkpoint}: {_changes(checkpoint, former, plan)}",
        "undo the change, start from scratch in another output_dir, or set dmt.on_plan_change: "
        "replan",
    )


def _changes(checkpoint: Path, former: str, plan: TrainingPlan) -> str:
    """Describe how a plan differs from the one with the fingerprint `former`."""
    folder = RunFolder(checkpoint.parent).plan
    try:
        saved = TrainingPlan.load(folder)
    except (OSError, DMTError):
        return "the changes are unknown, because its plan file is missing"
    if saved.fingerprint != former:
        return f"the changes are unknown, because {folder} holds a third plan"
    return "; ".join(plan.changes(saved)) or "the order of the rows changed"
