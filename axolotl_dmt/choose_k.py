"""`axolotl dmt choose-k`: find the smallest replay that keeps the specialised scores.

Stage 1 is trained once, and from its weights a short stage 2 for each value of the ladder until one
holds: a study of its own under `OUTPUT_DIR/dmt/choose_k`, so that a second call goes on where the
first one ended.
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
from rich.console import Console
from rich.table import Table

from axolotl_dmt.args import AUTO, DEFAULT_SEED, AutoKConfig, DMTConfig, read_config
from axolotl_dmt.chosen_k import KEY, ChosenK, Trained, choice_file
from axolotl_dmt.errors import DMTError
from axolotl_dmt.results import Results
from axolotl_dmt.study import Study
from axolotl_dmt.study_cells import Cell, StudyRun, expand
from axolotl_dmt.study_folder import StudyFolder, locked, open_study
from axolotl_dmt.study_run import StudyRunner, train_command
from axolotl_dmt.training_plan import TrainingPlan
from axolotl_dmt.yaml_file import YamlFile

TRIALS = "choose_k"


def choose_k(path: Path, *, launcher_args: str, train: bool) -> None:
    """Make the trials, write `OUTPUT_DIR/dmt/k.json` and print the table.

    Args:
        path: the YAML.
        launcher_args: added to each `axolotl train`.
        train: go on and train the whole of stage 2 with the choice, from stage 1's weights.

    Raises:
        DMTError: a mistake in the YAML, or a run failed.
        SystemExit: with its code, where the training of stage 2 failed.
    """
    raw = YamlFile.read(path).data
    config = read_config(raw.get("dmt"))
    auto = config.auto_k or AutoKConfig()
    _check(raw, config, auto)
    cells = trial_cells(raw, config, auto)
    output_dir = _output_dir(raw)
    console = Console()
    root = output_dir / "dmt" / TRIALS
    with locked(root) as lock:
        folder = open_study(root, cells, retrain_changed=True)
        folder.write_cells(cells)
        runner = StudyRunner(
            folder, jobs=1, launcher_args=launcher_args, console=console, lock=lock
        )
        choice = _try(raw, auto, abilities_of(raw, config, auto), cells, runner)
    choice.save(choice_file(raw))
    console.print(choice_table(choice))
    console.print(choice.summary(), style=None if choice.holds else "bold red", highlight=False)
    console.print(f"  {choice_file(raw)}", style="dim", highlight=False)
    if config.k != AUTO and not train:
        console.print(f"  axolotl train takes it with dmt.k: {AUTO}", style="dim", highlight=False)
    if train:
        _train_stage_2(raw, choice, cells[0].run, folder, launcher_args)


def _output_dir(raw: Mapping[str, Any]) -> Path:
    return Path(str(raw.get("output_dir") or "model-out"))


def _check(raw: Mapping[str, Any], config: DMTConfig, auto: AutoKConfig) -> None:
    """Everything that `axolotl train` would refuse, before the first run."""
    from axolotl_dmt.run import Run

    if config.stages:
        raise DMTError("dmt.stages", "hold no k to choose", "write strategy: dmt in their place")
    if not config.evaluates:
        raise DMTError("dmt.evaluate", "is missing: k is chosen by scores", "add tasks: [...]")
    if config.start_stage:
        raise DMTError("dmt.start_stage", "stage 1 is trained here", "remove it")
    checked = copy.deepcopy(dict(raw))
    checked["dmt"]["k"] = auto.ladder[0]
    Run.from_raw(checked)


def trial_cells(raw: Mapping[str, Any], config: DMTConfig, auto: AutoKConfig) -> list[Cell]:
    """A cell for each k, the smallest first: stage 1, which all share, and a short stage 2.

    Raises:
        DMTError: the strategy has no second stage that depends on k and can start on its own.
    """
    base = copy.deepcopy(dict(raw))
    block = base["dmt"]
    for key in ("k", "auto_k"):  # neither says what is trained
        block.pop(key, None)
    seed = config.seed if config.seed is not None else raw.get("seed")
    study = Study(
        base=base,
        output_dir=str(_output_dir(raw) / "dmt" / TRIALS),
        seeds=[DEFAULT_SEED if seed is None else int(seed)],
        strategy=config.strategy,
        k=sorted({str(k): k for k in auto.ladder}.values(), key=lambda k: Fraction(str(k))),
    )
    whole = expand(study, base)
    last = whole[0].run
    if len(last.chain()) != 2 or len(last.stages) != 1 or "k" not in whole[0].settings:
        raise DMTError(
            KEY,
            f"auto, and strategy {config.strategy} has no second stage that depends on k and "
            "starts with a fresh optimiser",
            "write strategy: dmt, and no reset_optimizer: false",
        )
    if auto.max_steps is not None:
        own = block.setdefault("overrides", {}).setdefault(last.stages[0], {})
        own["max_steps"] = min(own.get("max_steps") or auto.max_steps, auto.max_steps)
    return expand(study, base)


def abilities_of(raw: Mapping[str, Any], config: DMTConfig, auto: AutoKConfig) -> tuple[str, ...]:
    """The scores that must hold."""
    domains = dict.fromkeys(str(entry.get("domain")) for entry in raw["datasets"])
    special = [name for name in domains if name not in config.general_domains]
    return tuple(auto.abilities or special)


def _try(
    raw: Mapping[str, Any],
    auto: AutoKConfig,
    abilities: tuple[str, ...],
    cells: Sequence[Cell],
    runner: StudyRunner,
) -> ChosenK:
    stage_1 = _trained(cells[0].run.chain()[0], abilities, runner)
    trials: dict[str, Trained] = {}
    for cell in cells:
        trials[cell.settings["k"]] = _trained(cell.run, abilities, runner)
        choice = ChosenK(
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


def _trained(run: StudyRun, abilities: Sequence[str], runner: StudyRunner) -> Trained:
    """Train a run where it is not trained yet, and read what came of it."""
    if not runner.folder.is_done(run):
        runner.train(run.chain())
    folder = runner.folder.of(run)
    if run.key in runner.failed:
        problem = f"{run.name} failed: {runner.failed[run.key]}"
        raise DMTError("choose-k", problem, "mend it and start again; what is trained is kept")
    last = Results.load(folder / "dmt").stages[-1]
    if last.error:
        raise DMTError("dmt.evaluate", f"{run.name} was not scored ({last.error})", f"see {folder}")
    for ability in abilities:
        if not math.isfinite(last.values().get(ability, math.nan)):
            known = ", ".join(last.scores) or "none"
            raise DMTError(
                "dmt.auto_k.abilities",
                f"no score is called {ability!r}",
                f"name those that must hold; there are: {known}",
            )
    return Trained(
        folder=str(folder),
        plan_fingerprint=TrainingPlan.load(folder / "dmt" / "plan").fingerprint,
        scores=last.scores,
    )


def choice_table(choice: ChosenK) -> Table:
    """Stage 1 and each trial, with what it lost of each ability that must hold."""
    table = Table("", title="Trials of k", title_justify="left")
    for ability in choice.abilities:
        table.add_column(ability, justify="right")
    table.add_column("within " + f"{choice.loss:g}", justify="right")
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
    choice: ChosenK,
    trial: StudyRun,
    folder: StudyFolder,
    launcher_args: str,
) -> None:
    """Train the whole of stage 2 into the YAML's own output folder."""
    from axolotl_dmt.report import write_report
    from axolotl_dmt.results import RESULTS_FILE
    from axolotl_dmt.run_folder import load_results

    # a trial's own YAML says how a run starts from stage 1's weights
    of_trial = folder.config(trial)
    started = {name: of_trial[name] for name in _START if name in of_trial}
    block = {**raw["dmt"], "k": choice.k, "start_stage": trial.stages[0]}
    output_dir = _output_dir(raw)
    path = folder.root / "stage_2.yaml"
    config = {**raw, **started, "output_dir": str(output_dir), "dmt": block}
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    command = [sys.executable, "-m", "axolotl.cli.main"]
    code = subprocess.run(
        [*command, *train_command(path, launcher_args)[1:]], check=False
    ).returncode
    if code:
        raise SystemExit(code)
    results = load_results(output_dir).with_baseline(choice.stage_1.scores)
    results.save(output_dir / "dmt" / RESULTS_FILE)
    write_report(results, output_dir / "dmt")


_START = ("base_model", "lora_model_dir", "tokenizer_config", "dataset_prepared_path")
"""Keys by which a run goes on from another one's weights, over the same prepared rows."""
