"""An Axolotl plugin that kills its own process, as `kill -9` would, at a chosen point.

KILL_WITH names another signal; SIGINT goes to the launcher and all ranks, as Ctrl-C's does.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback


def kill() -> None:
    signum = signal.Signals[os.environ.get("KILL_WITH", "SIGKILL")]
    if signum != signal.SIGINT:
        os.kill(os.getpid(), signum)
    elif os.environ.get("RANK", "0") == "0":
        os.killpg(os.getpgrp(), signum)


def before(owner: Any, name: str, condition: Callable[[], bool]) -> None:
    """Kill the process when `owner.name` is about to be called and the condition holds."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if condition():
            kill()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


class KillerPlugin(BasePlugin):
    """Kills the process at KILL_AT, `WHERE:STEP`.

    WHERE is step, stage-save, checkpoint or evaluation.
    """

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        where, _, step = os.environ.get("KILL_AT", "never:0").partition(":")

        def due() -> bool:
            return trainer.state.global_step == int(step)

        if where == "stage-save":  # the weights are written, the tokenizer is not
            before(trainer.processing_class, "save_pretrained", due)
        elif where == "checkpoint":  # the weights are written, the optimiser's state is not
            before(trainer, "_save_optimizer_and_scheduler", due)
        elif where == "evaluation":
            import lm_eval

            before(lm_eval, "simple_evaluate", due)
        elif where == "step":
            return [KillAtStepEnd(int(step))]
        return []


class KillAtStepEnd(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            kill()
