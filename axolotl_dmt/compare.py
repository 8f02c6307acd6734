"""`axolotl dmt compare`: runs side by side, in the terminal, as Markdown and as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table as TerminalTable
from rich.text import Text

from axolotl_dmt import report_view as view
from axolotl_dmt.costs import total_costs
from axolotl_dmt.errors import DMTError
from axolotl_dmt.report_charts import nice_ticks
from axolotl_dmt.report_html import render
from axolotl_dmt.report_markdown import markdown_table
from axolotl_dmt.report_plot import plot_runs
from axolotl_dmt.report_view import AbilityLine
from axolotl_dmt.results import Results
from axolotl_dmt.run_folder import RunFolder, load_results
from axolotl_dmt.study_tables import Table

HOW_TO_READ = (
    "Scores are after the last stage; behind those of the other runs stands the change against the "
    "first. " + view.HOW_TO_READ
)


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of the runs.

    Attributes:
        name: short, and no other's.
        results: what its folder holds.
        lines: its abilities by name.
        settings: what it was told, flat.
    """

    name: str
    results: Results
    lines: dict[str, AbilityLine]
    settings: dict[str, str]


def load_runs(folders: Sequence[Path]) -> list[ComparedRun]:
    """Read the folders of the runs.

    Raises:
        DMTError: fewer than two, or one holds no results.
    """
    if len(folders) < 2:
        raise DMTError("RUN", "one run has nothing to be compared with", "name two or more")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = []
    for folder, name in zip(folders, names, strict=True):
        results = load_results(folder)
        lines = {line.name: line for line in view.ability_lines(results)}
        settings = _settings(folder, results)
        runs.append(ComparedRun(name=name, results=results, lines=lines, settings=settings))
    return runs


def _settings(folder: Path, results: Results) -> dict[str, str]:
    import yaml

    told = dict(view.flat(results.settings))
    kept = RunFolder(folder).config
    if kept.is_file():
        raw = yaml.safe_load(kept.read_text(encoding="utf-8"))
        block = raw.get("dmt") if isinstance(raw, dict) else None
        told |= dict(view.flat({"dmt": block or {}}))
    return told


def tables(runs: Sequence[ComparedRun]) -> list[Table]:
    """Scores, what was kept, what it cost, and the settings that differ; a row a run."""
    abilities = list(dict.fromkeys(ability for run in runs for ability in run.lines))
    made = [
        Table(
            title="Abilities after the last stage",
            header=("run", *abilities),
            rows=tuple((run.name, *(_score(runs, run, a) for a in abilities)) for run in runs),
            note=HOW_TO_READ,
        ),
        Table(
            title="Retention",
            header=("run", *abilities),
            rows=tuple((run.name, *(_kept(run, a) for a in abilities)) for run in runs),
        ),
        Table(
            title="Cost",
            header=("run", "stages", "steps", "tokens", "trained tokens", "training", "scoring"),
            rows=tuple((run.name, *_cost(run.results)) for run in runs),
        ),
    ]
    different = differences(runs)
    if different:
        header = ("setting", *(run.name for run in runs))
        left = tuple(range(len(header)))
        made.append(Table(title="What differs", header=header, rows=different, left=left))
    return [table for table in made if len(table.header) > 1]


def differences(runs: Sequence[ComparedRun]) -> tuple[tuple[str, ...], ...]:
    """The settings that are not the same in all runs: (setting, value in each run)."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    rows = ((key, *(run.settings.get(key, view.MISSING) for run in runs)) for key in keys)
    return tuple(row for row in rows if len(set(row[1:])) > 1)


def _score(runs: Sequence[ComparedRun], run: ComparedRun, ability: str) -> str:
    line, first = run.lines.get(ability), runs[0].lines.get(ability)
    score = line.scores[-1] if line else None
    if score is None:
        return view.MISSING
    text = view.with_error(score.value, score.stderr)
    before = first.scores[-1] if first else None
    if run is runs[0] or before is None:
        return text
    return f"{text} ({view.number(score.value - before.value, sign=True)})"


def _kept(run: ComparedRun, ability: str) -> str:
    line = run.lines.get(ability)
    return view.percent(line.retention if line else None)


def _cost(results: Results) -> tuple[str, ...]:
    cost = total_costs(results)
    return (
        view.count(len(results.stages)),
        view.count(results.stages[-1].end_step if results.stages else None),
        view.count(cost.tokens),
        view.count(cost.trained_tokens),
        view.duration(cost.training),
        view.duration(cost.scoring),
    )


def terminal(runs: Sequence[ComparedRun]) -> list[TerminalTable]:
    """The tables for the terminal."""
    shown = []
    for table in tables(runs):
        made = TerminalTable(title=table.title, title_justify="left", title_style="bold")
        for index, name in enumerate(table.header):
            side: Any = "left" if index in table.left else "right"
            made.add_column(Text(name), justify=side, overflow="fold")
        for row in table.rows:
            made.add_row(*map(Text, row))
        shown.append(made)
    return shown


def write_markdown(runs: Sequence[ComparedRun], path: Path) -> list[Path]:
    """Write the tables, and beside them the picture that they show; returns both files."""
    picture = path.with_name(f"{path.stem}-abilities.png")
    plot_runs([(run.name, run.lines) for run in runs], picture)
    parts = ["# Runs compared", f"![Abilities after the last stage]({picture.name})"]
    for table in tables(runs):
        parts += [f"## {table.title}", markdown_table(table.header, table.rows, left=table.left)]
        parts += [table.note] if table.note else []
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8", errors="replace")
    return [path, picture]


def write_html(runs: Sequence[ComparedRun], path: Path) -> list[Path]:
    """Write the page, which needs nothing else; returns its file."""
    abilities = dict.fromkeys(ability for run in runs for ability in run.lines)
    page = render(
        "compare.html.j2",
        {
            "title": ", ".join(run.name for run in runs),
            "charts": [(ability, list(_tracks(runs, ability))) for ability in abilities],
            "tables": tables(runs),
        },
    )
    path.write_text(page, encoding="utf-8", errors="replace")
    return [path]


def _tracks(runs: Sequence[ComparedRun], ability: str) -> list[dict[str, Any]]:
    """Each run's way from its best earlier stage to its last, on one scale."""
    lines = [run.lines.get(ability) for run in runs]
    known = [score.value for line in lines if line for score in line.scores if score]
    top = 1.0 if max(known, default=0) <= 1 else nice_ticks(0, max(known))[-1]
    tracks = []
    for run, line in zip(runs, lines, strict=True):
        last = line.scores[-1] if line else None
        best = line.scores[line.best] if line and line.best is not None else None
        places = [
            None if score is None else 100 * min(max(score.value / top, 0), 1)
            for score in (best, last)
        ]
        both = [place for place in places if place is not None]
        tracks.append(
            {
                "name": run.name,
                "best": places[0],
                "last": places[1],
                "start": min(both, default=0),
                "width": max(both, default=0) - min(both, default=0),
                "lost": bool(best and last and last.value < best.value),
                "text": view.with_error(last.value, last.stderr) if last else view.MISSING,
            }
        )
    return tracks
