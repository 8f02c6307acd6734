"""Axolotl plugins under which a run fails at a chosen point."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from axolotl.integrations.base import BasePlugin


class FailingEvaluationPlugin(BasePlugin):
    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        import lm_eval

        def fail(*args: Any, **kwargs: Any) -> None:
            raise OSError("the disk is full")

        lm_eval.simple_evaluate = fail
        return []


class FailingRankPlugin(BasePlugin):
    """FAIL_AT is `WHERE:RANK:STEP ...`; WHERE is step, model, tasks or batch."""

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        for point in os.environ.get("FAIL_AT", "").split():
            where, rank, step = point.split(":")
            if int(rank) != trainer.args.process_index:
                continue

            def due(step: int = int(step)) -> bool:
                return trainer.state.global_step == step

            if where == "step":
                raises(trainer, "training_step", due)
            elif where == "model":  # while it is scored
                from lm_eval.models.huggingface import HFLM

                raises(HFLM, "_model_generate", due)
            elif where == "tasks":
                import lm_eval

                raises(lm_eval, "simple_evaluate", due)
            elif where == "batch":
                raises(trainer, "data_collator", batch_is(int(step)))
        return []


def batch_is(step: int) -> Callable[[], bool]:
    """Whether the batch being collated is the step's, also in a loader's worker.

    Workers take turns, and each has its own copy of the count.
    """
    seen = itertools.count()

    def due() -> bool:
        from torch.utils.data import get_worker_info

        worker = get_worker_info()
        turn, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        return next(seen) * workers + turn == step

    return due


def raises(owner: Any, name: str, condition: Callable[[], bool]) -> None:
    """Raise where `owner.name` is about to be called and the condition holds."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if condition():
            raise OSError(f"{name} went wrong on rank {os.environ['RANK']}")
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)
