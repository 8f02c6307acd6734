"""The work of a study before it trains: the steps and tokens of each stage, from its plans."""

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
    """How much a run trains.

    Attributes:
        steps: its optimiser steps.
        tokens: the tokens of all rows that it draws.
    """

    steps: int
    tokens: int


def estimate(cells: Sequence[Cell]) -> tuple[dict[str, Work], list[str]]:
    """Return the work of each run of these cells.

    Args:
        cells: the cells of one seed; every seed trains the same number of rows.

    Returns:
        {key of a run: its work}, without runs whose data is not prepared, and the reasons.
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
                first = (str(error).splitlines() or [""])[0]
                problems.append(f"{type(error).__name__}: {first}")
    return works, list(dict.fromkeys(problems))


def _works(cells: Sequence[Cell]) -> Iterator[tuple[str, Work]]:
    """Yield the work of cells that differ only in their schedule: their rows are loaded once."""
    from axolotl_dmt.training.pool import unprepared

    raw = _whole(cells[0])
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
                "steps and tokens are known once a run, or axolotl preprocess, has tokenised them",
            )
        pool = run.load_pool(cfg)
        for cell in cells:
            cell_run = replace(run, schedule=read_schedule(_whole(cell)).schedule())
            stages = {stage.name: stage for stage in cell_run.compile(cfg, pool.domains).stages}
            for part in cell.run.chain():
                if part.merge is not None:
                    yield part.key, Work(steps=0, tokens=0)
                    continue
                trained = [stages[name] for name in part.stages]
                tokens = sum(d.tokens or 0 for stage in trained for d in stage.domains.values())
                yield part.key, Work(steps=sum(stage.steps for stage in trained), tokens=tokens)


def _whole(cell: Cell) -> dict[str, Any]:
    """Return the whole schedule of a cell as one configuration, from its first stage on."""
    block = {name: value for name, value in cell.run.config["dmt"].items() if name != "start_stage"}
    return {**cell.run.config, "dmt": block}


def estimate_table(cells: Sequence[Cell], folder: StudyFolder, works: dict[str, Work]) -> Table:
    """Return a table of the cells of one seed: their stages, their work, and how much is done."""
    table = Table(box=None, pad_edge=False)
    table.add_column("cell", no_wrap=True)
    table.add_column("stages")
    for name in ("steps", "tokens", "runs", "of its own", "done"):
        table.add_column(name, justify="right")
    seen: set[str] = set()
    for cell in cells:
        chain = cell.run.chain()
        estimated = [works[run.key] for run in chain if run.key in works]
        complete = len(estimated) == len(chain)
        unshared = {run.key for run in chain} - seen
        seen |= unshared
        table.add_row(
            cell.name.rpartition(" seed=")[0],
            " > ".join(name for run in chain for name in run.stages),
            f"{sum(work.steps for work in estimated):,}" if complete else "?",
            f"{sum(work.tokens for work in estimated):,}" if complete else "?",
            str(len(chain)),
            str(len(unshared)),
            f"{sum(folder.is_done(run) for run in chain)}/{len(chain)}",
        )
    return table


def totals(
    cells: Sequence[Cell], folder: StudyFolder, works: dict[str, Work], seeds: int
) -> Iterator[str]:
    """Yield lines with the sums over all cells and seeds."""
    runs: list[StudyRun] = runs_of(cells)
    done = sum(folder.is_done(run) for run in runs)
    yield f"{len(cells)} cells under {seeds} seeds are {len(runs)} runs, {done} of them done"
    if works and len(works) * seeds == len(runs):
        steps, tokens = (
            seeds * sum(getattr(work, name) for work in works.values())
            for name in ("steps", "tokens")
        )
        yield f"in all {steps:,} optimiser steps and {tokens:,} tokens"
