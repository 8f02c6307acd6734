"""Implements `axolotl dmt solve`: finds the cheapest mix that keeps what a YAML names.

The stages before the last are trained once. From their weights, short probes of the last stage are
trained with other amounts. Their losses on held-out rows, and scores where a floor needs them, give
a law for each domain, and the laws a mix. All runs are a study under `OUTPUT_DIR/dmt/solve`, so a
second call goes on where the first one ended.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from axolotl_dmt.config.keep_args import FloorConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.report.console import Console
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.results.metrics import scale_top
from axolotl_dmt.results.results import Results, StageResult
from axolotl_dmt.solver.design import choose_probes, least_cost
from axolotl_dmt.solver.floors import Limit, Measured, Protected, loss_law, protected
from axolotl_dmt.solver.law import Law
from axolotl_dmt.solver.search import Answer, search
from axolotl_dmt.solver.space import Points, Space
from axolotl_dmt.study.cells import Cell, StudyRun, runs_of
from axolotl_dmt.study.folder import StudyFolder, open_study
from axolotl_dmt.study.runner import StudyRunner
from axolotl_dmt.study.solvable import Probe, Solvable
from axolotl_dmt.study.workers import Workers

FIRST_SHARE: Final = 0.75
"""The largest part of the budget for the probes of the design; the rest checks the answer."""
_FINEST: Final = 2**16
_EVEN: Final = 0.5
"""The confidence at which a bound is the prediction itself."""


@dataclass(frozen=True, kw_only=True)
class Floors:
    """What a YAML wants kept and improved.

    Attributes:
        keep: {ability or domain: how far it may fall}.
        improve: the domains whose losses are to fall most.
    """

    keep: Mapping[str, FloorConfig]
    improve: tuple[str, ...]

    @property
    def scored(self) -> bool:
        """Whether a floor needs scores."""
        return any(floor.drop is not None for floor in self.keep.values())

    @property
    def from_start(self) -> bool:
        """Whether a floor compares with the model before training."""
        return any(floor.against for floor in self.keep.values())


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What the probes say.

    Attributes:
        probes: the probes that were trained.
        measured: what was measured after each.
        protected: the floors with their laws.
        targets: {domain: the law of its loss} for each domain to improve.
        laws: {domain: the law of its loss}.
        answer: the amounts that were chosen.
        to_probe: the amounts at which one more probe says most. They are those of the answer if it
            holds every floor. Otherwise they are the cheapest that are predicted to hold them,
            without a margin for the uncertainty, or the largest if there are none.
    """

    probes: tuple[Probe, ...]
    measured: tuple[Measured, ...]
    protected: tuple[Protected, ...]
    targets: Mapping[str, Law]
    laws: Mapping[str, Law]
    answer: Answer
    to_probe: tuple[float, ...]


def points_of(probes: Sequence[Probe]) -> Points:
    """Return probes as the solver reads them."""
    return np.array([[float(value) for value in probe] for probe in probes])


def first_probes(solvable: Solvable, space: Space, full_cost: float) -> list[Probe]:
    """Return the probes of the design.

    Args:
        solvable: the stage.
        space: the stage as the solver sees it.
        full_cost: the rows that the full run trains.

    Raises:
        DMTError: the budget is too small.
    """
    settings = solvable.settings
    budget = settings.budget * full_cost
    # Whatever the answer is, one probe of it can be paid for, if that leaves enough for a design.
    dearest = np.concatenate([[space.lengths[0]], space.most[0, 1:]])[None]
    most = min(FIRST_SHARE * budget, budget - float(space.cost(dearest)[0]))
    most = max(most, min(FIRST_SHARE * budget, least_cost(space)))
    try:
        points = choose_probes(space, most, settings.confidence)
    except ValueError:
        least = least_cost(space) / FIRST_SHARE / full_cost
        problem = f"{settings.budget:g} of the full run is too little for the fewest probes"
        fix = f"write {math.ceil(least * 100 + 1e-9) / 100:g} or more, or smaller lengths or levels"
        raise DMTError("dmt.solve.budget", problem, fix) from None
    exact = {float(value): value for value in (*settings.levels, *settings.lengths)}
    return [tuple(exact[value] for value in point) for point in points.tolist()]


