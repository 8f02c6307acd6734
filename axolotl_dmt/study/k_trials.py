"""Implements `axolotl dmt choose-k`: finds the smallest k that keeps the specialised scores.

Stage 1 is trained once. From its weights, a short stage 2 is trained for each value of the ladder,
from the smallest up, until one keeps the scores. These runs are a study under
`OUTPUT_DIR/dmt/choose_k`, so that a second call continues where the first one ended.
"""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from axolotl_dmt.checks.axolotl_keys import check_output_dir
from axolotl_dmt.checks.schedule import check_schedule
from axolotl_dmt.config.args import AUTO, DEFAULT_SEED, DMTConfig, read_config
from axolotl_dmt.config.gate_args import GateConfig
from axolotl_dmt.config.k_choice import KEY, KChoice, ScoredRun
from axolotl_dmt.config.reading import stage_defaults
from axolotl_dmt.config.replay_args import AutoKConfig
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError, DMTErrors, Problems
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.report.console import Console
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.gate import judge_run, rules_of, verdict_of
from axolotl_dmt.results.items import Point, items_of, record_items
from axolotl_dmt.study.cells import Cell, StudyRun, expand
from axolotl_dmt.study.config import Study
from axolotl_dmt.study.folder import StudyFolder, locked, open_study
from axolotl_dmt.study.runner import StudyRunner, train_command
from axolotl_dmt.study.workers import LocalWorkers


def choose_k(path: Path, *, launcher_args: str, train: bool) -> None:
    """Run the trials, write `OUTPUT_DIR/dmt/k.json` and print the table.

    Args:
        path: the path of the YAML.
        launcher_args: arguments that are added to each `axolotl train`.
        train: whether to train the whole of stage 2 with the chosen k afterwards, from the weights
            of stage 1.

    Raises:
        DMTError: the YAML has a mistake, or a run failed.
        SystemExit: the training of stage 2 failed; the code is its exit code.
    """
    raw = YamlFile.read(path).data
    config = read_config(raw.get("dmt"))
    auto = config.auto_k or AutoKConfig()
    _check(raw, config, auto)
    cells = trial_cells(raw, config, auto)
    run_folder = RunFolder.of_config(raw)
    console, root = Console(), run_folder.k_trials
    with locked(root) as lock:
        folder = open_study(root, cells, retrain_changed=True)
        folder.write_cells(cells)
        workers = LocalWorkers(jobs=1, lock=lock)
        runner = StudyRunner(folder, workers=workers, launcher_args=launcher_args, console=console)
        choice = _run_trials(raw, auto, abilities_of(raw, config, auto), cells, runner)
    choice.save(run_folder.k_choice)
    console.print(choice_table(choice))
    console.print(choice.summary(), style=None if choice.holds else "bold red", highlight=False)
    console.print(f"  {run_folder.k_choice}", style="dim", highlight=False)
    if config.k != AUTO and not train:
        console.print(f"  set dmt.k: {AUTO} to train with it", style="dim", highlight=False)
    if train:
        _train_stage_2(raw, choice, cells[0].run, folder, launcher_args)


def _check(raw: Mapping[str, Any], config: DMTConfig, auto: AutoKConfig) -> None:
    """Raise DMTError for everything that `axolotl train` would refuse, before the first run."""
    if config.stages:
        raise DMTError("dmt.stages", "leave no k to choose", "use strategy: dmt instead")
    if not config.evaluates:
        raise DMTError("dmt.evaluate", "is missing: k is chosen by scores", "add tasks: [...]")
    if config.start_stage:
        problem = f"is {config.start_stage}, and choosing k starts with the training of stage 1"
        raise DMTError("dmt.start_stage", problem, "remove it")
    _, mistakes = check_schedule({**raw, "dmt": {**raw["dmt"], "k": str(auto.ladder[0])}})
    problems = Problems(mistakes)
    problems.attempt(check_output_dir, raw)
    if problems:
        raise DMTErrors(problems)


def trial_cells(raw: Mapping[str, Any], config: DMTConfig, auto: AutoKConfig) -> list[Cell]:
    """Return a cell for each k, the smallest first: stage 1, which all share, and a short stage 2.

    Args:
        raw: the raw YAML.
        config: its `dmt:` block.
        auto: its `dmt.auto_k` block, or the defaults.

    Raises:
        DMTError: the strategy has no second stage that depends on k and starts with a fresh
            optimiser.
    """
    base = copy.deepcopy(dict(raw))
    block = base["dmt"]
    for key in ("k", "auto_k"):  # the study sets k itself
        block.pop(key, None)
    seed = config.seed if config.seed is not None else raw.get("seed")
    study = Study(
        base=base,
        output_dir=str(RunFolder.of_config(raw).k_trials),
        seeds=[DEFAULT_SEED if seed is None else int(seed)],
        strategy=config.strategy,
        k=sorted(set(auto.ladder)),
    )
    first = expand(study, base)[0]
    last = first.run
    if len(last.chain()) != 2 or len(last.stages) != 1 or "k" not in first.settings:
        raise DMTError(
            KEY,
            f"auto needs a second stage that depends on k and starts with a fresh optimiser, and "
            f"strategy {config.strategy} has none",
            "use strategy: dmt, without reset_optimizer: false",
        )
    if auto.max_steps is not None:
        override = block.setdefault("overrides", {}).setdefault(last.stages[0], {})
        limit = override.get("max_steps") or stage_defaults(raw).max_steps or auto.max_steps
        override["max_steps"] = min(limit, auto.max_steps)
    return expand(study, base)


