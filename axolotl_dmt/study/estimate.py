"""Estimates the work of a study before it trains: the steps and tokens of each run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from axolotl_dmt.checks.schedule import check_schedule
from axolotl_dmt.config.reading import read_schedule
from axolotl_dmt.console import quiet_axolotl
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.study.cells import Cell, StudyRun, runs_of
from axolotl_dmt.study.folder import StudyFolder
from axolotl_dmt.training.load_run import load_run


@dataclass(frozen=True, kw_only=True)
class Work:
    """The amount of training in a run.

    Attributes:
        steps: number of optimiser steps.
        tokens: number of tokens in all rows that the run draws.
    """

    steps: int
    tokens: int


def estimate(cells: Sequence[Cell]) -> tuple[dict[str, Work], list[str]]:
    """Compile the plans of these cells and return the work of each of their runs.

    Args:
        cells: the cells of one seed; every seed trains the same number of rows.

    Returns:
        {key of a run: its work}, without the runs that cannot be estimated, such as those whose
        data is not prepared; and the reasons why they cannot.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        same_rows = {name: value for name, value in cell.run.config.items() if name != "dmt"}
        same_rows["replay"] = cell.run.config["dmt"].get("replay")
        groups.setdefault(json.dumps(same_rows, sort_keys=True, default=str), []).append(cell)
    works: dict[str, Work] = {}
    problems: list[str] = []
    with quiet_axolotl():
        for group in groups.values():
            try:
                works |= dict(_works(group))
            except DMTError as error:
                problems.append(str(error))
            except Exception as error:
                first_line = (str(error).splitlines() or [""])[0]
                problems.append(f"{type(error).__name__}: {first_line}")
    return works, list(dict.fromkeys(problems))


def _works(cells: Sequence[Cell]) -> Iterator[tuple[str, Work]]:
    """Yield (key of a run, its work) for cells that differ only in their schedule.

    Their rows are the same, so they are loaded once.

    Raises:
        DMTError: a file is missing, a dataset is not prepared, or a schedule has a mistake.
    """
    from axolotl_dmt.training.pool import unprepared

    raw = _whole_schedule(cells[0])
    _, mistakes = check_schedule(raw, files=False)
    _, mistakes_with_files = check_schedule(raw, files=True)
    if mistakes_with_files and not mistakes:  # only files are missing: the cells can still be shown
        raise DMTErrors(mistakes_with_files)
    with tempfile.TemporaryDirectory(prefix="axolotl-dmt-") as scratch:
        config = Path(scratch) / "config.yaml"
        config.write_text(yaml.safe_dump(raw), encoding="utf-8")
        cfg, run = load_run(str(config))
        if missing := unprepared(cfg):
            raise DMTError(
                "datasets",
                f"not prepared yet: {', '.join(missing.values())}",
                "run axolotl preprocess, or train one run, to see the steps and tokens",
            )
        pool = run.load_pool(cfg)
        for cell in cells:
            cell_run = replace(run, schedule=read_schedule(_whole_schedule(cell)).schedule())
            stages = {stage.name: stage for stage in cell_run.compile(cfg, pool.domains).stages}
            for study_run in cell.run.chain():
                if study_run.merge is not None:
                    yield study_run.key, Work(steps=0, tokens=0)
                    continue
                trained = [stages[name] for name in study_run.stages]
                draws = [draw for stage in trained for draw in stage.domains.values()]
                yield (
                    study_run.key,
                    Work(
                        steps=sum(stage.steps for stage in trained),
                        tokens=sum(draw.tokens or 0 for draw in draws),
                    ),
                )


def _whole_schedule(cell: Cell) -> dict[str, Any]:
    """Return a configuration that trains the whole schedule of a cell, from its first stage on."""
    block = {name: value for name, value in cell.run.config["dmt"].items() if name != "start_stage"}
    return {**cell.run.config, "dmt": block}


def estimate_table(cells: Sequence[Cell], folder: StudyFolder, works: dict[str, Work]) -> Table:
    """Return a table of the cells of one seed.

    The column "new" counts the runs that a cell does not share with the cells above it.

    Args:
        cells: the cells of one seed.
        folder: the study's folder, which knows which runs are done.
        works: {key of a run: its work}, as `estimate` returns it.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("cell", no_wrap=True)
    table.add_column("stages")
    for name in ("steps", "tokens", "runs", "new", "done"):
        table.add_column(name, justify="right")
    listed: set[str] = set()
    left = {run.key for run in folder.unfinished(runs_of(cells))}
    for cell in cells:
        chain = cell.run.chain()
        estimated = [works[run.key] for run in chain if run.key in works]
        complete = len(estimated) == len(chain)
        new = {run.key for run in chain} - listed
        listed |= new
        table.add_row(
            cell.name.rpartition(" seed=")[0],
            " > ".join(name for run in chain for name in run.stages),
            f"{sum(work.steps for work in estimated):,}" if complete else "?",
            f"{sum(work.tokens for work in estimated):,}" if complete else "?",
            str(len(chain)),
            str(len(new)),
            f"{sum(run.key not in left for run in chain)}/{len(chain)}",
        )
    return table


def totals(
    cells: Sequence[Cell], folder: StudyFolder, works: dict[str, Work], seeds: int
) -> Iterator[str]:
    """Yield the lines below the table, with the totals over all cells and seeds.

    Args:
        cells: the cells of all seeds.
        folder: the study's folder, which knows which runs are done.
        works: {key of a run of one seed: its work}, as `estimate` returns it.
        seeds: number of seeds.
    """
    runs: list[StudyRun] = runs_of(cells)
    done = len(runs) - len(folder.unfinished(runs))
    yield f"cells: {len(cells)}, seeds: {seeds}, runs: {len(runs)}, done: {done}"
    if works and len(works) * seeds == len(runs):
        steps, tokens = (
            seeds * sum(getattr(work, name) for work in works.values())
            for name in ("steps", "tokens")
        )
        yield f"in total {steps:,} optimiser steps and {tokens:,} tokens"
