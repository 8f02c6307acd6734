"""An Axolotl plugin for overhead.py that records when each step ends."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback


class Clock(TrainerCallback):
    def __init__(self) -> None:
        self.steps: list[float] = []
        self.cpu: list[float] = []
        self.begin = self.cpu_begin = 0.0

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        if not self.steps:
            self.begin = time.time() - float(os.environ["CLOCK_START"])
            self.cpu_begin = time.process_time()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.steps.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        seen = {
            "begin": self.begin,
            "cpu_begin": self.cpu_begin,
            "steps": self.steps,
            "cpu": self.cpu,
            "losses": losses,
        }
        Path(os.environ["CLOCK_FILE"]).write_text(json.dumps(seen))


class ClockPlugin(BasePlugin):
    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        return [Clock()]
