"""Builds the table of abilities by stage for the terminal."""

from __future__ import annotations

from dataclasses import replace

from rich import box
from rich.table import Table
from rich.text import Text

from axolotl_dmt.report.changes import clean_table, notes, stage_table
from axolotl_dmt.report.console import Console
from axolotl_dmt.report.format import MISSING, kept, number
from axolotl_dmt.report.view import AbilityLine, ReportView

# To fit 80 columns: with more score columns than _WIDE, the change moves to a second line of its
# cell; with more abilities than _STAGE_ROWS, the abilities become the rows.
_WIDE = 4
_STAGE_ROWS = 6


def print_tables(view: ReportView, console: Console) -> None:
    """Print the scores by stage, and what the last stage changed on the same items."""
    console.print(terminal_table(view))
    changes = stage_table(view, last_only=True)
    if changes is not None:
        last = view.results.stages[-1].name
        console.print(replace(changes, title=f"{changes.title} after {last}").terminal())
        for note in notes(change for change in view.changes if change.after == last):
            console.print(f"  {note}", highlight=False, markup=False)
    if clean := clean_table(view):
        console.print(clean.terminal())


def terminal_table(view: ReportView) -> Table | Text:
    """Return the scores by stage and ability, with the change from the stage before.

    Stages are the rows, followed by retention, forgetting and the change from the start. With many
    abilities the abilities are the rows, and retention and forgetting the last columns. Where
    nothing was scored, there is no table, only the reason.
    """
    notes = _notes(view)
    if not view.was_scored:
        return Text("\n".join(notes))
    table = Table(title="Abilities by stage", title_justify="left", caption_justify="left")
    if len(view.lines) <= _STAGE_ROWS:
        _fill_stage_rows(table, view)
    else:
        notes += _fill_ability_rows(table, view)
    if notes:
        table.caption = Text("\n".join(notes))
        table.min_width = 60  # a caption wraps at the table's width
    return table


def _notes(view: ReportView) -> list[str]:
    """Return what to say below the table: failed evaluations and a loss that was not finite."""
    notes = [
        f"{name}: evaluation failed: {' '.join(why.split())}" for name, why in view.errors.items()
    ]
    if view.errors:
        notes.append(
            "To score again: `axolotl dmt evaluate OUTPUT_DIR`; --config YAML changes the settings."
        )
    if not view.was_scored:
        notes.append("No stage has a score." if view.errors else "No stage was evaluated.")
    return notes + ([view.loss_warning] if view.loss_warning else [])


def _fill_stage_rows(table: Table, view: ReportView) -> None:
    table.add_column("stage", overflow="fold")
    for line in view.lines:
        table.add_column(Text(line.name), justify="right", overflow="fold")
    layout = "tall" if len(view.lines) > _WIDE else "flat"
    for i, name in enumerate(view.names):
        cells = [_cell(line, i, layout, failed=name in view.errors) for line in view.lines]
        table.add_row(Text(name), *cells, end_section=i == len(view.names) - 1)
    if view.lines:
        retention = [Text(kept(line.retention, line.forgetting, short=True)) for line in view.lines]
        forgetting = [Text(number(line.forgetting)) for line in view.lines]
        table.add_row(Text("retention", style="bold"), *retention)
        table.add_row(Text("forgetting", style="bold"), *forgetting)
        if view.results.baseline:
            from_start = [Text(number(line.from_start, sign=True)) for line in view.lines]
            table.add_row(Text("against the start", style="bold"), *from_start)


def _fill_ability_rows(table: Table, view: ReportView) -> list[str]:
    """Fill the table and return notes for its caption."""
    names = view.names
    table.add_column("ability", overflow="fold", min_width=10)
    wide = len(names) > _WIDE
    layout = "bare" if wide else "tall"
    if wide:
        table.box, table.collapse_padding, table.pad_edge = box.SIMPLE_HEAD, True, False
    for i, name in enumerate(names, 1):
        table.add_column(Text(f"{i}" if wide else name), justify="right", no_wrap=wide)
    for name in ("kept", "lost") if wide else ("retention", "forgetting"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in view.lines:
        cells = [_cell(line, i, layout, failed=n in view.errors) for i, n in enumerate(names)]
        retention = kept(line.retention, line.forgetting, short=True)
        forgetting = number(line.forgetting)
        table.add_row(Text(line.name), *cells, Text(retention), Text(forgetting))
    if not wide:
        return []
    legend = ", ".join(f"{i} {name}" for i, name in enumerate(names, 1))
    return [legend, "kept: retention, lost: forgetting"]


def _cell(line: AbilityLine, index: int, layout: str, *, failed: bool) -> Text:
    score = line.scores[index]
    if score is None:
        return Text("failed" if failed else MISSING, style="red" if failed else "dim")
    cell = Text(number(score.value))
    change = line.change(index)
    if change is not None and layout != "bare":
        style = "green" if change > 0 else "red" if change < 0 else "dim"
        cell.append("\n" if layout == "tall" else " ").append(
            number(change, sign=True), style=style
        )
    return cell
