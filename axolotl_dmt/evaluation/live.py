"""Scores the model that is being trained, without affecting the training.

Everything that an evaluation changes is restored: the training flag of every module, the generation
settings, the key-value cache flag and the states of all random generators.
"""

from __future__ import annotations

import contextlib
import copy
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from axolotl_dmt.evaluation.items import read_items
from axolotl_dmt.evaluation.scores import Evaluation, error_text
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.ranks import Ranks


def score_live_model(trainer: Any, tasks: Tasks, ranks: Ranks) -> Evaluation:
    """Score the trainer's model.

    Every rank must call this. The ranks share the work, and each gets the scores; only rank 0 gets
    the items. A failure is
    returned as the evaluation's error, never raised, so that the training continues.
    """
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    with undisturbed(model):
        evaluation = _score_on_all_ranks(model, trainer.processing_class, tasks, ranks)
        shared: Evaluation = ranks.from_first(replace(evaluation, items=()))
        return replace(shared, items=evaluation.items)


def _score_on_all_ranks(model: Any, tokenizer: Any, tasks: Tasks, ranks: Ranks) -> Evaluation:
    """Return the evaluation on rank 0 and an empty one on the other ranks.

    If the set-up fails on one rank, all ranks return its error.
    """
    started = time.monotonic()
    shared_model, error = None, None
    try:
        from axolotl_dmt.evaluation.batching import Batching
        from axolotl_dmt.evaluation.shared_model import SharedModel

        shared_model = SharedModel(
            model,
            tokenizer,
            tasks.config.batch_size,
            ranks,
            batching=Batching.of(tasks.config),
            **tasks.model_arguments(),
        )
    except Exception as caught:
        error = error_text(caught)
    failures = [failure for failure in ranks.gathered(error) if failure]
    if failures or shared_model is None:
        return Evaluation(error=failures[0], seconds=time.monotonic() - started)
    if ranks.index > 0:
        shared_model.serve()
        return Evaluation()
    try:
        output = tasks.evaluate(shared_model)
        assert output is not None
        seconds = time.monotonic() - started
        items = read_items(output, shared_model, tasks.config)
        evaluation = Evaluation.of(
            output, samples=tasks.config.samples, seconds=seconds, items=items
        )
        return replace(evaluation, generation=shared_model.generation.to_json())
    except Exception as caught:
        return Evaluation(error=error_text(caught), seconds=time.monotonic() - started)
    finally:
        shared_model.dismiss()


def held_out_losses(trainer: Any) -> dict[str, float]:
    """Return {domain: loss on its held-out rows}, and those of each entry of `test_datasets`.

    The trainer logs the losses as `eval_<domain>_loss`.
    """
    if not isinstance(trainer.eval_dataset, dict):
        return {}
    with undisturbed(trainer.accelerator.unwrap_model(trainer.model_wrapped)):
        metrics = trainer.evaluate()
    losses = {name: metrics.get(f"eval_{name}_loss") for name in trainer.eval_dataset}
    return {name: float(loss) for name, loss in losses.items() if loss is not None}


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """On entry, record what scoring changes in the model and the random generators; restore it."""
    training = [(module, module.training) for module in model.modules()]
    generation = copy.deepcopy(getattr(model, "generation_config", None))
    use_cache = getattr(getattr(model, "config", None), "use_cache", None)
    states = (
        random.getstate(),
        np.random.get_state(),
        torch.get_rng_state(),
        torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    )
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if states[3]:
            torch.cuda.set_rng_state_all(states[3])
        for module, flag in training:
            module.training = flag
        if generation is not None:
            model.generation_config = generation
        if use_cache is not None:
            model.config.use_cache = use_cache
