"""`axolotl dmt solve`: finds the cheapest mix that keeps what a YAML names, and writes its YAML."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from axolotl_dmt.checks.axolotl_keys import check_output_dir
from axolotl_dmt.checks.schedule import check_schedule
from axolotl_dmt.config.args import DMTConfig, read_config
from axolotl_dmt.config.keep_args import FloorConfig, unsolved
from axolotl_dmt.config.run_keys import holds_out_rows
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import quiet_axolotl
from axolotl_dmt.errors import DMTError, DMTErrors, Problems
from axolotl_dmt.files import write_json
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.report.console import Console
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.solver.floors import loss_interval
from axolotl_dmt.solver.space import Space
from axolotl_dmt.study.end_early import end_early
from axolotl_dmt.study.folder import StudyFolder, locked
from axolotl_dmt.study.solution_text import (
    answer_lines,
    block_comment,
    probes_table,
    promises_table,
    solution_json,
)
from axolotl_dmt.study.solvable import NOT_OF_PROBES, Probe, Solvable
from axolotl_dmt.study.solved_yaml import check_target, solved_block, write_solved
from axolotl_dmt.study.solving import (
    Floors,
    Probing,
    Solution,
    first_probes,
    is_checked,
    next_probe,
    points_of,
    solve_probes,
)
from axolotl_dmt.study.workers import Where

FEWEST_STEPS: Final = 16
"""The fewest steps of a probe without a warning: in shorter ones, the first steps of AdamW with the
full learning rate outweigh what the rows teach (docs/reproduction_pretrained.md)."""

DEFAULT_DROP = 0.05
"""How far the scores of the specialised domains may fall with `k: auto` and no floors."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The stage to solve, with the rows that it was found to have.

    Attributes:
        plan: the plan of all stages with every amount at its largest.
        space: the stage as the solver sees it.
        rows: {domain: rows to train on}.
        full_cost: the rows that the full run trains.
    """

    plan: TrainingPlan
    space: Space
    rows: Mapping[str, int]
    full_cost: float

    def rows_of(self, solvable: Solvable, solution: Solution) -> dict[str, int]:
        """Return the exact rows of each free domain in the answer."""
        amounts = zip(solvable.variables.values(), solution.answer.amounts, strict=True)
        return {
            name: min(self.rows[name], math.ceil(round(amount * self.rows[name], 6)))
            for names, amount in amounts
            for name in names
        }


def solve(
    path: Path,
    *,
    to: Path | None,
    where: Where,
    launcher_args: str | None,
    nearest: bool,
    train: bool,
    dry_run: bool,
) -> None:
    """Train the probes, find the mix and write its YAML.

    Args:
        path: the user's YAML.
        to: the YAML to write; None takes a name beside the user's.
        where: where the probes are trained; the solved stage is trained on this machine.
        launcher_args: appended to each `axolotl train` command.
        nearest: whether to write the nearest mix if no mix is sure to hold every floor.
        train: whether to train the stage that was found, from the weights before it.
        dry_run: whether to print only what the probes would cost.

    Raises:
        DMTError: the YAML has a mistake, or a run failed.
        SystemExit: with code 1 if no mix is sure to hold every floor and `nearest` is not set, or
            with that of the training.
    """
    where.check()
    to = to or path.with_name(f"{path.stem}.solved.yaml")
    raw = YamlFile.read(path).data
    config = read_config(raw.get("dmt"))
    floors = floors_of(raw, config)
    _check(raw, config, floors)
    check_target(to, path)
    solvable, console = Solvable.of(raw, config), Console()
    console.width = max(console.width, 110)  # figures are not cut, even on a narrower terminal
    evaluate = evaluate_block(raw["dmt"].get("evaluate"), floors)
    stage = read_stage(solvable, evaluate)
    probes = first_probes(solvable, stage.space, stage.full_cost)
    _print_cost(solvable, stage, probes, evaluate, console)
    if dry_run:
        return
    with locked(solvable.root) as lock:
        probing = Probing(
            solvable,
            floors,
            evaluate,
            workers=where.workers(lock),
            launcher_args=launcher_args or "",
            console=console,
        )
        if solvable.settings.end_early is not None:
            shorter = end_early(probing, stage.plan)
            if shorter is not solvable:
                solvable, probing = shorter, probing.of(shorter)
                stage = read_stage(solvable, evaluate)
                probes = first_probes(solvable, stage.space, stage.full_cost)
        solution = _probe(probing, stage, probes, console)
    rows = stage.rows_of(solvable, solution)
    write_json(RunFolder.of_config(raw).solution, solution_json(solvable, solution, rows))
    console.print(probes_table(solvable, solution))
    console.print(promises_table(solvable, stage.space, solution))
    for line in answer_lines(solvable, stage.space, solution, rows):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not solution.answer.feasible and not nearest:
        raise SystemExit(1)
    block = _solved(raw["dmt"], solvable, stage.space, floors, solution, rows)
    comments = {"stages": block_comment(solvable, stage.space, solution, rows)}
    write_solved(path, to, block, comments)
    console.print(f"  {to}", style="dim", highlight=False)
    if train:
        from axolotl_dmt.study.solve_train import train_solved

        train_solved(to, solvable, probes, evaluate, launcher_args or "")
    else:
        console.print(f"  train it: axolotl train {to}", style="dim", highlight=False)


def floors_of(raw: Mapping[str, Any], config: DMTConfig) -> Floors:
    """Return what a YAML wants kept; with `k: auto` alone, every specialised score.

    Raises:
        DMTError: nothing is to be kept, or the YAML is solved already.
    """
    if config.solved:
        fix = "train it with axolotl train, or solve the YAML that it was made from"
        raise DMTError("dmt.solved", "this YAML is solved already", fix)
    if unsolved(raw.get("dmt")) is None:
        problem = "is missing, so there is nothing to solve"
        raise DMTError("dmt.keep", problem, "write for example keep: {math: -0.02}")
    domains = dict.fromkeys(str(entry.get("domain")) for entry in raw.get("datasets") or ())
    general = [name for name in domains if name in config.general_domains]
    keep = config.keep or {
        name: FloorConfig(drop=DEFAULT_DROP) for name in domains if name not in general
    }
    improve = [config.improve] if isinstance(config.improve, str) else config.improve
    return Floors(keep=keep, improve=tuple(general if improve is None else improve))


def evaluate_block(block: Mapping[str, Any] | None, floors: Floors) -> dict[str, Any] | None:
    """Return the `dmt.evaluate` block of the probes: their end is scored if a floor needs it."""
    if block is None or not (floors.scored or floors.from_start):
        return None
    return {**block, "when": "end", "before": floors.from_start, "runner": "in_process"}


def _check(raw: Mapping[str, Any], config: DMTConfig, floors: Floors) -> None:
    """Raise DMTError for everything that `axolotl train` would refuse, before the first run."""
    block = {key: value for key, value in raw["dmt"].items() if key not in NOT_OF_PROBES}
    if config.strategy:
        block["k"] = "1/2"
    _, mistakes = check_schedule({**raw, "dmt": block})
    problems = Problems(mistakes)
    problems.attempt(check_output_dir, raw)
    if not holds_out_rows(raw, config.val_rows):
        problem = "is missing: probes are compared by their losses on held-out rows"
        problems.append(DMTError("dmt.val_rows", problem, "write val_rows: 200"))
    if (floors.scored or floors.from_start) and not config.evaluates:
        problem = "is missing: a floor is given as a score, or relative to the model at the start"
        fix = "add evaluate: {tasks: [...]}, or write the floor as {loss: 0.05}"
        problems.append(DMTError("dmt.evaluate", problem, fix))
    if problems:
        raise DMTErrors(problems)


def read_stage(solvable: Solvable, evaluate: Mapping[str, Any] | None) -> Stage:
    """Compile the full run with every amount at its largest, and count its rows.

    Raises:
        DMTError: the rows reveal a mistake.
    """
    from axolotl_dmt.training.load_run import compile_from_yaml

    (cell,) = solvable.cells([solvable.largest()], evaluate)
    config = copy.deepcopy(dict(cell.run.config))
    config["dmt"].pop("start_stage", None)
    with tempfile.TemporaryDirectory(prefix="axolotl-dmt-") as scratch, quiet_axolotl():
        path = Path(scratch) / "config.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        compiled = compile_from_yaml(str(path))
    return Stage(
        plan=compiled.plan,
        space=solvable.space(compiled.plan),
        rows={domain.name: domain.rows for domain in compiled.pool.domains},
        full_cost=float(sum(stage.draws for stage in compiled.plan.stages)),
    )


def _print_cost(
    solvable: Solvable,
    stage: Stage,
    probes: list[Probe],
    evaluate: Mapping[str, Any] | None,
    console: Console,
) -> None:
    """Print what the first probes, and all that may follow, cost."""
    cells = solvable.cells(probes, evaluate)
    done = StudyFolder(solvable.root, [cell.run for cell in cells])
    count = sum(done.is_done(cell.run) for cell in cells)
    costs = stage.space.cost(points_of(probes))
    total, most = costs.sum(), solvable.settings.budget
    names = ", ".join(str(entry["name"]) for entry in solvable.stages[:-1])
    twice = (
        ", and a second time if a domain ends early in it" if solvable.settings.end_early else ""
    )
    console.print(
        f"{len(probes)} probes of {solvable.name} train {total:,.0f} rows, "
        f"{total / stage.full_cost:.0%} of the {stage.full_cost:,.0f} of a full run; "
        f"more may follow, up to {most:.0%}. "
        f"{names} is trained once{twice}. {count} of the probes are done already.",
        highlight=False,
    )
    for probe, cost in zip(probes, costs, strict=True):
        console.print(f"  {solvable.label(probe)}: {cost:,.0f} rows", highlight=False)
    full = stage.plan.stages[-1]
    steps = round(costs.min() * full.steps / full.draws)
    if steps < FEWEST_STEPS:
        console.print(
            f"the shortest probe has {max(steps, 1)} optimiser steps: losses after fewer than "
            f"{FEWEST_STEPS} say little about a stage of {full.steps}, and intervals will be wide. "
            "Probe longer with dmt.solve.lengths, or give the stage more rows",
            style="yellow",
            highlight=False,
        )


def _probe(probing: Probing, stage: Stage, first: list[Probe], console: Console) -> Solution:
    """Train the design's probes, then probes of the answer until the answer stays the same."""
    solvable, space = probing.solvable, stage.space
    confidence = solvable.settings.confidence
    budget = solvable.settings.budget * stage.full_cost
    probes = list(first)
    solution = None
    while True:
        results = probing.measure(probes)
        new = solve_probes(space, probing.floors, confidence, probes, results)
        if solution is not None and new.answer.agrees_with(solution.answer):
            console.print("the last probe did not change the mix by a factor of 2: no more probes")
            return new
        solution = new
        left = budget - space.cost(points_of(probes)).sum()
        following = next_probe(space, solvable, solution, left)
        if following is None:
            if not is_checked(solution, len(first)):
                console.print(
                    "no probe has checked this mix: the budget does not allow one. Raise "
                    "solve.budget to be surer of it",
                    style="yellow",
                )
            return solution
        at = "at the mix so far" if solution.answer.feasible else "since no mix is sure to hold yet"
        console.print(f"next, {at}: {solvable.label(following)}", highlight=False)
        probes.append(following)


