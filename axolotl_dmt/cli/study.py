"""`axolotl dmt study`: train, score and compare a grid of runs."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.config.args import read_config
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError
from axolotl_dmt.report.console import Console
from axolotl_dmt.study.cell_results import read_cell_results, read_missing
from axolotl_dmt.study.cells import SEED, Cell, expand, runs_of
from axolotl_dmt.study.config import Study, read_study
from axolotl_dmt.study.folder import (
    RUNS,
    StudyFolder,
    locked,
    open_study,
)
from axolotl_dmt.study.runner import StudyRunner, emit, emit_slurm
from axolotl_dmt.study.set_keys import check_set_keys
from axolotl_dmt.study.workers import Where

_IS_MISSING: Final = re.compile(r": no (file|folder) ")


def run_study(
    path: Path,
    *,
    where: Where,
    launcher_args: str | None,
    dry_run: bool,
    emit_commands: str | None,
    report_only: bool,
    retrain_changed: bool,
) -> None:
    """Train the unfinished runs of a study and write its report.

    Args:
        path: the study's YAML.
        where: where the runs are trained.
        launcher_args: appended to each `axolotl train` command.
        dry_run: only print the steps and tokens that would be trained.
        emit_commands: only print the commands of the unfinished runs, for a `shell`, or a script
            that submits them to `slurm`; None trains them.
        report_only: only write the report.
        retrain_changed: train the runs again whose settings have changed.

    Raises:
        DMTError: the YAML has a mistake, or the folder cannot be used.
        SystemExit: with code 1, after the report is written, if a run failed.
    """
    launcher_args = launcher_args or ""
    where.check()
    study, base = read_study(path)
    check_set_keys(study, base)
    cells = expand(study, base)
    root, runs = Path(study.output_dir), runs_of(cells)
    runs_dir = Path(study.runs_dir) if study.runs_dir else root / RUNS
    for run in runs:
        read_config(run.config["dmt"])
    console = Console()
    if dry_run:
        _print_estimate(study, base, cells, StudyFolder(root, runs, runs_dir), console)
        return
    if report_only:
        _share_baselines(StudyFolder(root, runs, runs_dir), runs_dir)
        _write_report(study, base, root, console)
        return
    with locked(runs_dir) as lock:
        folder = open_study(root, cells, retrain_changed=retrain_changed, runs_dir=runs_dir)
        folder.write_cells(cells)
        report = f"axolotl dmt study {shlex.quote(str(path))} --report-only"
        if emit_commands == "slurm":
            for line in emit_slurm(folder, runs, launcher_args, report):
                echo(line)
            return
        if emit_commands:
            for line in emit(folder, runs, launcher_args):
                echo(line)
            echo(f"# then\n{report}")
            return
        workers = where.workers(lock)
        runner = StudyRunner(
            folder,
            workers=workers,
            launcher_args=launcher_args,
            console=console,
            keep_weights=study.keep_weights,
        )
        runner.train(runs)
    _write_report(study, base, root, console)
    if runner.failed:
        _print_data_commands(_data_commands(study, base))
        raise SystemExit(1)


def _share_baselines(folder: StudyFolder, runs_dir: Path) -> None:
    """Share the scores of models before training among runs that no study has trained."""
    if not runs_dir.is_dir():
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(runs_dir))
        except (DMTError, OSError):  # a study is running and does this itself, or it is read-only
            return
        folder.share_baselines()


def _print_estimate(
    study: Study,
    base: Mapping[str, Any],
    cells: Sequence[Cell],
    folder: StudyFolder,
    console: Console,
) -> None:
    """Print the steps and tokens of the study, from the plans of its first seed's cells."""
    from axolotl_dmt.study.estimate import estimate, estimate_table, totals

    cells_of_one_seed = [cell for cell in cells if cell.seed == study.seeds[0]]
    works, problems = estimate(cells_of_one_seed)
    console.width = max(console.width, 110)
    console.print(estimate_table(cells_of_one_seed, folder, works))
    for line in totals(cells, folder, works, len(study.seeds)):
        console.print(line, highlight=False)
    commands = _data_commands(study, base)
    for line in (line for problem in problems for line in problem.splitlines()):
        if not (commands and _IS_MISSING.search(line)):  # the commands make these files
            echo(line, err=True)
    _print_data_commands(commands)


def _print_data_commands(commands: Sequence[str]) -> None:
    if commands:
        echo("The data is missing. Make it first:", err=True)
    for command in commands:
        echo(f"  {command}", err=True)


def _data_commands(study: Study, base: Mapping[str, Any]) -> list[str]:
    """Return the study's command that makes the data, for each seed whose files are missing."""
    if study.make_data is None:
        return []
    files = [str(entry["path"]) for entry in base["datasets"]]
    return [
        study.make_data.replace(SEED, str(seed))
        for seed in study.seeds
        if not all(Path(file.replace(SEED, str(seed))).exists() for file in files)
    ]


def _write_report(study: Study, base: Mapping[str, Any], root: Path, console: Console) -> None:
    """Write the report on the finished cells and print its path."""
    from axolotl_dmt.analysis.measure import MEASURES
    from axolotl_dmt.analysis.report import write_study_report

    cells = read_cell_results(root, MEASURES[study.measure])
    missing = read_missing(root)
    for cell, reason in missing.items():
        console.print(f"{cell} is missing: {reason}", style="red", markup=False, soft_wrap=True)
    if not cells:
        console.print("no cell has finished: there is no report yet")
        return
    notes = [study.notes] if study.notes else []
    notes += [f"{cell} is missing: {reason}" for cell, reason in missing.items()]
    block = base["dmt"]
    general = block.get("general") or "general"
    report = write_study_report(
        cells,
        root / "report",
        title=study.title or f"Study {root.name}",
        notes=notes,
        base_model=str(base.get("base_model", "")),
        general=[general] if isinstance(general, str) else general,
        k=study.judge_k,
    )
    console.print(f"{len(cells)} cells: {report}", highlight=False, soft_wrap=True)