class Probing:
    """Trains probes and reads what they measured."""

    def __init__(
        self,
        solvable: Solvable,
        floors: Floors,
        evaluate: Mapping[str, Any] | None,
        *,
        workers: Workers,
        launcher_args: str,
        console: Console,
    ) -> None:
        """Store the settings.

        Args:
            solvable: the stage.
            floors: what is to be kept.
            evaluate: the `dmt.evaluate` block of the probes, or None.
            workers: where the probes are trained.
            launcher_args: arguments that are added to each `axolotl train`.
            console: where progress is shown.
        """
        self.solvable, self.floors, self.evaluate = solvable, floors, evaluate
        self.console = console
        self.options: dict[str, Any] = {
            "workers": workers,
            "launcher_args": launcher_args,
            "console": console,
        }

    def of(self, solvable: Solvable) -> Probing:
        """Return the same for other stages."""
        probing = copy.copy(self)
        probing.solvable = solvable
        return probing

    def stage_before(self) -> Results:
        """Train the stages before the last, and return the results of the run of the last of these.

        Raises:
            DMTError: a run failed.
        """
        cells = self.solvable.cells([self.solvable.largest()], self.evaluate)
        runs = cells[0].run.chain()[:-1]
        return load_results(self._train(cells, runs).of(runs[-1]))

    def measure(self, probes: Sequence[Probe]) -> tuple[StageResult, StageResult | None, list[Any]]:
        """Train the probes that are not trained yet, and read all of them.

        Returns:
            The result of the stage before the probes, that of the model before training if it was
            scored, and the result of each probe.

        Raises:
            DMTError: a run failed.
        """
        cells = self.solvable.cells(probes, self.evaluate)
        folder = self._train(cells, runs_of(cells))

        def last(run: StudyRun) -> StageResult:
            return load_results(folder.of(run)).stages[-1]

        parent = cells[0].run.parent
        assert parent is not None, "a stage to solve has a stage before it"
        baseline = load_results(folder.of(cells[0].run.chain()[0])).baseline
        return last(parent), baseline, [last(cell.run) for cell in cells]

    def _train(self, cells: Sequence[Cell], runs: Sequence[StudyRun]) -> StudyFolder:
        folder = open_study(self.solvable.root, cells, retrain_changed=True)
        folder.write_cells(cells)
        # Nothing starts from a probe, and one may be as large as a full run's model.
        runner = StudyRunner(folder, keep_weights=False, **self.options)
        runner.train(runs)
        for run in runs:
            if run.key in runner.failed:
                problem = f"{run.name} failed: {runner.failed[run.key]}"
                fix = "fix the cause and start again; finished runs are not trained again"
                raise DMTError("solve", problem, fix)
        return folder


def solve_probes(
    space: Space,
    floors: Floors,
    confidence: float,
    probes: Sequence[Probe],
    results: tuple[StageResult, StageResult | None, Sequence[StageResult]],
) -> Solution:
    """Fit the laws and find the mix.

    Raises:
        DMTError: a floor names something that was not measured, or a loss is not finite.
    """
    before, baseline, ends = results
    scored = [name for name, floor in floors.keep.items() if floor.drop is not None]
    domains = [name for name, floor in floors.keep.items() if floor.loss is not None]
    names = (scored, [*domains, *floors.improve])
    reference = measured(before, names, "the stage before")
    start = measured(baseline, names, "the model before training") if floors.from_start else None
    trained = [measured(end, names, f"probe {index}") for index, end in enumerate(ends, 1)]
    points = points_of(probes)
    kept = []
    for name, floor in floors.keep.items():
        against = start if floor.against else reference
        assert against is not None
        of_score = floor.drop is not None
        measure: Any = "score" if of_score else "loss"
        change = floor.drop if floor.drop is not None else floor.loss
        value = against.value(measure, name)
        every = [value, *(each.scores[name][0] for each in trained)] if of_score else []
        limit = Limit(name=name, measure=measure, reference=value, change=float(change or 0))
        others = [reference, *([start] if start else [])]
        kept.append(protected(limit, space, points, trained, others, scale_top(every)))
    laws = {
        name: loss_law(space, points, trained, name)
        for name in trained[0].losses
        if all(name in each.losses for each in trained)
    }
    targets = {name: laws[name] for name in floors.improve}
    limits, aims = [each.floor for each in kept], list(targets.values())
    answer = search(space, limits, aims, confidence)
    likely = answer if answer.feasible else search(space, limits, aims, _EVEN)
    largest = tuple(variable.most for variable in space.variables)
    return Solution(
        probes=tuple(probes),
        measured=tuple(trained),
        protected=tuple(kept),
        targets=targets,
        laws=laws,
        answer=answer,
        to_probe=likely.amounts if likely.feasible else largest,
    )


