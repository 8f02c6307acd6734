"""lm-evaluation-harness on the model that is being trained, without disturbing the training.

Everything that an evaluation touches is put back: the train flag of every module, the generation
settings, the key-value cache flag and the states of all random generators.
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from axolotl_dmt import sandbox
from axolotl_dmt.args import EvaluateConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.results import Score

SUITE = "dmt_suite"
COMMON_METRIC = "dmt_score"
PREFERRED_METRICS = (COMMON_METRIC, "exact_match", "pass@1", "acc_norm", "acc")
"""Metric taken as a task's score, the first that it has; else its first one."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What one evaluation gave.

    Attributes:
        scores: by ability; empty on ranks other than 0 and where the evaluation failed.
        samples: for the report: {"ability", "prompt", "answer", "passed"}.
        seconds: wall time by task, and of the whole under "total".
        error: why it failed, or None.
        details: anything the tasks say of how they scored, such as the sandbox level.
    """

    scores: Mapping[str, Score] = field(default_factory=dict)
    samples: tuple[Mapping[str, Any], ...] = ()
    seconds: float = 0.0
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Evaluator:
    """Scores a live model on the tasks of `dmt.evaluate`."""

    def __init__(self, config: EvaluateConfig) -> None:
        """Looks the tasks up, so that an unknown one is refused before any model is loaded.

        Raises:
            DMTError: a task that lm-eval does not know, a data file that is not there, code to run
                where nothing can wall it off.
        """
        self.config = config
        for ability, path in (config.data or {}).items():
            if not Path(path).is_file():
                raise DMTError(
                    f"dmt.evaluate.data.{ability}", f"no file {path}", "give the path of a file"
                )
        if any(task == SUITE or task.startswith("dmt_code") for task in config.tasks):
            sandbox.require_level(allow_unsafe_code=config.allow_unsafe_code)
        self.metadata = task_settings(config)
        self.manager = task_manager(config, self.metadata)
        known = set(self.manager.all_tasks)
        for index, task in enumerate(config.tasks):
            if task not in known:
                raise DMTError(
                    f"dmt.evaluate.tasks[{index}]",
                    f"lm-eval knows no task {task!r}",
                    "see `lm_eval ls tasks`, or give dmt.evaluate.include_path",
                )

    def score(self, trainer: Any) -> Scored:
        """Score the trainer's model; all ranks call this together and share the work.

        A failure is returned, never raised: hours of training are worth more than one score.
        """
        started = time.monotonic()
        accelerator = trainer.accelerator
        model = accelerator.unwrap_model(trainer.model_wrapped)
        with _undisturbed(model):
            try:
                output = self._evaluate(model, trainer.processing_class, accelerator)
            except Exception as error:
                return Scored(
                    error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - started
                )
        seconds = time.monotonic() - started
        if output is None:  # lm-eval gives the scores to rank 0 alone
            return Scored(seconds=seconds)
        return Scored(
            scores=read_scores(output),
            samples=tuple(_read_samples(output, self.config.samples)),
            seconds=seconds,
            details=_read_details(output),
        )

    def _evaluate(self, model: Any, tokenizer: Any, accelerator: Any) -> dict[str, Any] | None:
        import lm_eval
        from lm_eval.models.huggingface import HFLM

        config = self.config
        language_model = HFLM(
            pretrained=model,
            # lm-eval sets padding on the tokenizer it is given
            tokenizer=copy.deepcopy(tokenizer),
            batch_size=config.batch_size,
        )
        if accelerator.num_processes > 1:
            # A live model makes HFLM believe that it is alone.
            language_model._rank = accelerator.process_index
            language_model._world_size = accelerator.num_processes
            language_model.accelerator = accelerator
        limit = config.limit
        return lm_eval.simple_evaluate(
            model=language_model,
            tasks=list(config.tasks),
            task_manager=self.manager,
            num_fewshot=config.num_fewshot,
            limit=int(limit) if limit is not None and limit >= 1 else limit,
            gen_kwargs=config.gen_kwargs,
            apply_chat_template=config.apply_chat_template,
            confirm_run_unsafe_code=config.allow_unsafe_code,
            log_samples=True,
            bootstrap_iters=1000,
            random_seed=None,
            numpy_random_seed=None,
            torch_random_seed=None,
        )


def ability_of(task: str) -> str:
    """`dmt_math` scores `math`; any other task is an ability under its own name."""
    return task.removeprefix("dmt_")


def task_settings(config: EvaluateConfig) -> dict[str, Any]:
    """The task metadata that carries our settings through lm-eval to the tasks."""
    settings: dict[str, Any] = {
        f"dmt_{ability}_data": str(Path(path).resolve())
        for ability, path in (config.data or {}).items()
    }
    if config.prompt is not None:
        settings["dmt_prompt"] = config.prompt
    if config.max_new_tokens is not None:
        settings["dmt_max_gen_toks"] = config.max_new_tokens
    if config.allow_unsafe_code:
        settings["allow_unsafe_code"] = True
    return settings


def suite_folder() -> Path:
    """Where the suite's tasks lie: in the checkout, else inside lm-eval, where the wheel puts them.

    An editable install leaves a copy inside lm-eval that does not follow later changes, so the
    checkout comes first.
    """
    import lm_eval

    checkout = Path(__file__).parents[1] / "eval_tasks"
    return checkout if checkout.is_dir() else Path(lm_eval.__file__).parent / "tasks" / SUITE


def task_manager(config: EvaluateConfig, metadata: Mapping[str, Any]) -> Any:
    """A task manager that knows the suite, and all of lm-eval's tasks only where asked for."""
    from lm_eval.tasks import TaskManager

    folders = [str(suite_folder())] + ([config.include_path] if config.include_path else [])
    own = TaskManager(include_path=folders, include_defaults=False, metadata={**metadata} or None)
    if set(config.tasks) <= set(own.all_tasks):
        return own
    # Indexing everything takes seconds; the wheel's copy of the suite is in there already.
    return TaskManager(
        include_path=config.include_path if "lm_eval" in folders[0] else folders,
        metadata={**metadata} or None,
    )


