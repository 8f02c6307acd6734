"""Axolotl plugins that make a run fail at a chosen point."""

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
    """Raises at the points of FAIL_AT, `WHERE:RANK:STEP ...`.

    WHERE is step, model, tasks or batch.
    """

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        for point in os.environ.get("FAIL_AT", "").split():
            where, rank, step = point.split(":")
            if int(rank) != trainer.args.process_index:
                continue

            def due(step: int = int(step)) -> bool:
                return trainer.state.global_step == step

            if where == "step":
                raises(trainer, "training_step", due)
            elif where == "model":  # while the model is scored
                from lm_eval.models.huggingface import HFLM

                raises(HFLM, "tok_batch_encode", due)
            elif where == "tasks":
                import lm_eval

                raises(lm_eval, "simple_evaluate", due)
            elif where == "batch":
                raises(trainer, "data_collator", batch_is(int(step)))
        return []


def batch_is(step: int) -> Callable[[], bool]:
    """Return a condition that holds while the batch of a step is collated, also in a worker.

    The workers of a data loader take turns, and each has its own copy of the counter.
    """
    batches = itertools.count()

    def due() -> bool:
        from torch.utils.data import get_worker_info

        worker = get_worker_info()
        turn, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        return next(batches) * workers + turn == step

    return due


def raises(owner: Any, name: str, condition: Callable[[], bool]) -> None:
    """Make `owner.name` raise instead of being called while the condition holds."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if condition():
            raise OSError(f"{name} went wrong on rank {os.environ['RANK']}")
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)
