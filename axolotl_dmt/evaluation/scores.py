"""Scores and samples by ability, read from the output of lm-evaluation-harness."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.calls import adjusted_scores
from axolotl_dmt.results.items import Item
from axolotl_dmt.results.results import PARTS, Sample, Score, StageResult
from axolotl_dmt.results.secrets import masked_text

SUITE = "dmt_suite"
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
        items: every item for the ledger; only where the evaluation ran, since they may be large.
        generation: how the answers were generated: tokens, seconds, tokens per second.
    """

    scores: Mapping[str, Score] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    items: tuple[Item, ...] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        output: Mapping[str, Any],
        *,
        samples: int,
        seconds: float,
        items: tuple[Item, ...] = (),
    ) -> Evaluation:
        """Read the output of `lm_eval.simple_evaluate`.

        Args:
            output: the output.
            samples: number of answers to keep for each task.
            seconds: wall time of the evaluation.
            items: its items for the ledger.

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
            items=items if scores else (),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the items, which another process reads with `from_json`."""
        return {
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "samples": [vars(sample) for sample in self.samples],
            "seconds": self.seconds,
            "error": self.error,
            "details": dict(self.details),
            "generation": dict(self.generation),
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
            generation=data.get("generation", {}),
        )


def with_scores(result: StageResult, evaluation: Evaluation) -> StageResult:
    """Return a stage's result with the scores, samples and error of an evaluation."""
    details: dict[str, Any] = {}
    if evaluation.details:
        details["scored_with"] = dict(evaluation.details)
    if evaluation.generation:
        details["generation"] = dict(evaluation.generation)
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
    """Return one score per ability from lm-eval's output.

    A group with a number of its own, such as `mmlu`, is one ability, and its score holds the scores
    of its parts under `PARTS`. The tasks of dmt_suite are abilities by themselves, like those of a
    group without a number.
    """
    results, groups = output["results"], output.get("group_subtasks", {})
    abilities = group_abilities(output)
    scores = {}
    for task in results:
        if abilities.get(task, task) != task:
            continue
        parts = _leaves(task, groups)
        score = _score(output, task, parts)
        if score is not None and (not parts or _is_ability(output, task)):
            scores[ability_of(task)] = score
    return scores


def group_abilities(output: Mapping[str, Any]) -> dict[str, str]:
    """Return {task: the outermost group that is its ability}, for the parts of such groups."""
    groups = output.get("group_subtasks", {})
    inner = {part for parts in groups.values() for part in parts}
    outermost_first = sorted(groups, key=lambda group: group in inner)
    abilities: dict[str, str] = {}
    for group in outermost_first:
        if group not in abilities and _is_ability(output, group):
            subgroups = [name for name in _below(group, groups) if name != group]
            abilities |= dict.fromkeys(subgroups, group)
    return abilities


def _is_ability(output: Mapping[str, Any], group: str) -> bool:
    parts = output.get("group_subtasks", {}).get(group)
    return bool(parts) and group != SUITE and _metrics(output["results"].get(group, {})) != {}


def _below(group: str, groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a group and everything in it."""
    yield group
    for part in groups.get(group) or ():
        yield from _below(part, groups)


def _leaves(task: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the tasks of a group; none for a task."""
    return [name for name in _below(task, groups) if name != task and not groups.get(name)]


def _metrics(row: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """Return {metric: (its column in lm-eval's row, its value)}."""
    return {
        name.split(",")[0]: (name, value)
        for name, value in row.items()
        if "," in name and "_stderr," not in name and _is_number(value)
    }


def _score(output: Mapping[str, Any], task: str, parts: Sequence[str]) -> Score | None:
    """Return the score of a task, or of a group with these tasks; None if it has none."""
    row = output["results"].get(task, {})
    metric = _preferred(metrics := _metrics(row))
    if metric is None:
        return None
    name, value = metrics[metric]
    stderr = row.get(name.replace(metric, f"{metric}_stderr", 1))
    scored = {part: score for part in parts if (score := _score(output, part, ()))}
    counts = output.get("n-samples", {})
    return Score(
        task=task,
        metric=metric,
        value=float(value),
        stderr=float(stderr) if _is_number(stderr) else None,
        n=sum(int(counts.get(part, {}).get("effective", 0)) for part in parts or (task,)),
        extra={PARTS: {part: score.to_json() for part, score in scored.items()}} if scored else {},
    )


def _preferred(metrics: Mapping[str, Any]) -> str | None:
    if not metrics:
        return None
    return next((name for name in PREFERRED_METRICS if name in metrics), min(metrics))


def score_column(output: Mapping[str, Any], scored_by: str, task: str) -> tuple[str, str] | None:
    """Return the metric and the filter that score the items of a task.

    Args:
        output: lm-eval's output.
        scored_by: the task, or the group of tasks that is its ability.
        task: the task.

    Returns:
        They are those of the ability's score, where the task has them; None without any metric.
    """
    metrics = _metrics(output["results"].get(task, {}))
    metric = _preferred(_metrics(output["results"].get(scored_by, {})))
    if metric not in metrics:
        metric = _preferred(metrics)
    if metric is None:
        return None
    return metric, metrics[metric][0].partition(",")[2]


def scored_samples(
    output: Mapping[str, Any], scored_by: str, task: str
) -> tuple[str, list[Any]] | None:
    """Return the metric of a task's items, and its samples, each item once.

    lm-eval lists an item once for each filter; the filter is that of the score.

    Args:
        output: lm-eval's output.
        scored_by: the task, or the group of tasks that is its ability.
        task: the task.

    Returns:
        None without any metric.
    """
    column = score_column(output, scored_by, task)
    if column is None:
        return None
    metric, filter_name = column
    samples = output["samples"][task]
    return metric, [s for s in samples if s.get("filter", filter_name) == filter_name]


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number; lm-eval writes "N/A", or NaN where nothing was judged."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def _read_details(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tasks record about how they scored, such as the sandbox level."""
    details: dict[str, Any] = {}
    for config in output.get("configs", {}).values():
        details |= (config.get("dataset_kwargs") or {}).get("record") or {}
    return details


def _read_samples(output: Mapping[str, Any], per_ability: int) -> Iterator[Sample]:
    """Yield the first `per_ability` samples of each ability in lm-eval's output."""
    abilities, read = group_abilities(output), Counter[str]()
    for task, samples in (output.get("samples") or {}).items():
        scored_by = abilities.get(task, task)
        ability = ability_of(scored_by)
        metric, once = scored_samples(output, scored_by, task) or (COMMON_METRIC, samples)
        for sample in once[: max(0, per_ability - read[ability])]:
            read[ability] += 1
            request = sample["arguments"][0]
            answer = sample["resps"][0]
            while isinstance(answer, (list, tuple)) and answer:
                answer = answer[0]
            yield Sample(
                ability=ability,
                prompt=str(request[0] if isinstance(request, (list, tuple)) else request),
                answer=str(answer),
                passed=verdict(sample.get(metric)),
            )


def verdict(value: Any) -> bool | None:
    """Return whether an item passed by its metric; None for a grade between, or no number."""
    return value == 1 if isinstance(value, (int, float)) and value in (0, 1) else None
