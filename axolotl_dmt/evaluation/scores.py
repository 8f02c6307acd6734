"""Scores and samples by ability, read from the output of lm-evaluation-harness."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.calls import adjusted_scores
from axolotl_dmt.results.results import Sample, Score, StageResult
from axolotl_dmt.results.secrets import masked_text

COMMON_METRIC = "dmt_score"
PREFERRED_METRICS = (COMMON_METRIC, "exact_match", "pass@1", "acc_norm", "acc")
"""A task's score is the first of these metrics that it has, else its alphabetically first one."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The outcome of one evaluation of one model.

    Attributes:
        scores: the score of each ability; empty on ranks other than 0 and where the evaluation
            failed.
        samples: answers for the report.
        seconds: wall time.
        error: why the evaluation failed, or None.
        details: what the tasks record about how they scored, such as the sandbox level.
    """

    scores: Mapping[str, Score] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, output: Mapping[str, Any], *, samples: int, seconds: float) -> Evaluation:
        """Read the output of `lm_eval.simple_evaluate`.

        Args:
            output: the output.
            samples: number of answers to keep for each task.
            seconds: wall time of the evaluation.

        Returns:
            The evaluation with the scores that the plugins adjusted; where a plugin fails, it has
            no scores and the plugin's error.
        """
        scores, error = read_scores(output), None
        try:
            scores = adjusted_scores(scores, output)
        except DMTError as failure:  # hours of training are worth more than one score
            scores, error = {}, str(failure)
        return cls(
            scores=scores,
            error=error,
            samples=tuple(_read_samples(output, samples)),
            seconds=seconds,
            details=_read_details(output),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values, which another process can read with `from_json`."""
        return {
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "samples": [vars(sample) for sample in self.samples],
            "seconds": self.seconds,
            "error": self.error,
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that `to_json` wrote."""
        return cls(
            scores={name: Score.from_json(score) for name, score in data["scores"].items()},
            samples=tuple(Sample(**sample) for sample in data["samples"]),
            seconds=data["seconds"],
            error=data["error"],
            details=data["details"],
        )


def with_scores(result: StageResult, evaluation: Evaluation) -> StageResult:
    """Return a stage's result with the scores, samples and error of an evaluation."""
    details = {"scored_with": dict(evaluation.details)} if evaluation.details else {}
    return replace(
        result,
        scores=evaluation.scores,
        error=evaluation.error,
        samples=evaluation.samples,
        extra={**result.extra, **details},
    )


def error_text(error: Exception) -> str:
    """Return the type and message of an exception, for results and logs, without secrets."""
    return f"{type(error).__name__}: {masked_text(str(error))}"


def ability_of(task: str) -> str:
    """Return the ability that a task scores: `math` for `dmt_math`, else the task's own name."""
    return task.removeprefix("dmt_")


def read_scores(output: Mapping[str, Any]) -> dict[str, Score]:
    """Return one score per ability from lm-eval's output; rows of task groups are skipped."""
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
    """Whether a value is a finite number; lm-eval writes "N/A", or NaN where nothing was judged."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def _read_details(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tasks record about how they scored, such as the sandbox level."""
    details: dict[str, Any] = {}
    for config in output.get("configs", {}).values():
        details |= (config.get("dataset_kwargs") or {}).get("record") or {}
    return details


def _read_samples(output: Mapping[str, Any], per_task: int) -> Iterator[Sample]:
    """Yield the first `per_task` samples of each task in lm-eval's output."""
    for task, samples in (output.get("samples") or {}).items():
        for sample in samples[:per_task]:
            request = sample["arguments"][0]
            answer = sample["resps"][0]
            while isinstance(answer, (list, tuple)) and answer:
                answer = answer[0]
            yield Sample(
                ability=ability_of(task),
                prompt=str(request[0] if isinstance(request, (list, tuple)) else request),
                answer=str(answer),
                passed=bool(sample.get(COMMON_METRIC)),
            )