def abilities_of(raw: Mapping[str, Any], config: DMTConfig, auto: AutoKConfig) -> tuple[str, ...]:
    """Return the names of the scores that must hold."""
    domains = dict.fromkeys(str(entry.get("domain")) for entry in raw["datasets"])
    special = [name for name in domains if name not in config.general_domains]
    return tuple(auto.abilities or special)


def _run_trials(
    raw: Mapping[str, Any],
    auto: AutoKConfig,
    abilities: tuple[str, ...],
    cells: Sequence[Cell],
    runner: StudyRunner,
) -> KChoice:
    """Train stage 1 and the trials, the smallest k first, until one keeps the scores.

    Raises:
        DMTError: a run failed, or has no score for one of the abilities.
    """
    stage_1 = _trained(cells[0].run.chain()[0], abilities, runner)
    trials: dict[Fraction, ScoredRun] = {}
    for cell in cells:
        trials[cell.settings["k"]] = _trained(cell.run, abilities, runner)
        choice = KChoice(
            base_model=str(raw.get("base_model")),
            abilities=abilities,
            loss=auto.loss,
            max_steps=auto.max_steps,
            ladder=tuple(cell.settings["k"] for cell in cells),
            stage_1=stage_1,
            trials=dict(trials),
        )
        if choice.holds:
            break
    return choice


def _trained(run: StudyRun, abilities: Sequence[str], runner: StudyRunner) -> ScoredRun:
    """Train a run unless it is trained already, and read its results.

    Raises:
        DMTError: the run failed, or has no score for one of the abilities.
    """
    if not runner.folder.is_done(run):
        runner.train(run.chain())
    folder = runner.folder.of(run)
    if run.key in runner.failed:
        problem = f"{run.name} failed: {runner.failed[run.key]}"
        fix = "fix the cause and start again; finished runs are not trained again"
        raise DMTError("choose-k", problem, fix)
    last = load_results(folder).stages[-1]
    if last.error:
        raise DMTError("dmt.evaluate", f"{run.name} was not scored ({last.error})", f"see {folder}")
    for ability in abilities:
        if not math.isfinite(last.values().get(ability, math.nan)):
            names = ", ".join(last.scores) or "none"
            raise DMTError(
                "dmt.auto_k.abilities",
                f"there is no score for {ability!r}",
                f"name abilities that have a score: {names}",
            )
    return ScoredRun(
        folder=str(folder),
        plan_fingerprint=TrainingPlan.load(RunFolder(folder).plan).fingerprint,
        scores=last.scores,
    )


def choice_table(choice: KChoice) -> Table:
    """Return a table of stage 1 and each trial, with the change of each score that must hold."""
    table = Table("", title="Trials of k", title_justify="left")
    for ability in choice.abilities:
        table.add_column(ability, justify="right")
    table.add_column(f"within {choice.loss:g}", justify="right")
    scores = choice.stage_1.scores
    table.add_row("stage 1", *(f"{scores[name].value:.3f}" for name in choice.abilities), "")
    for k, trial in choice.trials.items():
        cells = []
        for ability in choice.abilities:
            lost, error = choice.lost(k, ability)
            spread = "" if error is None else f" ± {error:.3f}"
            cells.append(f"{trial.scores[ability].value:.3f} ({0 - lost:+.3f}{spread})")
        table.add_row(f"k = {k}", *cells, "yes" if choice.holds_at(k) else "no")
    for k in choice.ladder[len(choice.trials) :]:
        table.add_row(f"k = {k}", *("–" for _ in choice.abilities), "not tried")
    return table


def _train_stage_2(
    raw: Mapping[str, Any],
    choice: KChoice,
    trial: StudyRun,
    folder: StudyFolder,
    launcher_args: str,
) -> None:
    """Train the whole of stage 2, with the YAML's own `output_dir`.

    Raises:
        SystemExit: the training failed; the code is its exit code.
    """
    from axolotl_dmt.report.view import ReportView
    from axolotl_dmt.report.write import write_report

    trial_config = folder.config(trial)
    start = {name: trial_config[name] for name in _START if name in trial_config}
    block = {**raw["dmt"], "k": str(choice.k), "start_stage": trial.stages[0]}
    run_folder = RunFolder.of_config(raw)
    path = folder.root / "stage_2.yaml"
    gate = block.pop("gate", None)  # the scores that it compares with are added below
    config = {**raw, **start, "output_dir": str(run_folder.output_dir), "dmt": block}
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    arguments = train_command(path, launcher_args)[1:]
    command = [sys.executable, "-m", "axolotl.cli.main", *arguments]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SystemExit(code)
    results = load_results(run_folder.output_dir).with_baseline(choice.stage_1.scores)
    results.save(run_folder.results)
    trial_items = RunFolder(folder.of(trial)).items
    record_items(run_folder.items, Point.baseline(), items_of(trial_items, trial.stages[-1]))
    write_report(ReportView.of(results, run_folder.output_dir), run_folder.dmt)
    if gate is not None:
        _pass_gate(GateConfig.model_validate(gate), run_folder.output_dir)


def _pass_gate(gate: GateConfig, folder: Path) -> None:
    """Print what became of a gate's rules.

    Raises:
        SystemExit: the run does not pass; the code says whether that is certain.
    """
    outcomes = judge_run(folder, rules_of(gate.keep, gate.improve), gate.against)
    for outcome in outcomes:
        echo(f"axolotl-dmt: gate: {outcome}")
    if status := int(verdict_of(outcomes)):
        raise SystemExit(status)


_START = ("base_model", "lora_model_dir", "tokenizer_config", "dataset_prepared_path")
"""Keys that make a run start from the weights of another and use the same prepared rows."""