def measured(
    result: StageResult | None, names: tuple[Sequence[str], Sequence[str]], which: str
) -> Measured:
    """Return what was measured at a point.

    Args:
        result: the point; None if it was not scored.
        names: the abilities and the domains that are needed.
        which: the point in messages.

    Raises:
        DMTError: a score or a loss is missing or not finite.
    """
    if result is None:
        fix = "write evaluate.before: true, or remove against"
        raise DMTError("dmt.keep", f"{which} was not scored", fix)
    if result.error and names[0]:
        raise DMTError("dmt.evaluate", f"{which} was not scored ({result.error})", "see run.log")
    losses = result.held_out_losses()
    for name in names[1]:
        value = losses.get(name, math.nan)
        if not (math.isfinite(value) and value > 0):
            known = ", ".join(losses) or "none"
            problem = f"{which} has no loss on held-out rows of {name!r}"
            fix = f"write dmt.val_rows, or name one of: {known}"
            raise DMTError("dmt.keep", problem, fix)
    for name in names[0]:
        score = result.scores.get(name)
        if score is None or not math.isfinite(score.value):
            known = ", ".join(result.scores) or "none"
            problem = f"{which} has no score of {name!r}"
            raise DMTError(f"dmt.keep.{name}", problem, f"name one of: {known}")
    finite = {name: loss for name, loss in losses.items() if math.isfinite(loss) and loss > 0}
    scores = {name: (score.value, score.n) for name, score in result.scores.items()}
    return Measured(losses=finite, scores=scores)


def next_probe(
    space: Space, solvable: Solvable, solution: Solution, cost_left: float
) -> Probe | None:
    """Return the probe that says most about the answer; None if the budget allows none that is new.

    It trains the amounts to probe at the largest length that the budget allows.

    Args:
        space: the stage as the solver sees it.
        solvable: the stage.
        solution: what the probes so far say.
        cost_left: the rows that may still be trained.
    """
    amounts = tuple(_rounded(amount) for amount in solution.to_probe)
    lengths = [length for length in solvable.settings.lengths if length <= 1]
    for length in reversed(lengths):
        probe = (length, *amounts)
        affordable = space.cost(points_of([probe]))[0] <= cost_left
        if affordable and not _is_known(probe, solution.probes):
            return probe
    return None


def is_checked(solution: Solution, designed: int) -> bool:
    """Whether a probe after the design's trained about the answer's amounts.

    Args:
        solution: what all probes say.
        designed: the number of the design's probes.
    """
    checks = ([float(amount) for amount in probe[1:]] for probe in solution.probes[designed:])
    return any(map(solution.answer.is_near, checks))


def _is_known(probe: Probe, probes: Sequence[Probe]) -> bool:
    """Whether a probe differs from one that is trained by less than an eighth of an amount."""
    ours = np.log(points_of([probe])[:, 1:])
    theirs = np.log(points_of(probes)[:, 1:])
    same_length = np.array([other[0] == probe[0] for other in probes])
    return bool((same_length & (np.abs(ours - theirs) < 0.125).all(axis=1)).any())


def _rounded(amount: float) -> Fraction:
    return Fraction(max(1, round(amount * _FINEST)), _FINEST)
