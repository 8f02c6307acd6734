"""A run's results for people: a table in the terminal, Markdown, a picture, one HTML file."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from axolotl_dmt import report_view as view
from axolotl_dmt.hooks import report_sections
from axolotl_dmt.report_html import html_report
from axolotl_dmt.report_markdown import markdown_report
from axolotl_dmt.report_plot import plot_abilities
from axolotl_dmt.report_view import AbilityLine
from axolotl_dmt.results import Results
from axolotl_dmt.run_folder import PICTURE, REPORT_HTML, REPORT_MARKDOWN

__all__ = ["terminal_table", "write_report"]

# Beyond so many columns a cell takes two lines, and beyond so many abilities they are the rows: a
# terminal of 80 columns is soon full.
_WIDE = 4
_STAGE_ROWS = 6


def write_report(results: Results, folder: str | Path) -> list[Path]:
    """Write `report.md`, `report.html` and, where anything was scored, `abilities.png`.

    Args:
        results: the run.
        folder: where to; it is made.

    Returns:
        The files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    picture = folder / PICTURE
    if view.was_scored(results):
        plot_abilities(results, picture)
        written.append(picture)
    else:
        picture.unlink(missing_ok=True)  # of an earlier run: it would contradict the text
    sections = report_sections(results)
    image = picture.name if written else None
    for name, text in (
        (REPORT_MARKDOWN, markdown_report(results, picture=image, sections=sections)),
        (REPORT_HTML, html_report(results, sections=sections)),
    ):
        # A model may write half a surrogate pair; a report is no place to fail for it.
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
        written.append(folder / name)
    return written


def terminal_table(results: Results) -> Table:
    """Scores by stage and ability with the change against the stage before.

    Stages are the rows, with retention and forgetting at the foot; with many abilities these
    become the rows, and retention and forgetting the last columns.
    """
    lines = view.ability_lines(results)
    names = [point.name for point in results.points()]
    failed = dict(view.errors(results))
    table = Table(title="Abilities by stage", title_justify="left", caption_justify="left")
    notes = [f"{name}: evaluation failed: {' '.join(why.split())}" for name, why in failed.items()]
    if failed:
        notes.append("`axolotl dmt evaluate OUTPUT_DIR` scores again, with --config otherwise.")
    if not view.was_scored(results):
        notes.append("No stage was evaluated.")
    if len(lines) <= _STAGE_ROWS:
        _fill_stage_rows(table, lines, names, failed)
    else:
        notes += _fill_ability_rows(table, lines, names, failed)
    if notes:
        table.caption = Text("\n".join(notes))
        table.min_width = 60  # a caption wraps at the table's width
    return table


def _fill_stage_rows(
    table: Table, lines: list[AbilityLine], names: list[str], failed: dict[str, str]
) -> None:
    table.add_column("stage", overflow="fold")
    for line in lines:
        table.add_column(Text(line.name), justify="right", overflow="fold")
    layout = "tall" if len(lines) > _WIDE else "flat"
    for i, name in enumerate(names):
        cells = [_cell(line, i, layout, failed=name in failed) for line in lines]
        table.add_row(Text(name), *cells, end_section=i == len(names) - 1)
    if lines:
        kept = [Text(view.percent(line.retention)) for line in lines]
        lost = [Text(view.number(line.forgetting)) for line in lines]
        table.add_row(Text("retention", style="bold"), *kept)
        table.add_row(Text("forgetting", style="bold"), *lost)


def _fill_ability_rows(
    table: Table, lines: list[AbilityLine], names: list[str], failed: dict[str, str]
) -> list[str]:
    """Fill the table; returns notes for its caption."""
    table.add_column("ability", overflow="fold", min_width=10)
    wide = len(names) > _WIDE
    layout = "bare" if wide else "tall"
    if wide:
        table.box, table.collapse_padding, table.pad_edge = box.SIMPLE_HEAD, True, False
    for i, name in enumerate(names, 1):
        table.add_column(Text(f"{i}" if wide else name), justify="right", no_wrap=wide)
    for name in ("kept", "lost") if wide else ("retention", "forgetting"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        cells = [_cell(line, i, layout, failed=n in failed) for i, n in enumerate(names)]
        kept, lost = view.percent(line.retention), view.number(line.forgetting)
        table.add_row(Text(line.name), *cells, Text(kept), Text(lost))
    if not wide:
        return []
    legend = ", ".join(f"{i} {name}" for i, name in enumerate(names, 1))
    return [legend, "kept: retention, lost: forgetting"]


def _cell(line: AbilityLine, index: int, layout: str, *, failed: bool) -> Text:
    score = line.scores[index]
    if score is None:
        return Text("failed" if failed else view.MISSING, style="red" if failed else "dim")
    cell = Text(view.number(score.value))
    change = line.change(index)
    if change is not None and layout != "bare":
        style = "green" if change > 0 else "red" if change < 0 else "dim"
        cell.append("\n" if layout == "tall" else " ").append(
            view.number(change, sign=True), style=style
        )
    return cell
