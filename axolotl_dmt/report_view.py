"""What every form of the report shows, computed once: the lines of the table and their wording."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from axolotl_dmt import metrics, paper
from axolotl_dmt.results import Results, Score

MISSING = "–"

HOW_TO_READ = (
    "Retention is an ability's score after the last stage over its best score after any earlier "
    "stage, and forgetting is that best minus the last: 100% and 0 mean that nothing was lost. "
    "Scores carry one standard error (±): a change of less than about two of them may be chance."
)


@dataclass(frozen=True, kw_only=True)
class AbilityLine:
    """One ability through the run.

    Attributes:
        name: the ability.
        tasks: the lm-eval tasks that scored it, as a rule one.
        scores: after each scored point (baseline first where there is one); None where missing.
        best: index into `scores` of the best stage before the last; None where there is none.
        retention: last over best, or None.
        forgetting: best minus last, or None.
        forgetting_stderr: an upper estimate of its standard error, or None.
    """

    name: str
    tasks: tuple[str, ...]
    scores: tuple[Score | None, ...]
    best: int | None
    retention: float | None
    forgetting: float | None
    forgetting_stderr: float | None

    def change(self, index: int) -> float | None:
        """The score at an index minus the one before it; None where either is missing."""
        if index == 0:
            return None
        after, before = self.scores[index], self.scores[index - 1]
        return after.value - before.value if after and before else None

    @property
    def n(self) -> str:
        """How many items were scored: one number, or a range where stages differ."""
        counts = sorted({score.n for score in self.scores if score})
        return (
            MISSING
            if not counts
            else "-".join(dict.fromkeys(f"{n}" for n in (counts[0], counts[-1])))
        )


def ability_lines(results: Results) -> list[AbilityLine]:
    """One line per ability, in display order."""
    matrix = results.matrix()
    kept, lost = metrics.retention(matrix), metrics.forgetting(matrix)
    points = results.points()
    shift = len(points) - len(results.stages)
    lines = []
    for ability in matrix.abilities:
        scores = tuple(_present(point.scores.get(ability)) for point in points)
        best = matrix.best_earlier_stage(ability)
        best = None if best is None else best + shift
        last = scores[-1] if results.stages else None
        before = None if best is None else scores[best]
        lines.append(
            AbilityLine(
                name=ability,
                tasks=tuple(dict.fromkeys(score.task for score in scores if score)),
                scores=scores,
                best=best,
                retention=kept[ability],
                forgetting=lost[ability],
                forgetting_stderr=metrics.difference_stderr(
                    metrics.finite(last.stderr) if last else None,
                    metrics.finite(before.stderr) if before else None,
                ),
            )
        )
    return lines


def _present(score: Score | None) -> Score | None:
    return score if score and metrics.finite(score.value) is not None else None


def domains(results: Results) -> list[str]:
    """Every domain that the stages or the plan name, in order of appearance."""
    planned = (stage.get("domains") or {} for stage in (results.plan or {}).get("stages", ()))
    return list(dict.fromkeys([*(d for s in results.stages for d in s.rows), *_joined(planned)]))


def _joined(groups: Iterable[Iterable[str]]) -> list[str]:
    return [item for group in groups for item in group]


def was_scored(results: Results) -> bool:
    """Whether any stage has a score to show."""
    return any(score for line in ability_lines(results) for score in line.scores)


def errors(results: Results) -> list[tuple[str, str]]:
    """(stage, why its evaluation failed)."""
    return [(stage.name, stage.error) for stage in results.points() if stage.error is not None]


def quoted(results: Results) -> tuple[str, tuple[paper.QuotedRow, ...]] | None:
    """The paper's size and rows where the base model is comparable, else None."""
    size = paper.comparable_size(str(results.settings.get("base_model", "")))
    return (size, paper.quoted_rows(size)) if size else None


def number(value: float | None, *, sign: bool = False) -> str:
    """A score: three decimals up to 1, two above (a judge's 1 to 10)."""
    if metrics.finite(value) is None or value is None:
        return MISSING
    decimals = 3 if abs(value) <= 1 else 2
    return f"{value:{'+' if sign else ''}.{decimals}f}"


def with_error(value: float | None, stderr: float | None) -> str:
    """`0.912 ± 0.008`, or the value alone where the error is unknown."""
    if metrics.finite(stderr) is None or metrics.finite(value) is None:
        return number(value)
    return f"{number(value)} ± {number(stderr)}"


def percent(value: float | None) -> str:
    """A ratio as a percentage of no more than one decimal."""
    return MISSING if value is None else f"{100 * value:.1f}%"


def count(value: float | int | None) -> str:
    """A count in groups of three: `110,142`."""
    return MISSING if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: `0.4 s`, `42 s`, `3 min 05 s`, `2 h 07 min`."""
    if metrics.finite(seconds) is None or seconds is None:
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(dotted key, value) of nested settings."""
    found = []
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            found += flat(item, f"{prefix}{key}.")
        else:
            text = item if isinstance(item, str) else json.dumps(item, default=str)
            found.append((f"{prefix}{key}", text))
    return found
