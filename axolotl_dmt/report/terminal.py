"""Prints a run's results: in full, or what matters most at the end of its training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from axolotl_dmt.report.changes import clean_table, notes, p_text, stage_table
from axolotl_dmt.report.console import Console
from axolotl_dmt.report.format import MISSING, count, kept, number
from axolotl_dmt.report.held_out import held_out_table
from axolotl_dmt.report.promises import promises_table
from axolotl_dmt.report.view import AbilityLine, ReportView
from axolotl_dmt.results.changes import BEST, REFERENCES, START, Change

# To fit 80 columns: with more score columns than _WIDE, the change moves to a second line of its
# cell; with more abilities than _STAGE_ROWS, the abilities become the rows.
_WIDE = 4
_STAGE_ROWS = 6
_CLEAR = 0.05  # the largest p-value of a change that the summary names


def print_end_of_run(view: ReportView, console: Console, page: Path) -> None:
    """Print the scores by stage, where the report is, and a line for each thing to know.

    Args:
        view: the run.
        console: where to print.
        page: the path of the HTML report.
    """
    _print_measured(view, console)
    console.print(f"Report: {page}", soft_wrap=True, highlight=False)
    for line in _summary(view):
        console.print(line, soft_wrap=True, highlight=False)


def _summary(view: ReportView) -> Iterator[str]:
    """Yield a sentence on what the last stage changed, and one on contaminated items."""
    last = view.results.stages[-1].name if view.results.stages else ""
    changes = [change for change in view.changes if change.after == last]
    for reference in (BEST, START):
        if text := _clear_changes(view, [c for c in changes if c.reference == reference]):
            yield f"On the same items, against {REFERENCES[reference]}: {text}."
            break
    for note in notes(changes):
        yield note[:1].upper() + note[1:]
    if view.clean_scores:
        parts = (
            f"{line.ability} {count(line.contaminated)} of {count(line.items)}"
            for line in view.clean_scores
        )
        shared = "Items that share text with rows to train on"
        yield f"{shared}: {', '.join(parts)}. The report has the scores without them."


def _clear_changes(view: ReportView, changes: list[Change]) -> str:
    """Return which abilities changed more than by chance, and which did not; empty without any."""
    by_ability = {change.ability: change for change in changes if change.paired}
    clear, unclear = [], []
    for name in (line.name for line in view.lines if line.name in by_ability):
        change = by_ability[name]
        if change.paired and change.p is not None and change.p < _CLEAR:
            p = p_text(change.p)
            equals = "" if p.startswith("<") else "= "
            clear.append(f"{name} {number(change.paired.difference, sign=True)} (p {equals}{p})")
        else:
            unclear.append(name)
    same = [f"no clear change in {', '.join(unclear)}"] if unclear else []
    return "; ".join([*([", ".join(clear)] if clear else []), *same])


def print_tables(view: ReportView, console: Console) -> None:
    """Print the scores by stage, and what the last stage changed on the same items."""
    _print_measured(view, console)
    changes = stage_table(view, last_only=True)
    if changes is not None:
        last = view.results.stages[-1].name
        console.print(replace(changes, title=f"{changes.title} after {last}").terminal())
        for note in notes(change for change in view.changes if change.after == last):
            console.print(f"  {note}", highlight=False, markup=False)
    if clean := clean_table(view):
        console.print(clean.terminal())


def _print_measured(view: ReportView, console: Console) -> None:
    """Print the scores and the losses by stage, and what was predicted for them."""
    console.print(terminal_table(view))
    for table in (held_out_table(view), promises_table(view)):
        if table:
            console.print(table.terminal())


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
        if view.has_start:
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
