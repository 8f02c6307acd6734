"""Runs side by side: the tables, and their Markdown file and HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from axolotl_dmt.errors import DMTError
from axolotl_dmt.report.changes import HOW_TO_READ as HOW_TO_READ_CHANGES
from axolotl_dmt.report.changes import cells, notes
from axolotl_dmt.report.charts import change_track
from axolotl_dmt.report.format import MISSING, count, duration, flat, kept, number, with_error
from axolotl_dmt.report.html import render
from axolotl_dmt.report.plot import plot_runs
from axolotl_dmt.report.tables import Table
from axolotl_dmt.report.view import ReportView, all_colours, how_to_read
from axolotl_dmt.results.changes import RUN, Answers, compare, last_answers
from axolotl_dmt.results.config_file import load_config
from axolotl_dmt.results.costs import total_costs
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.results import Results

HOW_TO_READ = (
    "Scores are those after the last stage; the change from the first run is in brackets. "
    + how_to_read()
)


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of the runs.

    Attributes:
        name: short, and different from those of the other runs.
        view: what a report shows of the run.
        settings: its settings, {dotted key: value}.
        answers: {ability: answers to its items after the last scored stage}; empty where the run
            has no ledger.
    """

    name: str
    view: ReportView
    settings: dict[str, str]
    answers: Mapping[str, Answers] = field(default_factory=dict)


def load_runs(folders: Sequence[Path]) -> list[ComparedRun]:
    """Read the folders of the runs.

    Raises:
        DMTError: there are fewer than two folders, one is named twice, or one holds no results.
    """
    if len(folders) < 2:
        raise DMTError("RUN", "one run has nothing to be compared with", "name two or more")
    _refuse_twice(folders)
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = []
    for folder, name in zip(folders, names, strict=True):
        results = load_results(folder)
        settings = _settings(folder, results)
        view = ReportView.of(results, folder)
        answers = last_answers(folder, results)
        runs.append(ComparedRun(name=name, view=view, settings=settings, answers=answers))
    return runs


def _refuse_twice(folders: Sequence[Path]) -> None:
    """Refuse to compare a run with itself, however its folder is written.

    Raises:
        DMTError: a folder is named twice.
    """
    first: dict[Path, Path] = {}
    for folder in folders:
        same = first.setdefault(folder.resolve(), folder)
        if same is not folder:
            problem = f"{folder} is the same run as {same}"
            if folder == same:
                problem = f"{folder} is named twice"
            raise DMTError("RUN", problem, "name each run once")


def _settings(folder: Path, results: Results) -> dict[str, str]:
    settings = dict(flat(results.settings))
    config = RunFolder(folder).config
    if config.is_file():
        settings |= dict(flat({"dmt": load_config(folder).get("dmt") or {}}))
    return settings


def _abilities(runs: Sequence[ComparedRun]) -> list[str]:
    return list(dict.fromkeys(line.name for run in runs for line in run.view.lines))


def tables(runs: Sequence[ComparedRun]) -> list[Table]:
    """Return scores, retention and costs with a row for each run, and the settings that differ."""
    abilities = _abilities(runs)
    all_tables = [
        Table(
            title="Abilities after the last stage",
            header=("run", *abilities),
            rows=tuple((run.name, *(_score(runs, run, a) for a in abilities)) for run in runs),
            note=HOW_TO_READ,
        ),
        *_changes(runs),
        Table(
            title="Retention",
            header=("run", *abilities),
            rows=tuple((run.name, *(_retention(run, a) for a in abilities)) for run in runs),
        ),
        Table(
            title="Cost",
            header=("run", "stages", "steps", "tokens", "trained tokens", "training", "scoring"),
            rows=tuple((run.name, *_cost(run.view.results)) for run in runs),
        ),
    ]
    different = differences(runs)
    if different:
        header = ("setting", *(run.name for run in runs))
        left = tuple(range(len(header)))
        all_tables.append(Table(title="What differs", header=header, rows=different, left=left))
    return [table for table in all_tables if len(table.header) > 1]


