"""What a study would train, before it does: steps and tokens of each stage from its plans."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from axolotl_dmt.console import quiet_axolotl
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.plan_command import load_run
from axolotl_dmt.study_cells import Cell, StudyRun, runs_of
from axolotl_dmt.study_folder import StudyFolder


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run trains.

    Attributes:
        steps: optimiser steps.
        tokens: of all rows it draws.
    """

    steps: int
    tokens: int


def estimate(cells: Sequence[Cell]) -> tuple[dict[str, Work], list[str]]:
    """The work of each run of these cells.

    Args:
        cells: of one seed; another seed trains as many rows.

    Returns:
        {key of a run: its work}, without runs whose data is not prepared; and why not.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        rest = {name: value for name, value in cell.run.config.items() if name != "dmt"}
        rest["replay"] = cell.run.config["dmt"].get("replay")
        groups.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(cell)
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
    """Cells that differ in their schedule alone: their rows and losses are loaded once."""
    from axolotl_dmt.args import read_config
    from axolotl_dmt.data import unprepared
    from axolotl_dmt.run import Run

    raw = _whole(cells[0])
    _, mistakes = Run.checked(copy.deepcopy(raw), files=False)
    _, found = Run.checked(copy.deepcopy(raw), files=True)
    if found and not mistakes:  # only files are missing: the cells can be shown all the same
        raise DMTErrors(found)
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
            run.config = read_config(_whole(cell)["dmt"])
            stages = {stage.name: stage for stage in run.compile(cfg, pool.domains).stages}
            for part in cell.run.chain():
                if part.merge is not None:
                    yield part.key, Work(steps=0, tokens=0)
                    continue
                own = [stages[name] for name in part.stages]
                tokens = sum(d.tokens or 0 for stage in own for d in stage.domains.values())
                yield part.key, Work(steps=sum(stage.steps for stage in own), tokens=tokens)


def _whole(cell: Cell) -> dict[str, Any]:
    """A cell's schedule as one configuration, from its first stage."""
    block = {name: value for name, value in cell.run.config["dmt"].items() if name != "start_stage"}
    return {**cell.run.config, "dmt": block}


def estimate_table(cells: Sequence[Cell], folder: StudyFolder, works: dict[str, Work]) -> Table:
    """The cells of one seed: their stages, what they train, and what is done of it."""
    table = Table(box=None, pad_edge=False)
    table.add_column("cell", no_wrap=True)
    table.add_column("stages")
    for name in ("steps", "tokens", "runs", "of its own", "done"):
        table.add_column(name, justify="right")
    seen: set[str] = set()
    for cell in cells:
        chain = cell.run.chain()
        known = [works[run.key] for run in chain if run.key in works]
        whole = len(known) == len(chain)
        own = {run.key for run in chain} - seen
        seen |= own
        table.add_row(
            cell.name.rpartition(" seed=")[0],
            " > ".join(name for run in chain for name in run.stages),
            f"{sum(work.steps for work in known):,}" if whole else "?",
            f"{sum(work.tokens for work in known):,}" if whole else "?",
            str(len(chain)),
            str(len(own)),
            f"{sum(folder.is_done(run) for run in chain)}/{len(chain)}",
        )
    return table


def totals(
    cells: Sequence[Cell], folder: StudyFolder, works: dict[str, Work], seeds: int
) -> Iterator[str]:
    """The sums over all cells and seeds."""
    runs: list[StudyRun] = runs_of(cells)
    done = sum(folder.is_done(run) for run in runs)
    yield f"{len(cells)} cells under {seeds} seeds are {len(runs)} runs, {done} of them done"
    if works and len(works) * seeds == len(runs):
        steps, tokens = (
            seeds * sum(getattr(work, name) for work in works.values())
            for name in ("steps", "tokens")
        )
        yield f"in all {steps:,} optimiser steps and {tokens:,} tokens"
