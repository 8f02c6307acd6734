"""What `axolotl dmt solve` predicted for a run, beside what the run achieved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from axolotl_dmt.config.gate_args import GateConfig
from axolotl_dmt.config.keep_args import PredictionConfig, SolvedConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.report.format import MISSING
from axolotl_dmt.report.tables import Table
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results.config_file import load_config
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.results.gate import KEEP, Outcome, Rule, Verdict, judge_run, rules_of
from axolotl_dmt.results.results import StageResult

TITLE = "Predicted and achieved"


def solved_of(folder: Path | None) -> SolvedConfig | None:
    """Return what was predicted for a run, from its copy of the YAML; None if nothing was."""
    if folder is None:
        return None
    try:
        block = load_config(folder).get("dmt")
        solved = block.get("solved") if isinstance(block, dict) else None
        return SolvedConfig.model_validate(solved) if solved else None
    except (DMTError, ValidationError):  # a report does not fail because of the copy
        return None


def promises_table(view: ReportView) -> Table | None:
    """Return each prediction beside the value of the last stage; None where there are none."""
    solved = solved_of(view.output_dir)
    if solved is None or not view.results.stages:
        return None
    last = view.results.stages[-1]
    rows = tuple(_row(prediction, last) for prediction in solved.predictions)
    header = ("", "limit", "predicted", "interval", "achieved", "in the interval", "in the limit")
    note = (
        f"The worse end of each interval has {solved.confidence:.0%} confidence. The gate decides "
        "whether a floor on a score holds beyond the noise of its items."
    )
    return Table(title=TITLE, header=header, rows=rows, note=note)


def _row(prediction: PredictionConfig, last: StageResult) -> tuple[str, ...]:
    achieved = achieved_value(prediction, last)
    inside = achieved is not None and prediction.low <= achieved <= prediction.high
    return (
        f"{prediction.measure} {prediction.name}",
        MISSING if prediction.limit is None else f"{prediction.limit:.4g}",
        f"{prediction.predicted:.4g}",
        f"{prediction.low:.4g} to {prediction.high:.4g}",
        MISSING if achieved is None else f"{achieved:.4g}",
        MISSING if achieved is None else "yes" if inside else "no",
        MISSING
        if achieved is None or prediction.limit is None
        else "yes"
        if _within(prediction, achieved, prediction.limit)
        else "no",
    )


def achieved_value(prediction: PredictionConfig, last: StageResult) -> float | None:
    """Return the value of a stage that a prediction is about; None if it was not measured."""
    values = last.held_out_losses() if prediction.measure == "loss" else last.values()
    value = values.get(prediction.name)
    return None if value is None or value != value else value


def _within(prediction: PredictionConfig, achieved: float, limit: float) -> bool:
    return achieved <= limit if prediction.measure == "loss" else achieved >= limit


def judge(folder: Path, gate: GateConfig | None, solved: SolvedConfig | None) -> list[Outcome]:
    """Judge the last stage of a run by the rules of its gate and by the floors that were solved.

    Args:
        folder: the run's output folder.
        gate: the `dmt.gate` block, or None.
        solved: the `dmt.solved` block, or None.

    Raises:
        DMTError: the run has no results, or a rule of the gate cannot be judged.
    """
    outcomes = []
    if gate is not None:
        outcomes += judge_run(folder, rules_of(gate.keep, gate.improve), gate.against)
    if solved is not None:
        ruled = {(outcome.rule.ability, outcome.rule.limit) for outcome in outcomes}
        floors = list(_floors(folder, solved))
        outcomes += [o for o in floors if (o.rule.ability, o.rule.limit) not in ruled]
    return outcomes


def _floors(folder: Path, solved: SolvedConfig) -> Iterator[Outcome]:
    """Yield what became of each floor."""
    stages = load_results(folder).stages
    for prediction in solved.predictions:
        if prediction.limit is None or prediction.reference is None:
            continue
        change = float(f"{prediction.limit - prediction.reference:.4g}")
        if prediction.measure == "score":
            rule = Rule(kind=KEEP, ability=prediction.name, limit=min(change, 0.0))
            try:
                yield from judge_run(folder, [rule], prediction.against)
            except DMTError as error:
                yield Outcome(rule=rule, verdict=Verdict.UNKNOWN, reason=str(error))
            continue
        rule = Rule(kind=KEEP, ability=f"loss {prediction.name}", limit=change)
        achieved = achieved_value(prediction, stages[-1]) if stages else None
        if achieved is None:
            reason = "the last stage has no loss on held-out rows of it"
            yield Outcome(rule=rule, verdict=Verdict.UNKNOWN, reason=reason)
            continue
        holds = _within(prediction, achieved, prediction.limit)
        reason = (
            f"{achieved:.4g}, and {prediction.limit:.4g} is the limit (predicted "
            f"{prediction.predicted:.4g}, {prediction.low:.4g} to {prediction.high:.4g})"
        )
        verdict = Verdict.HOLDS if holds else Verdict.FAILS
        yield Outcome(rule=rule, verdict=verdict, reason=reason)
