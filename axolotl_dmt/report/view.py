"""The content of a report on a run, computed once for all its forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from axolotl_dmt.chart_style import colours_of
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.row_counts import RowCounts
from axolotl_dmt.report import paper
from axolotl_dmt.report.format import MISSING
from axolotl_dmt.results import metrics
from axolotl_dmt.results.changes import BEST, Change, run_ledger, stage_changes
from axolotl_dmt.results.config_file import load_config
from axolotl_dmt.results.contamination import CleanScore, clean_scores
from axolotl_dmt.results.costs import Cost, stage_costs, total_costs
from axolotl_dmt.results.flips import Flips, stage_flips
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.nearest_rows import NearestRows, read_nearest
from axolotl_dmt.results.paired import PairedDifference
from axolotl_dmt.results.results import PARTS, Results, Score, StageResult

_RETENTION = (
    "Retention is an ability's score after the last stage divided by its best score after any "
    "earlier stage, and forgetting is that best score minus the last: 100% and 0 mean that nothing "
    "was lost. Where the last score is the higher one, the gain stands in place of the percentage. "
)
_START = "Against the start, a score is compared with that of the model before training. "
_ERRORS = (
    "Scores are given with one standard error (±): a change of less than about two of "
    "them may be chance."
)
MOST_FLIPS = 20
"""The number of items that a page shows of each ability, stage and direction."""


def how_to_read(*, with_start: bool = False) -> str:
    """Return how to read a table of scores.

    Args:
        with_start: whether the table compares scores with those of the model before training.
    """
    return f"{_RETENTION}{_START if with_start else ''}{_ERRORS}"


@dataclass(frozen=True, kw_only=True)
class AbilityLine:
    """One ability throughout a run.

    Attributes:
        name: the ability.
        tasks: the lm-eval tasks that scored it, usually one.
        scores: one for each point of the view; None where missing.
        best: index into `scores` of the best stage before the last; None where there is none.
        retention: last score divided by the best earlier one, or None.
        forgetting: best earlier score minus the last, or None.
        forgetting_stderr: its standard error, or None. Where the run has no ledger of items, it is
            an upper estimate that treats the two scores as independent.
        start: the score before training, or None.
    """

    name: str
    tasks: tuple[str, ...]
    scores: tuple[Score | None, ...]
    best: int | None
    retention: float | None
    forgetting: float | None
    forgetting_stderr: float | None
    start: Score | None = None

    def change(self, index: int) -> float | None:
        """Return the score at an index minus the one before it; None if either is missing."""
        if index == 0:
            return None
        after, before = self.scores[index], self.scores[index - 1]
        return after.value - before.value if after and before else None

    @property
    def parts(self) -> dict[str, tuple[Score | None, ...]]:
        """{task: its score at each point}, for an ability that is a group of tasks."""
        points = [(score.extra.get(PARTS) or {}) if score else {} for score in self.scores]
        names = dict.fromkeys(name for parts in points for name in parts)
        return {
            name: tuple(Score.from_json(parts[name]) if name in parts else None for parts in points)
            for name in names
        }

    @property
    def last(self) -> Score | None:
        """The score after the last stage."""
        return self.scores[-1] if self.scores else None

    @property
    def from_start(self) -> float | None:
        """The last score minus that before training; None where either is missing."""
        return self.last.value - self.start.value if self.last and self.start else None

    @property
    def best_earlier(self) -> Score | None:
        """The best score after any stage before the last."""
        return None if self.best is None else self.scores[self.best]

    @property
    def scale(self) -> float:
        """The top of the ability's scale, and no less than its highest score."""
        values = [score.value for score in self.scores if score]
        return max(metrics.scale_top(values), *values) if values else 1.0

    @property
    def n(self) -> str:
        """The number of items scored, or a range where stages differ."""
        counts = sorted({score.n for score in self.scores if score})
        return "-".join(dict.fromkeys(map(str, (counts[0], counts[-1])))) if counts else MISSING


@dataclass(frozen=True, kw_only=True)
class QuotedTable:
    """The paper's results beside a base model that the paper used.

    Attributes:
        size: the paper's model size, such as "7B".
        rows: its strategies.
    """

    size: str
    rows: tuple[paper.QuotedRow, ...]


