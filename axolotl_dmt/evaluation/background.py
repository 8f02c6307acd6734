"""Scores saved stages in processes of their own while the training goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.saved import score_in_subprocess
from axolotl_dmt.evaluation.scores import Evaluation, error_text

Finished = tuple[str, Evaluation]
"""The name of a stage, and its evaluation."""


class BackgroundScoring:
    """Scores one saved stage after another, each in a separate process.

    The thread that waits for the processes ends with this process, whatever it waits for, and each
    process ends when this one is gone.
    """

    def __init__(self, config: EvaluateConfig) -> None:
        """Prepare the scoring by a `dmt.evaluate` block; nothing is started yet."""
        self._config = config
        self._waiting: queue.Queue[tuple[str, Path]] = queue.Queue()
        self._finished: queue.Queue[Finished] = queue.Queue()
        self._unfinished = 0
        self._thread: threading.Thread | None = None

    def start(self, stage: str, folder: Path) -> None:
        """Score the stage saved in a folder, after those that are being scored.

        Args:
            stage: the name of the stage.
            folder: its folder.
        """
        self._unfinished += 1
        self._waiting.put((stage, folder))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)
            self._thread.start()

    def finished(self, *, wait: bool = False) -> Iterator[Finished]:
        """Yield the evaluations that ended since the last call.

        Args:
            wait: wait until all stages are scored, and yield each as soon as it is.
        """
        while self._unfinished:
            try:
                evaluation = self._finished.get(block=wait)
            except queue.Empty:
                return
            self._unfinished -= 1
            yield evaluation

    def _run(self) -> None:
        while True:
            stage, folder = self._waiting.get()
            try:
                evaluation = score_in_subprocess(folder, self._config, own_session=True)
            except Exception as error:  # the training must not wait for ever
                evaluation = Evaluation(error=error_text(error))
            self._finished.put((stage, evaluation))
