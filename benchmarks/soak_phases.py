"""An Axolotl plugin for soak.py that reports what the training does at each moment.

Each line that it writes to the file descriptor SOAK_PIPE is a phase and the optimiser step at which
it begins.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from axolotl.integrations.base import BasePlugin
from soak_runs import CHECKPOINT, END, SCORING, STAGE_END, STAGE_SAVE, START, TRAINING
from transformers import TrainerCallback

from axolotl_dmt.training.callback import StageCallback


class Phases(TrainerCallback):
    """Reports the phases of one trainer; a phase within another ends where the other goes on."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.pipe, self.phase = trainer, int(os.environ["SOAK_PIPE"]), START
        ends = {stage.end_step for stage in trainer.dmt_plan.stages}
        self.within(trainer, "_save_checkpoint", CHECKPOINT)
        self.within(StageCallback, "_save", STAGE_SAVE)
        self.within(StageCallback, "_score_model", SCORING)
        self.within(StageCallback, "on_train_end", END)
        self.within(StageCallback, "on_step_end", STAGE_END, lambda: self.step in ends)

    @property
    def step(self) -> int:
        return int(self.trainer.state.global_step)

    def enter(self, phase: str) -> None:
        self.phase = phase
        os.write(self.pipe, f"{self.step} {phase}\n".encode())

    def within(
        self, owner: Any, name: str, phase: str, applies: Callable[[], bool] = lambda: True
    ) -> None:
        """Report a phase for as long as a method runs."""
        original = getattr(owner, name)

        def reported(*args: Any, **kwargs: Any) -> Any:
            if not applies():
                return original(*args, **kwargs)
            outer = self.phase
            self.enter(phase)
            result = original(*args, **kwargs)
            self.enter(END if phase == END else outer)
            return result

        setattr(owner, name, reported)

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.enter(TRAINING)


class PhasesPlugin(BasePlugin):
    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        return [Phases(trainer)]