@dataclass(frozen=True, kw_only=True)
class ReportView:
    """One run as its terminal table, Markdown, HTML, pictures and model card show it.

    Attributes:
        results: the run.
        points: the baseline, where there is one, and the stages.
        lines: one for each ability, in display order.
        errors: {stage: why its evaluation failed}.
        domains: every domain that the stages or the plan name, in order of appearance.
        costs: tokens and time of each stage and, where there are several, of all stages.
        quoted: the paper's results, where the base model is comparable.
        name: the name of the run's folder, or empty.
        schedule: how the stages were chosen, such as `strategy dmt, k = 1/256`, or empty.
        changes: what changed on the same items; empty where the run has no ledger.
        output_dir: the run's folder, or None.
    """

    results: Results
    points: tuple[StageResult, ...]
    lines: tuple[AbilityLine, ...]
    errors: Mapping[str, str]
    domains: tuple[str, ...]
    costs: tuple[Cost, ...]
    quoted: QuotedTable | None
    name: str = ""
    schedule: str = ""
    changes: tuple[Change, ...] = ()
    output_dir: Path | None = None

    @classmethod
    def of(cls, results: Results, output_dir: Path | None = None) -> ReportView:
        """Compute the view of a run.

        Args:
            results: the run.
            output_dir: its folder, which gives the run its name, and whose copy of the YAML says
                how the stages were chosen.
        """
        points = results.points()
        costs = stage_costs(results)
        changes = _changes(results, output_dir)
        return cls(
            results=results,
            points=points,
            lines=_ability_lines(results, points, changes),
            errors={point.name: point.error for point in points if point.error is not None},
            domains=_domains(results),
            costs=(*costs, *([total_costs(results)] if len(costs) > 1 else [])),
            quoted=_quoted(results),
            name=output_dir.resolve().name if output_dir else "",
            schedule=_schedule(results, output_dir),
            changes=changes,
            output_dir=output_dir,
        )

    @property
    def model(self) -> str:
        """The base model as the YAML names it; empty where the results do not say it."""
        return str(self.results.settings.get("base_model") or "")

    @property
    def title(self) -> str:
        """The name of the run, or what else there is to tell it from others."""
        return self.name or self.model or "DMT run"

    @property
    def subtitle(self) -> str:
        """The run's model and strategy, as far as they are known and not the title."""
        model = f"base model {self.model}" if self.model and self.name else ""
        return ", ".join(filter(None, (model, self.schedule)))

    @cached_property
    def loss_warning(self) -> str:
        """A sentence on logged steps whose loss was NaN or infinite; empty where there are none."""
        logged = [entry for entry in self.results.learning_curve if "loss" in entry]
        bad = [entry for entry in logged if metrics.finite(entry["loss"]) is None]
        if not bad:
            return ""
        first = bad[0]
        return (
            f"The training loss was NaN or infinite at {len(bad):,} of {len(logged):,} logged "
            f"steps, first at step {first.get('step', MISSING)} in stage "
            f"{first.get('stage') or MISSING}. The models from there on may be unusable."
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the points."""
        return tuple(point.name for point in self.points)

    @property
    def first_number(self) -> int:
        """The number of the first point: the baseline is 0, and stages are counted from 1."""
        return 0 if self.results.baseline else 1

    @property
    def was_scored(self) -> bool:
        """Whether any point has a score to show."""
        return any(score for line in self.lines for score in line.scores)

    @property
    def has_start(self) -> bool:
        """Whether any ability was scored before training."""
        return any(line.start is not None for line in self.lines)

    @property
    def how_to_read(self) -> str:
        """How to read the table of scores."""
        return how_to_read(with_start=self.has_start)

    @cached_property
    def domain_colours(self) -> dict[str, str]:
        """{domain: its colour in every chart}."""
        return colours_of(self.domains)

    @cached_property
    def ability_colours(self) -> dict[str, str]:
        """{ability: its colour in every chart}, that of the domain of the same name, if any."""
        return colours_of([line.name for line in self.lines], self.domain_colours)

    @property
    def colours(self) -> dict[str, str]:
        """{domain or ability: its colour in every chart}."""
        return {**self.domain_colours, **self.ability_colours}

    def change_from_best(self, ability: str) -> PairedDifference | None:
        """Return the change of an ability from its best earlier stage to the last, by its items."""
        last = self.results.stages[-1].name if self.results.stages else ""
        for change in self.changes:
            if (change.ability, change.after, change.reference) == (ability, last, BEST):
                return change.paired
        return None

    @cached_property
    def flips(self) -> tuple[Flips, ...]:
        """The items that each stage lost and won; empty where the run has no ledger."""
        if self.output_dir is None:
            return ()
        try:
            return stage_flips(self.output_dir, self.results, most=MOST_FLIPS)
        except DMTError:  # a report does not fail because of the ledger
            return ()

    @cached_property
    def nearest_rows(self) -> Mapping[str, NearestRows]:
        """{stage: the rows that are most like the items it lost}, where they were looked for."""
        return {} if self.output_dir is None else read_nearest(self.output_dir / "dmt")

    @cached_property
    def clean_scores(self) -> tuple[CleanScore, ...]:
        """The abilities with contaminated items, and their scores without these."""
        return () if self.output_dir is None else clean_scores(self.output_dir, self.results)

    def line(self, ability: str) -> AbilityLine | None:
        """Return the line of an ability, or None where the run has no such ability."""
        return next((line for line in self.lines if line.name == ability), None)

    def planned_stages(self) -> list[Mapping[str, Any]]:
        """Return the stages of the plan; empty where the results hold no plan."""
        return list((self.results.plan or {}).get("stages", ()))

    @cached_property
    def row_counts(self) -> tuple[RowCounts, ...]:
        """What became of the rows of each dataset; empty where the results do not say it."""
        return tuple(map(RowCounts.from_json, (self.results.plan or {}).get("data") or ()))


def _changes(results: Results, output_dir: Path | None) -> tuple[Change, ...]:
    """Return what changed on the same items, for the points that still have the ledger's scores."""
    if output_dir is None:
        return ()
    try:
        ledger = run_ledger(output_dir, results)
    except DMTError:  # a report does not fail because of the ledger
        return ()
    return stage_changes(ledger, [stage.name for stage in results.stages])


def _paired_stderr(changes: Sequence[Change], ability: str, stage: str) -> float | None:
    """Return the standard error of the change of an ability from its best earlier stage."""
    for change in changes:
        is_meant = (change.ability, change.after, change.reference) == (ability, stage, BEST)
        if is_meant and change.paired is not None:
            return change.paired.stderr
    return None


def _ability_lines(
    results: Results, points: tuple[StageResult, ...], changes: Sequence[Change]
) -> tuple[AbilityLine, ...]:
    matrix = results.matrix()
    retention, forgetting = metrics.retention(matrix), metrics.forgetting(matrix)
    shift = len(points) - len(results.stages)  # 1 with a baseline, which the matrix omits
    lines = []
    for ability in matrix.abilities:
        scores = tuple(_present(point.scores.get(ability)) for point in points)
        best = matrix.best_earlier_stage(ability)
        best = None if best is None else best + shift
        last = scores[-1] if results.stages else None
        best_score = None if best is None else scores[best]
        stderr = _paired_stderr(changes, ability, points[-1].name) if points else None
        if stderr is None:
            stderr = metrics.difference_stderr(
                metrics.finite(last.stderr) if last else None,
                metrics.finite(best_score.stderr) if best_score else None,
            )
        start = scores[0] if results.baseline and scores else None
        lines.append(
            AbilityLine(
                name=ability,
                tasks=tuple(dict.fromkeys(score.task for score in scores if score)),
                scores=scores,
                best=best,
                retention=retention[ability],
                forgetting=forgetting[ability],
                forgetting_stderr=stderr,
                start=start if results.stages else None,
            )
        )
    return tuple(lines)


def _present(score: Score | None) -> Score | None:
    return score if score and metrics.finite(score.value) is not None else None


def _domains(results: Results) -> tuple[str, ...]:
    trained = [domain for stage in results.stages for domain in stage.rows]
    planned = (results.plan or {}).get("stages", ())
    return tuple(dict.fromkeys([*trained, *(d for s in planned for d in s.get("domains") or {})]))


def _schedule(results: Results, output_dir: Path | None) -> str:
    """Return how the stages were chosen, from the run's copy of its YAML; empty if unknown."""
    block = results.settings.get("dmt")
    if output_dir and RunFolder(output_dir).config.is_file():
        with suppress(DMTError):  # a report does not fail because of the copy
            block = load_config(output_dir).get("dmt")
    if not isinstance(block, Mapping):
        return ""
    if not block.get("strategy"):
        return "custom stages" if block.get("stages") else ""
    details = [f"{key} = {block[key]}" for key in ("k", "domain") if block.get(key) is not None]
    return ", ".join([f"strategy {block['strategy']}", *details])


def all_colours(views: Sequence[ReportView]) -> dict[str, str]:
    """Return {ability: its colour in charts of several runs}."""
    domains = colours_of(dict.fromkeys(d for view in views for d in view.domains))
    return colours_of(dict.fromkeys(line.name for view in views for line in view.lines), domains)


def _quoted(results: Results) -> QuotedTable | None:
    size = paper.comparable_size(str(results.settings.get("base_model", "")))
    return QuotedTable(size=size, rows=paper.quoted_rows(size)) if size else None
