"""Scores the model that is being trained, without disturbing the training.

Everything that an evaluation touches is put back: the train flag of every module, the generation
settings, the key-value cache flag and the states of all random generators.
"""

from __future__ import annotations

import contextlib
import copy
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from axolotl_dmt.scored import Scored
from axolotl_dmt.tasks import Tasks


def score_live_model(trainer: Any, tasks: Tasks) -> Scored:
    """Score the trainer's model; all ranks call this together and share the work.

    A failure is returned, never raised: hours of training are worth more than one score.
    """
    started = time.monotonic()
    accelerator = trainer.accelerator
    model = accelerator.unwrap_model(trainer.model_wrapped)
    with undisturbed(model):
        try:
            wrapped = _language_model(model, trainer.processing_class, accelerator, tasks)
            output = tasks.evaluate(wrapped)
        except Exception as error:
            return Scored(
                error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - started
            )
    seconds = time.monotonic() - started
    if output is None:  # lm-eval gives the scores to rank 0 alone
        return Scored(seconds=seconds)
    return Scored.of(output, samples=tasks.config.samples, seconds=seconds)


def held_out_losses(trainer: Any) -> dict[str, float]:
    """The loss on each domain's held-out rows, logged by the trainer as `eval_<domain>_loss`."""
    if not isinstance(trainer.eval_dataset, dict):
        return {}
    with undisturbed(trainer.accelerator.unwrap_model(trainer.model_wrapped)):
        metrics = trainer.evaluate()
    losses = {name: metrics.get(f"eval_{name}_loss") for name in trainer.eval_dataset}
    return {name: float(loss) for name, loss in losses.items() if loss is not None}


def _language_model(model: Any, tokenizer: Any, accelerator: Any, tasks: Tasks) -> Any:
    from lm_eval.models.huggingface import HFLM

    language_model = HFLM(
        pretrained=model,
        # lm-eval sets padding on the tokenizer it is given
        tokenizer=copy.deepcopy(tokenizer),
        batch_size=tasks.config.batch_size,
    )
    if accelerator.num_processes > 1:
        # A live model makes HFLM believe that it is alone.
        language_model._rank = accelerator.process_index
        language_model._world_size = accelerator.num_processes
        language_model.accelerator = accelerator
    return language_model


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Puts back what scoring a model changes about it and about the random generators."""
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
