"""Which checkpoint a run goes on from, and whether its plan is still the same."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.training_plan import TrainingPlan

STATE_FILE = "trainer_state.json"
STATE_KEY = "StageCallback"
"""Under this name the trainer keeps what `StageCallback.state` says inside its own state file."""

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def checkpoints(output_dir: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest step first."""
    if not output_dir.is_dir():
        return []
    found = [path for path in output_dir.iterdir() if _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def read_state(checkpoint: Path) -> dict[str, Any] | None:
    """The trainer's state in a checkpoint, or None where the checkpoint is not whole.

    The trainer writes this file last, so that a checkpoint whose writing was cut off has none, or
    half of one.
    """
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def set_aside_incomplete(output_dir: Path) -> list[Path]:
    """Rename checkpoints whose writing was cut off, so that resuming takes the last whole one.

    Returns:
        The new names.
    """
    renamed = []
    for checkpoint in checkpoints(output_dir):
        if read_state(checkpoint) is None:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            target = checkpoint.with_name(f"incomplete-{checkpoint.name}-{stamp}")
            os.replace(checkpoint, target)
            renamed.append(target)
    return renamed


def fingerprint_of(checkpoint: Path) -> str | None:
    """The fingerprint of the plan that wrote a checkpoint, or None where it says none."""
    state = read_state(checkpoint) or {}
    ours = (state.get("stateful_callbacks") or {}).get(STATE_KEY) or {}
    fingerprint = (ours.get("attributes") or {}).get("plan_fingerprint")
    return fingerprint if isinstance(fingerprint, str) else None


def check_plan(checkpoint: Path, plan: TrainingPlan, *, replan: bool) -> None:
    """Refuse to go on from a checkpoint of another plan.

    Args:
        checkpoint: the folder to resume from.
        plan: the plan compiled now.
        replan: go on under the new plan all the same.

    Raises:
        DMTError: the folder is no whole checkpoint, or its plan was another one.
    """
    if read_state(checkpoint) is None:
        raise DMTError(
            "resume_from_checkpoint",
            f"{checkpoint} is no whole checkpoint",
            "name a checkpoint folder that holds trainer_state.json",
        )
    former = fingerprint_of(checkpoint)
    if former == plan.fingerprint or replan:
        return
    if former is None:
        raise DMTError(
            "resume_from_checkpoint",
            f"{checkpoint} was not written under a dmt plan",
            "start anew in another output_dir, or set dmt.on_plan_change: replan",
        )
    raise DMTError(
        "resume_from_checkpoint",
        f"the plan is not the one of {checkpoint}: {_changes(checkpoint, former, plan)}",
        "undo the change, start anew in another output_dir, or set dmt.on_plan_change: replan",
    )


def _changes(checkpoint: Path, former: str, plan: TrainingPlan) -> str:
    folder = checkpoint.parent / "dmt" / "plan"
    try:
        saved = TrainingPlan.load(folder)
    except (OSError, DMTError):
        return "its plan file is gone, so what changed cannot be told"
    if saved.fingerprint != former:
        return f"{folder} is of yet another plan, so what changed cannot be told"
    return "; ".join(plan.changes(saved)) or "its rows are ordered otherwise"
