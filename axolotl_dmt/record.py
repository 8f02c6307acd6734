"""Keeps a run's results file true while it trains, and writes the report at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from axolotl_dmt.args import EvaluateConfig
from axolotl_dmt.earlier_run import PLAN, set_aside
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hook_loading import shown
from axolotl_dmt.inputs import Domain
from axolotl_dmt.kept_config import SOURCES, save_config, sources
from axolotl_dmt.results import HARDWARE, Results, Score, StageResult
from axolotl_dmt.scored import Scored
from axolotl_dmt.training_plan import StagePlan, TrainingPlan

LOG = logging.getLogger("axolotl_dmt")

RESULTS_FILE = "results.json"
EVALUATE = "evaluate"
HOOKS = "hooks"


def with_scores(result: StageResult, scored: Scored) -> StageResult:
    """A stage's result with these scores in it."""
    return replace(
        result,
        scores=scored.scores,
        error=scored.error,
        samples=scored.samples,
        extra={**result.extra, **({"scored_with": dict(scored.details)} if scored.details else {})},
    )


class Recorder:
    """Writes `OUTPUT_DIR/dmt/results.json` after every stage; only the main process writes.

    What an earlier run left is set aside where a new one starts; a resumed run goes on with its
    own.
    """

    def __init__(
        self,
        folder: Path,
        plan: TrainingPlan,
        *,
        writes: bool,
        versions: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        evaluate: EvaluateConfig | None = None,
        config: Mapping[str, Any] | None = None,
        domains: Sequence[Domain] = (),
        hooks: Sequence[str] = (),
        hardware: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.plan, self.writes, self.config = folder, plan, writes, config
        self.results = Results(
            plan_fingerprint=plan.fingerprint,
            plan=plan.to_json(),
            versions=versions or {},
            settings=settings or {},
            # for `axolotl dmt evaluate` and `axolotl dmt recipe export`
            extra=(
                ({EVALUATE: evaluate.model_dump(exclude_none=True)} if evaluate else {})
                | ({SOURCES: sources(config, domains)} if config else {})
                | ({HOOKS: [shown(name) for name in hooks]} if hooks else {})
                | ({HARDWARE: dict(hardware)} if hardware else {})
            ),
        )
        self.timings: dict[str, float] = {}
        self.started = time.monotonic()
        self.reports: list[Path] = []

    @property
    def path(self) -> Path:
        """The results file."""
        return self.folder / RESULTS_FILE

    def start(self, *, resumed: bool, wait: Callable[[], None]) -> None:
        """Take up the file of an interrupted run, or set an older run aside; keep the YAML.

        Args:
            resumed: the run goes on from a checkpoint.
            wait: until every rank is here.
        """
        earlier = Results.load(self.path) if resumed and self.path.is_file() else None
        goes_on = resumed and self._is_the_same(earlier)
        if goes_on and earlier is not None:
            self.results = replace(self.results, stages=earlier.stages, baseline=earlier.baseline)
            self.timings = dict(earlier.timings)
        wait()  # every rank has read what is moved now
        if self.writes and not goes_on:
            kept = set_aside(self.folder.parent, with_checkpoints=not resumed)
            if kept is not None:
                LOG.warning("what an earlier run left here is kept in %s", kept)
        if self.writes and self.config:
            save_config(self.config, self.folder)
        wait()

    def _is_the_same(self, earlier: Results | None) -> bool:
        """Whether the run that the folder holds, with these results, was trained by this plan."""
        if earlier is not None:
            return earlier.plan_fingerprint == self.plan.fingerprint
        try:
            return TrainingPlan.load(self.folder / PLAN).fingerprint == self.plan.fingerprint
        except DMTError:  # nothing says otherwise
            return True

    def is_scored(self, stage: StagePlan) -> bool:
        """Whether this stage was scored without an error, by this run or the one it resumes."""
        return any(
            done.name == stage.name and done.scores and not done.error
            for done in self.results.stages
        )

    def scores(self, stage: StagePlan) -> Mapping[str, Score]:
        """A stage's score by ability, as far as it has any."""
        found = (done.scores for done in self.results.stages if done.name == stage.name)
        return next(found, {})

    def baseline(self, scored: Scored) -> None:
        """Record the scores from before the first stage."""
        self.timings["evaluate before"] = scored.seconds
        result = self._result("baseline", 0, {}, scored)
        self.results = replace(self.results, baseline=result)
        self._save()

    def stage_trained(self, stage: StagePlan, *, seconds: float) -> None:
        """Record how long a stage took to train."""
        self.timings[f"train {stage.name}"] = seconds

    def stage_done(
        self, stage: StagePlan, scored: Scored | None, losses: Mapping[str, float]
    ) -> None:
        """Record a stage's end, with its scores and held-out losses where there are any."""
        if scored is not None:
            self.timings[f"evaluate {stage.name}"] = scored.seconds
        rows = {name: draw.rows for name, draw in stage.domains.items()}
        result = self._result(stage.name, stage.end_step, rows, scored)
        if losses:
            result = replace(result, extra={**result.extra, "held_out_loss": dict(losses)})
        self.results = self.results.with_stage(result)
        self._save()

    def finish(self, log_history: Sequence[Mapping[str, Any]]) -> None:
        """Write the last state and the report."""
        curve = tuple(
            {
                "step": entry["step"],
                "stage": self.plan.stages[self.plan.stage_at(entry["step"] - 1)].name,
                "loss": entry["loss"],
                "learning_rate": entry.get("learning_rate"),
            }
            for entry in log_history
            if "loss" in entry and entry.get("step", 0) > 0
        )
        self.timings["train and evaluate"] = time.monotonic() - self.started
        self.results = replace(self.results, learning_curve=curve)
        self._save()
        if self.writes:
            from axolotl_dmt.report import write_report

            self.reports = write_report(self.results, self.folder)

    def show(self) -> None:
        """Print the table of abilities by stage, and where the report lies."""
        if not self.writes or not self.reports:
            return
        from rich.console import Console

        from axolotl_dmt.report_terminal import terminal_table

        console = Console()
        console.print()
        console.print(terminal_table(self.results))
        for path in self.reports:
            console.print(f"  {path}", style="dim", highlight=False)

    def _result(
        self, name: str, end_step: int, rows: Mapping[str, int], scored: Scored | None
    ) -> StageResult:
        result = StageResult(name=name, end_step=end_step, rows=rows)
        return result if scored is None else with_scores(result, scored)

    def _save(self) -> None:
        self.results = replace(self.results, timings=dict(self.timings))
        if self.writes:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.results.save(self.path)
