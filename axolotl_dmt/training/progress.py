"""Shows the current stage in the progress bar, and logs how long it will take and took."""

from __future__ import annotations

import time
from typing import Any

from transformers import (
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from transformers import TrainingArguments as Arguments

from axolotl_dmt.console import is_quiet, wants_quiet
from axolotl_dmt.plan.training_plan import StagePlan, TrainingPlan
from axolotl_dmt.report.format import duration
from axolotl_dmt.training.log import LOG

LOSS = "loss"
"""The key of the loss in the trainer's log."""
SHORTEST_ESTIMATE = 30.0
"""The shortest estimate that is logged, in seconds."""


def leave_out_losses(trainer: Any) -> None:
    """Remove the callbacks that print each entry of the trainer's log, if `wants_quiet()`.

    The report still shows the losses, and loggers such as W&B still get them.
    """
    if wants_quiet():
        for callback in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(callback)


class StageProgress(TrainerCallback):
    """Names the stage in the bar of the trainer's `ProgressCallback`, and logs estimates.

    It must precede `StageCallback`, which saves and scores the model in the same events: that time
    must not count as training time.
    """

    def __init__(self, trainer: Any, plan: TrainingPlan) -> None:
        """Start with no stage entered.

        Args:
            trainer: the trainer whose progress bar is used.
            plan: the plan that the trainer follows.
        """
        self.trainer, self.plan = trainer, plan
        self.entered, self.first_step, self.started = -1, 0, 0.0
        self.pace: float | None = None  # seconds per token, or per step where tokens are unknown
        self.estimated = False

    def on_train_begin(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hide the progress bar where no terminal shows it (see `is_quiet`)."""
        bar = self._bar()
        if bar is not None and is_quiet():
            bar.clear()
            bar.disable = True

    def on_step_begin(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log a stage and name it in the bar where it starts, and where a run resumes."""
        stage = self.plan.stages[self.plan.stage_at(state.global_step)]
        if stage.index == self.entered:
            return
        self.entered, self.first_step = stage.index, state.global_step
        self.started, self.estimated = time.monotonic(), False
        rows = ", ".join(f"{name} {draw.rows} rows" for name, draw in stage.domains.items())
        first, last = stage.start_step + 1, stage.end_step
        LOG.info("%s: steps %d to %d, %s", self._label(stage), first, last, rows)
        bar = self._bar()
        if bar is not None:
            bar.set_description(self._label(stage))
        if self.pace is not None:
            self._estimate(stage, state.global_step, self.pace, "at the previous stage's pace")

    def on_step_end(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log an estimate once the stage's pace is known, and its duration when it ends."""
        stage = self.plan.stages[self.plan.stage_at(state.global_step - 1)]
        done, seconds = state.global_step - self.first_step, time.monotonic() - self.started
        if state.global_step == stage.end_step:
            self.pace = seconds / self._work(stage, done)
            loss = _last_loss(state, self.first_step)
            LOG.info("%s: trained in %s%s", self._label(stage), duration(seconds), loss)
        # The first steps also compile and allocate.
        elif not self.estimated and done >= 5 and done * 20 >= stage.steps:
            pace = seconds / self._work(stage, done)
            self._estimate(stage, state.global_step, pace, "at its pace so far")

    def _estimate(self, stage: StagePlan, step: int, pace: float, basis: str) -> None:
        """Log how long the rest of the stage will take; `basis` names where the pace is from."""
        self.estimated = True
        left = stage.end_step - step
        seconds = pace * self._work(stage, left)
        if seconds >= SHORTEST_ESTIMATE:
            message = "%s: about %s for its remaining %d steps, %s"
            LOG.info(message, self._label(stage), duration(seconds), left, basis)

    def _work(self, stage: StagePlan, steps: int) -> float:
        """Return the mean number of tokens in these steps, or `steps` where tokens are unknown."""
        return steps * stage.tokens / stage.steps if stage.tokens else float(steps)

    def _label(self, stage: StagePlan) -> str:
        return f"stage {stage.index + 1}/{len(self.plan.stages)} {stage.name}"

    def _bar(self) -> Any:
        """Return the trainer's bar; None on ranks without one and with `disable_tqdm: true`."""
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressCallback):
                return callback.training_bar
        return None


def _last_loss(state: TrainerState, first_step: int) -> str:
    """Return the end of a message: the loss that was logged last in a stage, if there is one."""
    entries = [entry for entry in state.log_history if LOSS in entry and entry["step"] > first_step]
    return f", loss {entries[-1][LOSS]:.4g}" if entries else ""
