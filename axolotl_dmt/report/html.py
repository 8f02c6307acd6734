"""Renders `report.html`: one self-contained file, light and dark, for a desktop and a phone.

The page shows text that a model wrote. It therefore contains no script and loads nothing, a content
security policy in it forbids both, and Jinja escapes every value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt.chart_style import css_colours, css_variable
from axolotl_dmt.hookspecs import Section
from axolotl_dmt.plan.row_counts import counts_table
from axolotl_dmt.report import charts, paper
from axolotl_dmt.report import format as text
from axolotl_dmt.report.changes import clean_table, stage_table
from axolotl_dmt.report.held_out import held_out_table
from axolotl_dmt.report.promises import promises_table
from axolotl_dmt.report.view import AbilityLine, ReportView
from axolotl_dmt.results.results import HARDWARE

_PLAN_COLUMNS = {
    "available": "available",
    "draws": "draws",
    "tokens": "tokens",
    "trained_tokens": "trained tokens",
    "max_repeats": "most repeats",
}

# Control characters that a browser would drop or misread, and the symbols to show for them.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t\r"}


def html_report(view: ReportView, *, sections: Sequence[Section] = ()) -> str:
    """Return the report as one HTML document.

    Args:
        view: the run.
        sections: added by plugins.
    """
    added = [(section.title, markdown_html(section.markdown)) for section in sections]
    return render("report.html.j2", {**_context(view), "sections": added})


def markdown_html(markdown: str) -> Any:
    """Return Markdown as safe HTML: HTML in it stays text, and links are checked."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown))


def render(template: str, context: Mapping[str, Any]) -> str:
    """Render a template of this package; every value is escaped.

    Args:
        template: its file name.
        context: {name: value} for every name that the template uses; a missing one is an error.
    """
    # Imported here, so that the command line starts without a template engine.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (text.number, text.with_error, text.percent, text.count, text.duration):
        environment.filters[function.__name__] = function
    environment.filters["visible"] = lambda value: str(value).translate(_VISIBLE)
    environment.globals["css_colours"] = css_colours
    return environment.get_template(template).render(context)


def _context(view: ReportView) -> dict[str, Any]:
    results = view.results
    return {
        "view": view,
        "results": results,
        "title": view.title,
        "kept": text.kept,
        "number": text.number,
        "tables": [
            table
            for make in (held_out_table, promises_table, stage_table, clean_table)
            if (table := make(view))
        ],
        "flips": _flips(view),
        "lede": _lede(view),
        "how_to_read": view.how_to_read,
        "missing": text.MISSING,
        "points": list(enumerate(view.names, view.first_number)),
        "charts": charts.ability_charts(view),
        "forgetting": _forgetting(view),
        "swatches": {name: css_variable(c) for name, c in view.colours.items()},
        "plan": _plan(view),
        "plan_columns": _PLAN_COLUMNS if results.plan else {},
        "data": counts_table(view.row_counts, names_only=True) if view.row_counts else None,
        "loss": charts.loss_chart(view),
        "rate": charts.rate_chart(view),
        "samples": _samples(view),
        "settings": text.flat(results.settings),
        "hardware": results.extra.get(HARDWARE) or {},
        "paper": paper,
    }


def _lede(view: ReportView) -> str:
    """Return a summary of the run in one or two sentences."""
    finished = view.results.stages
    if not finished:
        return "No stage has ended yet."
    stages, steps = len(finished), finished[-1].end_step
    summary = f"{stages} stage{'s'[: stages > 1]}, {steps:,} optimiser step{'s'[: steps != 1]}."
    lost = [(line.forgetting, line) for line in view.lines if line.forgetting is not None]
    if not lost:
        return summary
    most, line = max(lost, key=lambda pair: pair[0])
    if most <= 0:
        return f"{summary} No ability fell below its best after an earlier stage."
    noise = line.forgetting_stderr
    doubt = "" if noise is None or most > 2 * noise else ", which may be chance"
    return f"{summary} Most forgotten: {line.name}, by {text.number(most)}{doubt}."


def _forgetting(view: ReportView) -> list[dict[str, Any]]:
    """Return a row for each ability that has a score after an earlier stage than the last."""
    lines = [line for line in view.lines if line.best is not None]
    return [_forgetting_row(view, line, index) for index, line in enumerate(lines)]


def _forgetting_row(view: ReportView, line: AbilityLine, index: int) -> dict[str, Any]:
    best, last, lost = line.best_earlier, line.last, (line.forgetting or 0) > 0
    return {
        "line": line,
        "best": best,
        "best_name": view.names[line.best or 0],
        "last": last,
        "last_name": view.names[-1],
        "turned": view.change_from_best(line.name),
        "lost": lost,
        "change": None if line.forgetting is None else abs(line.forgetting),
        "track": charts.change_track(
            best,
            last,
            line.scale,
            colour=view.ability_colours[line.name],
            name=f"forgetting-{index}",
        ),
    }


def _plan(view: ReportView) -> list[dict[str, Any]]:
    """Return each stage with its domains.

    Without a plan, the domains are those of the rows that each stage was trained on.
    """
    planned = (view.results.plan or {}).get("stages")
    if planned is None:
        planned = [
            {"name": s.name, "domains": {d: {"rows": n} for d, n in s.rows.items()}}
            for s in view.results.stages
        ]
    return [{**s, **_mixture(view, s, f"mix-{i}")} for i, s in enumerate(planned)]


def _mixture(view: ReportView, stage: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a stage's domains with their percentages, and the bar that shows the percentages."""
    drawn = stage.get("domains") or {}
    weights = {d: drawn[d].get("draws", drawn[d].get("rows")) or 0 for d in drawn}
    total = sum(weights.values()) or 1
    rows = [
        {**drawn[d], "name": d, "percent": 100 * weights[d] / total}
        for d in view.domains
        if weights.get(d)
    ]
    shares = [(row["name"], row["percent"], view.domain_colours[row["name"]]) for row in rows]
    return {"rows": rows, "bar": charts.share_bar(shares, name=name)}


def _flips(view: ReportView) -> dict[str, Any] | None:
    """Return the items that stages turned, with the names that they can be filtered by."""
    if not view.flips:
        return None
    return {
        "groups": view.flips,
        "abilities": list(dict.fromkeys(group.ability for group in view.flips)),
        "stages": list(dict.fromkeys(group.stage for group in view.flips)),
        "directions": ["lost", "won"],
    }


def _samples(view: ReportView) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return (ability, prompts); each prompt holds its answers by stage, to show side by side."""
    grouped: dict[str, dict[str, list[Any]]] = {}
    for point in view.points:
        for sample in point.samples:
            answers = grouped.setdefault(sample.ability, {}).setdefault(sample.prompt, [])
            answers.append((point.name, sample))
    return [
        (ability, [{"prompt": prompt, "answers": answers} for prompt, answers in prompts.items()])
        for ability, prompts in grouped.items()
    ]