def _changes(runs: Sequence[ComparedRun]) -> list[Table]:
    """Return the table of changes from the first run on the items that both have, if any."""
    first, rows, changes = runs[0], [], []
    for run in runs[1:]:
        names = (first.name, run.name)
        for change in compare(first.answers, run.answers, names=names, reference=RUN):
            changes.append(change)
            rows.append((change.ability, run.name, *cells(change, change.p)))
    if not rows:
        return []
    header = ("ability", "run", "change", "95% interval", "lost", "won", "n", "p")
    title = f"Changes from {first.name} on the same items"
    note = " ".join([HOW_TO_READ_CHANGES, *notes(changes)])
    return [Table(title=title, header=header, rows=tuple(rows), note=note, left=(0, 1))]


def differences(runs: Sequence[ComparedRun]) -> tuple[tuple[str, ...], ...]:
    """Return (setting, its value in each run) for the settings that differ between runs."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    rows = ((key, *(run.settings.get(key, MISSING) for run in runs)) for key in keys)
    return tuple(row for row in rows if len(set(row[1:])) > 1)


def _score(runs: Sequence[ComparedRun], run: ComparedRun, ability: str) -> str:
    line, first = run.view.line(ability), runs[0].view.line(ability)
    score = line.last if line else None
    if score is None:
        return MISSING
    text = with_error(score.value, score.stderr)
    before = first.last if first else None
    if run is runs[0] or before is None:
        return text
    return f"{text} ({number(score.value - before.value, sign=True)})"


def _retention(run: ComparedRun, ability: str) -> str:
    line = run.view.line(ability)
    return kept(line.retention, line.forgetting) if line else MISSING


def _cost(results: Results) -> tuple[str, ...]:
    cost = total_costs(results)
    return (
        count(len(results.stages)),
        count(results.stages[-1].end_step if results.stages else None),
        count(cost.tokens),
        count(cost.trained_tokens),
        duration(cost.training),
        duration(cost.scoring),
    )


def write_markdown(runs: Sequence[ComparedRun], path: Path) -> list[Path]:
    """Write the tables and, where anything was scored, a picture; return the files."""
    picture = path.with_name(f"{path.stem}-abilities.png")
    parts, written = ["# Runs compared"], [path]
    if any(run.view.was_scored for run in runs):
        plot_runs([(run.name, run.view) for run in runs], picture)
        # A name with a space is no link in Markdown.
        parts.append(f"![Abilities after the last stage]({quote(picture.name)})")
        written.append(picture)
    for table in tables(runs):
        parts += [f"## {table.title}", table.markdown(), *([table.note] if table.note else [])]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8", errors="replace")
    return written


def write_html(runs: Sequence[ComparedRun], path: Path) -> list[Path]:
    """Write the page, which is self-contained; return its file."""
    page = render(
        "compare.html.j2",
        {
            "title": ", ".join(run.name for run in runs),
            "charts": [
                (ability, _tracks(runs, ability, f"ability-{i}"))
                for i, ability in enumerate(_abilities(runs))
            ],
            "tables": tables(runs),
        },
    )
    path.write_text(page, encoding="utf-8", errors="replace")
    return [path]


def _tracks(runs: Sequence[ComparedRun], ability: str, name: str) -> list[dict[str, Any]]:
    """Return for each run its name, its chart (all on one scale) and its last score as text."""
    lines = [run.view.line(ability) for run in runs]
    scale = max((line.scale for line in lines if line), default=1.0)
    colour = all_colours([run.view for run in runs])[ability]
    tracks = []
    for index, (run, line) in enumerate(zip(runs, lines, strict=True)):
        last = line.last if line else None
        best = line.best_earlier if line else None
        tracks.append(
            {
                "name": run.name,
                "track": change_track(best, last, scale, colour=colour, name=f"{name}-{index}"),
                "text": with_error(last.value, last.stderr) if last else MISSING,
            }
        )
    return tracks
