"""The report as Markdown: for a terminal, a pull request, or a model card."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from axolotl_dmt.hookspecs import Section
from axolotl_dmt.plan.row_counts import counts_table
from axolotl_dmt.report import paper
from axolotl_dmt.report.changes import clean_table, stage_table
from axolotl_dmt.report.format import MISSING, count, kept, number, with_error
from axolotl_dmt.report.held_out import held_out_table
from axolotl_dmt.report.promises import promises_table
from axolotl_dmt.report.tables import escaped, markdown_table
from axolotl_dmt.report.view import AbilityLine, QuotedTable, ReportView


def markdown_report(
    view: ReportView, *, picture: str | None = None, sections: Sequence[Section] = ()
) -> str:
    """Return the whole report.

    Args:
        view: the run.
        picture: the file name of the plot, beside the report.
        sections: added by plugins.
    """
    parts = [f"# {escaped(view.title)}"]
    if view.subtitle:
        parts.append(f"A run of axolotl-dmt: {escaped(view.subtitle)}.")
    if view.loss_warning:
        parts.append(f"**Warning:** {escaped(view.loss_warning)}")
    parts += ["## Scores", scores_table(view), *([view.how_to_read] if view.was_scored else [])]
    tables = (held_out_table(view), promises_table(view), stage_table(view), clean_table(view))
    for table in filter(None, tables):
        parts += [f"## {table.title}", table.markdown(), escaped(table.note)]
    if picture:
        parts.append(f"![Ability by stage]({picture})")
    parts += ["## Rows by stage and domain", rows_table(view)]
    if view.row_counts:
        header, rows = counts_table(view.row_counts, names_only=True)
        parts += ["## Rows by dataset", markdown_table(header, rows, left=(0, 1))]
    if view.results.plan:
        parts += ["## Plan", plan_table(view)]
    parts.append(f"Plan fingerprint: `{view.results.plan_fingerprint}`")
    if view.quoted:
        parts += _quoted(view.quoted)
    parts += [f"## {escaped(section.title)}\n\n{section.markdown.strip()}" for section in sections]
    return "\n\n".join(parts) + "\n"


def _quoted(quoted: QuotedTable) -> list[str]:
    return [
        f"## For reference: quoted from the paper, {quoted.size}",
        f"These numbers were not measured by this run. They are quoted from {paper.CITATION}, "
        "whose general ability is MT-Bench judged by a model, which `dmt_general` does not "
        "measure.",
        quoted_table(quoted.rows),
    ]


def quoted_table(rows: Sequence[paper.QuotedRow]) -> str:
    """Return the paper's results as a table."""
    body = [(row.strategy, *(f"{score:.2f}" for score in row.scores)) for row in rows]
    return markdown_table(("strategy", *paper.BENCHMARKS), body)


def scores_table(view: ReportView) -> str:
    """Return the table of scores, retention and forgetting, and a list of failed evaluations."""
    parts = [] if view.errors else ["No stage was evaluated."]
    if view.was_scored:
        start = ("against the start",) if view.has_start else ()
        header = ("ability", "task", "n", *view.names, "retention", "forgetting", *start)
        body = [_score_cells(view, line) for line in view.lines]
        parts = [markdown_table(header, body, left=(0, 1))]
        parts += [_folded_parts(view, line) for line in view.lines if line.parts]
    if view.errors:
        failures = (
            f"- {escaped(name)}: evaluation failed: {escaped(why)}"
            for name, why in view.errors.items()
        )
        parts.append("\n".join(failures))
    return "\n\n".join(parts)


def _folded_parts(view: ReportView, line: AbilityLine) -> str:
    """Return the scores of a group's tasks as a table that is folded where HTML is shown."""
    body = [
        (name, *(with_error(s.value, s.stderr) if s else MISSING for s in scores))
        for name, scores in line.parts.items()
    ]
    table = markdown_table(("task", *view.names), body)
    title = f"{html.escape(line.name)}: its {len(body)} parts"
    return f"<details><summary>{title}</summary>\n\n{table}\n\n</details>"


def _score_cells(view: ReportView, line: AbilityLine) -> tuple[str, ...]:
    cells = [
        with_error(score.value, score.stderr)
        if score
        else ("failed" if name in view.errors else MISSING)
        for name, score in zip(view.names, line.scores, strict=True)
    ]
    forgetting = with_error(line.forgetting, line.forgetting_stderr)
    retention = kept(line.retention, line.forgetting)
    start = (number(line.from_start, sign=True),) if view.has_start else ()
    return (line.name, ", ".join(line.tasks), line.n, *cells, retention, forgetting, *start)


def rows_table(view: ReportView) -> str:
    """Return the number of distinct rows that each stage chose from each domain."""
    if not view.results.stages:
        return "No stage has ended yet."
    body = [
        (s.name, count(s.end_step), *(count(s.rows.get(d, 0)) for d in view.domains))
        for s in view.results.stages
    ]
    return markdown_table(("stage", "end step", *view.domains), body)


def plan_table(view: ReportView) -> str:
    """Return the steps, epochs, learning rate and draws by domain of each planned stage."""
    body = []
    for stage in view.planned_stages():
        drawn = {name: d.get("draws") for name, d in (stage.get("domains") or {}).items()}
        body.append(
            (
                str(stage.get("name", "")),
                count(stage.get("steps")),
                _value(stage.get("epochs")),
                _value(stage.get("learning_rate")),
                ", ".join(f"{name} {count(n)}" for name, n in drawn.items() if n),
            )
        )
    return markdown_table(
        ("stage", "steps", "epochs", "learning rate", "draws over the stage"), body, left=(0, 4)
    )


def _value(value: Any) -> str:
    return MISSING if value is None else f"{value:g}" if isinstance(value, float) else str(value)
