"""What lm-evaluation-harness gives back, as scores and samples of abilities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks import adjusted_scores
from axolotl_dmt.results import Sample, Score

COMMON_METRIC = "dmt_score"
PREFERRED_METRICS = (COMMON_METRIC, "exact_match", "pass@1", "acc_norm", "acc")
"""Metric taken as a task's score, the first that it has; else its first one."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What one evaluation gave.

    Attributes:
        scores: by ability; empty on ranks other than 0 and where the evaluation failed.
        samples: answers for the report.
        seconds: wall time.
        error: why it failed, or None.
        details: anything the tasks say of how they scored, such as the sandbox level.
    """

    scores: Mapping[str, Score] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, output: Mapping[str, Any], *, samples: int, seconds: float) -> Scored:
        """Read what `lm_eval.simple_evaluate` returned.

        Args:
            output: its result.
            samples: answers to keep per task.
            seconds: wall time it took.

        Returns:
            The scores as the plugins want them; where one fails, none and its error.
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
        """Plain values, for handing it from one process to another."""
        return {
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "samples": [vars(sample) for sample in self.samples],
            "seconds": self.seconds,
            "error": self.error,
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scored:
        """The inverse of `to_json`."""
        return cls(
            scores={name: Score.from_json(score) for name, score in data["scores"].items()},
            samples=tuple(Sample(**sample) for sample in data["samples"]),
            seconds=data["seconds"],
            error=data["error"],
            details=data["details"],
        )


def described(error: Exception) -> str:
    """A failure in one string, as results and logs say it."""
    return f"{type(error).__name__}: {error}"


def ability_of(task: str) -> str:
    """`dmt_math` scores `math`; any other task is an ability under its own name."""
    return task.removeprefix("dmt_")


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


def _read_samples(output: Mapping[str, Any], per_task: int) -> Iterator[Sample]:
    for task, samples in (output.get("samples") or {}).items():
        for sample in samples[:per_task]:
            first = sample["arguments"][0]
            answer = sample["resps"][0]
            while isinstance(answer, (list, tuple)) and answer:
                answer = answer[0]
            yield Sample(
                ability=ability_of(task),
                prompt=str(first[0] if isinstance(first, (list, tuple)) else first),
                answer=str(answer),
                passed=bool(sample.get(COMMON_METRIC)),
            )