def _solved(
    block: Mapping[str, Any],
    solvable: Solvable,
    space: Space,
    floors: Floors,
    solution: Solution,
    rows: Mapping[str, int],
) -> dict[str, Any]:
    """Return the new `dmt:` block."""
    confidence = solvable.settings.confidence
    point = space.full([solution.answer.amounts])
    predictions = []
    for each in solution.protected:
        interval = each.interval(point, confidence)
        against = "baseline" if floors.keep[each.limit.name].against else solvable.before
        predictions.append(
            {
                "name": each.limit.name,
                "measure": each.limit.measure,
                **_rounded(vars(interval)),
                **_rounded({"limit": each.limit.value, "reference": each.limit.reference}),
                "against": against,
            }
        )
    limited = {each.limit.name for each in solution.protected if each.limit.measure == "loss"}
    for name, law in solution.laws.items():
        if name not in limited:
            values = _rounded(vars(loss_interval(law, point, confidence)))
            predictions.append({"name": name, "measure": "loss", **values})
    keep = {name: floor.model_dump(exclude_none=True) for name, floor in floors.keep.items()}
    solved = {"confidence": confidence, "predictions": predictions}
    return solved_block({**block, "keep": keep}, solvable.solved_stages(rows), solved)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.5g}") for name, value in values.items()}
