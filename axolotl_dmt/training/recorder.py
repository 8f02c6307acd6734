"""Writes a run's results file while it trains, and its report at the end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.config.gate_args import GateConfig
from axolotl_dmt.config.keep_args import SolvedConfig
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError
from axolotl_dmt.evaluation.scores import Evaluation, with_scores
from axolotl_dmt.hooks.loading import display_name
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.plan.training_plan import StagePlan, TrainingPlan
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results.config_file import save_config, sources
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.held_out import with_held_out_losses
from axolotl_dmt.results.items import Point, record_items
from axolotl_dmt.results.results import (
    EVALUATE,
    HARDWARE,
    HOOKS,
    SOURCES,
    Results,
    Score,
    StageResult,
)
from axolotl_dmt.training.domain_loss import by_domain
from axolotl_dmt.training.earlier_run import set_aside
from axolotl_dmt.training.log import LOG

_EVALUATED: Final = re.compile(r"eval_(?P<domain>.+)_loss")
"""What the trainer calls the loss on the held-out rows of a domain."""


class Recorder:
    """Writes `OUTPUT_DIR/dmt/results.json` after every stage; only the main process writes.

    When a new run starts, the products of an earlier run in the same folder are set aside. A
    resumed run continues its own results.

    Attributes:
        folder: `OUTPUT_DIR/dmt`.
        plan: the plan that is trained.
        writes: whether this process writes files.
        config: the run's YAML, which is saved next to the results.
        results: the results so far.
        timings: seconds of each part of the run so far.
        reports: the paths of the report's files, once they are written.
    """

    def __init__(
        self,
        output_dir: Path,
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
        self.folder = RunFolder(output_dir)
        self.plan, self.writes, self.config = plan, writes, config
        self.results = Results(
            plan_fingerprint=plan.fingerprint,
            plan=plan.to_json(),
            versions=versions or {},
            settings=settings or {},
            # What `axolotl dmt evaluate` and `axolotl dmt recipe export` read.
            extra=(
                ({EVALUATE: evaluate.model_dump(exclude_none=True)} if evaluate else {})
                | ({SOURCES: sources(config, domains)} if config else {})
                | ({HOOKS: [display_name(name) for name in hooks]} if hooks else {})
                | ({HARDWARE: dict(hardware)} if hardware else {})
            ),
        )
        self.timings: dict[str, float] = {}
        self.started = time.monotonic()
        self.reports: list[Path] = []
        self._view: ReportView | None = None

    @property
    def path(self) -> Path:
        """The path of the results file."""
        return self.folder.results

    def view(self) -> ReportView:
        """Return the view of the results so far; it is computed once for each state of them."""
        if self._view is None or self._view.results is not self.results:
            self._view = ReportView.of(self.results, self.folder.output_dir)
        return self._view

    def start(self, *, resumed: bool, wait: Callable[[], None]) -> None:
        """Continue the results of the run that is resumed, or set an earlier run aside.

        The YAML is saved in both cases.

        Args:
            resumed: whether the run continues from a checkpoint.
            wait: returns once every rank has called it.

        Raises:
            DMTError: the results of the resumed run cannot be read.
        """
        earlier = Results.load(self.path) if resumed and self.path.is_file() else None
        continues = resumed and self._is_of_this_plan(earlier)
        if continues and earlier is not None:
            self.results = replace(self.results, stages=earlier.stages, baseline=earlier.baseline)
            self.timings = dict(earlier.timings)
        wait()  # all ranks must have read the files before they are moved
        if self.writes and not continues:
            moved_to = set_aside(self.folder.output_dir, with_checkpoints=not resumed)
            if moved_to is not None:
                LOG.warning("the files of an earlier run are kept in %s", moved_to)
        if self.writes and self.config:
            save_config(self.config, self.folder.output_dir)
        wait()

    def _is_of_this_plan(self, earlier: Results | None) -> bool:
        """Whether the run in the folder, which has these results, was trained by this plan."""
        if earlier is not None:
            return earlier.plan_fingerprint == self.plan.fingerprint
        try:
            return TrainingPlan.load(self.folder.plan).fingerprint == self.plan.fingerprint
        except DMTError:  # without a plan file, nothing contradicts it
            return True

    def is_scored(self, stage: StagePlan) -> bool:
        """Whether this run, or the run that it resumes, scored this stage without an error."""
        return any(
            result.name == stage.name and result.scores and not result.error
            for result in self.results.stages
        )

    def scores(self, stage: StagePlan) -> Mapping[str, Score]:
        """Return a stage's scores by ability; empty where it was not scored."""
        results = (result for result in self.results.stages if result.name == stage.name)
        return next((result.scores for result in results), {})

    def baseline(self, evaluation: Evaluation, losses: Mapping[str, float]) -> None:
        """Record the scores of the model before training, and its losses on held-out rows."""
        self.timings["evaluate before"] = evaluation.seconds
        result = with_held_out_losses(self._result("baseline", 0, {}, evaluation), losses)
        self.results = replace(self.results, baseline=result)
        self._record_items(Point.baseline(), evaluation)
        self._save()

    def stage_trained(self, stage: StagePlan, *, seconds: float) -> None:
        """Record the training time of a stage."""
        self.timings[f"train {stage.name}"] = seconds

    def stage_done(
        self, stage: StagePlan, evaluation: Evaluation | None, losses: Mapping[str, float]
    ) -> None:
        """Record that a stage ended.

        Args:
            stage: the stage.
            evaluation: its evaluation, or None where the stage is not scored.
            losses: {domain: loss on its held-out rows}.
        """
        if evaluation is not None:
            self.timings[f"evaluate {stage.name}"] = evaluation.seconds
            self._record_items(Point.stage(stage.name, stage.end_step), evaluation)
        rows = {name: draw.rows for name, draw in stage.domains.items()}
        result = self._result(stage.name, stage.end_step, rows, evaluation)
        self.results = self.results.with_stage(with_held_out_losses(result, losses))
        self._save()

    def stage_scored(self, name: str, evaluation: Evaluation) -> None:
        """Record the evaluation of a stage that was recorded without one.

        Args:
            name: the name of the stage.
            evaluation: its evaluation.
        """
        result = next(result for result in self.results.stages if result.name == name)
        self.timings[f"evaluate {name}"] = evaluation.seconds
        self._record_items(Point.stage(name, result.end_step), evaluation)
        self.results = self.results.with_stage(with_scores(result, evaluation))
        self._save()

    def step_scored(self, step: int, evaluation: Evaluation) -> None:
        """Record the items of an evaluation within a stage."""
        self._record_items(Point.at_step(step), evaluation)

    def finish(self, log_history: Sequence[Mapping[str, Any]]) -> None:
        """Write the report and the final results, with the learning curve.

        Args:
            log_history: the entries that the trainer logged.
        """
        curve = tuple(
            {
                "step": entry["step"],
                "stage": self.plan.stages[self.plan.stage_at(entry["step"] - 1)].name,
                "loss": entry["loss"],
                "learning_rate": entry.get("learning_rate"),
                **({"domain_loss": losses} if (losses := by_domain(entry)) else {}),
            }
            for entry in log_history
            if "loss" in entry and entry.get("step", 0) > 0
        )
        self.timings["train and evaluate"] = time.monotonic() - self.started
        self.results = replace(
            self.results, learning_curve=curve, held_out_curve=self._held_out_curve(log_history)
        )
        self._save()
        if self.writes:
            from axolotl_dmt.report.write import write_report

            self.reports = write_report(self.view(), self.folder.dmt)

    def _held_out_curve(
        self, log_history: Sequence[Mapping[str, Any]]
    ) -> tuple[Mapping[str, Any], ...]:
        """Return the losses on held-out rows at each step at which the trainer evaluated."""
        steps: dict[int, dict[str, float]] = {}
        for entry in log_history:
            for key, value in entry.items():
                if (name := _EVALUATED.fullmatch(key)) and entry.get("step", 0) > 0:
                    steps.setdefault(entry["step"], {})[name["domain"]] = value
        return tuple(
            {
                "step": step,
                "stage": self.plan.stages[self.plan.stage_at(step - 1)].name,
                "losses": losses,
            }
            for step, losses in sorted(steps.items())
        )

    def show(self) -> None:
        """Print the scores by stage, the path of the report, and what else is worth knowing."""
        if not self.writes or not self.reports:
            return
        from axolotl_dmt.report.console import Console
        from axolotl_dmt.report.terminal import print_end_of_run

        console = Console()
        console.print()
        print_end_of_run(self.view(), console, self.folder.report_html)

    def pass_gate(self, gate: GateConfig | None, solved: SolvedConfig | None) -> int:
        """Print what became of the gate's rules and of the floors that were solved.

        Returns:
            The exit status that they ask for; 0 on ranks that do not write.
        """
        if not self.writes:
            return 0
        from axolotl_dmt.report.promises import judge
        from axolotl_dmt.results.gate import Verdict, verdict_of

        try:
            outcomes = judge(self.folder.output_dir, gate, solved)
        except DMTError as error:
            echo(f"axolotl-dmt: gate: undecided: {error}")
            return int(Verdict.UNKNOWN)
        for outcome in outcomes:
            echo(f"axolotl-dmt: gate: {outcome}")
        return int(verdict_of(outcomes))

    def _result(
        self, name: str, end_step: int, rows: Mapping[str, int], evaluation: Evaluation | None
    ) -> StageResult:
        result = StageResult(name=name, end_step=end_step, rows=rows)
        return result if evaluation is None else with_scores(result, evaluation)

    def _record_items(self, point: Point, evaluation: Evaluation) -> None:
        if not self.writes:
            return
        try:
            record_items(self.folder.items, point, evaluation.items)
        except (DMTError, OSError) as error:  # training is worth more than the ledger
            LOG.error("the items of %s are not recorded: %s", point.name, error)

    def _save(self) -> None:
        self.results = replace(self.results, timings=dict(self.timings))
        if self.writes:
            self.results.save(self.path)