def read_scores(output: Mapping[str, Any]) -> dict[str, Score]:
    """One score per ability from lm-eval's results; groups are left to their tasks."""
    scores = {}
    for task, row in output["results"].items():
        if output.get("group_subtasks", {}).get(task):
            continue
        metrics = {
            name.split(",")[0]: (name, value)
            for name, value in row.items()
            if "," in name and "_stderr," not in name and _is_number(value)
        }
        if not metrics:
            continue
        metric = next((name for name in PREFERRED_METRICS if name in metrics), min(metrics))
        name, value = metrics[metric]
        stderr = row.get(name.replace(metric, f"{metric}_stderr", 1))
        scores[ability_of(task)] = Score(
            task=task,
            metric=metric,
            value=float(value),
            stderr=float(stderr) if _is_number(stderr) else None,
            n=int(output.get("n-samples", {}).get(task, {}).get("effective", 0)),
        )
    return scores


def _is_number(value: Any) -> bool:
    """Whether lm-eval gave a number: it writes "N/A" for none, and NaN where nothing was judged."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def _read_details(output: Mapping[str, Any]) -> dict[str, Any]:
    """What the tasks record of how they scored, such as the sandbox's level."""
    details: dict[str, Any] = {}
    for config in output.get("configs", {}).values():
        details |= (config.get("dataset_kwargs") or {}).get("record") or {}
    return details


def _read_samples(output: Mapping[str, Any], per_task: int) -> Iterator[dict[str, Any]]:
    for task, samples in (output.get("samples") or {}).items():
        for sample in samples[:per_task]:
            first = sample["arguments"][0]
            answer = sample["resps"][0]
            while isinstance(answer, (list, tuple)) and answer:
                answer = answer[0]
            yield {
                "ability": ability_of(task),
                "prompt": str(first[0] if isinstance(first, (list, tuple)) else first),
                "answer": str(answer),
                "passed": bool(sample.get(COMMON_METRIC)),
            }


@contextlib.contextmanager
def _undisturbed(model: Any) -> Iterator[None]:
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
