"""`report.html`: one file that needs nothing else, light and dark, on a desk and on a phone.

No script and no network; a content policy in the file forbids both, since it shows what a model
wrote. Jinja escapes every value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt import paper
from axolotl_dmt import report_charts as charts
from axolotl_dmt import report_view as view
from axolotl_dmt.costs import Cost, stage_costs, total_costs
from axolotl_dmt.hookspecs import Section
from axolotl_dmt.report_view import AbilityLine
from axolotl_dmt.results import HARDWARE, Results

_PLAN_COLUMNS = {
    "available": "available",
    "draws": "draws",
    "tokens": "tokens",
    "trained_tokens": "trained tokens",
    "max_repeats": "most repeats",
}
_COLOURS = 6  # swatches that the stylesheet defines

# Control characters a browser would drop or misread, as their visible pictures.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t\r"}


def html_report(results: Results, *, sections: Sequence[Section] = ()) -> str:
    """The report as one HTML document.

    Args:
        results: the run.
        sections: what plugins add.
    """
    added = [(section.title, markdown_html(section.markdown)) for section in sections]
    return render("report.html.j2", {**_context(results), "sections": added})


def markdown_html(markdown: str) -> Any:
    """Markdown as HTML that is safe to show: HTML in it stays text, and links are checked."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown))


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page from a template of this package, every value escaped.

    Args:
        template: its file name.
        context: all that it names; a missing name is an error.
    """
    # Imported here: the command line should start without a template engine.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (view.number, view.with_error, view.percent, view.count, view.duration):
        environment.filters[function.__name__] = function
    environment.filters["visible"] = lambda text: str(text).translate(_VISIBLE)
    return environment.get_template(template).render(context)


def _context(results: Results) -> dict[str, Any]:
    lines = view.ability_lines(results)
    points = results.points()
    first = 0 if results.baseline else 1
    names = [point.name for point in points]
    domains = view.domains(results)
    return {
        "title": str(results.settings.get("base_model") or "DMT run"),
        "lede": _lede(results, lines),
        "how_to_read": view.HOW_TO_READ,
        "fingerprint": results.plan_fingerprint,
        "missing": view.MISSING,
        "lines": lines,
        "scored": view.was_scored(results),
        "points": list(enumerate(names, first)),
        "errors": view.errors(results),
        "failed": {name for name, _ in view.errors(results)},
        "panels": [charts.ability_panel(line, names, first) for line in lines],
        "forgetting": [_forgotten(line, names) for line in lines if line.best is not None],
        "colours": {domain: i % _COLOURS + 1 for i, domain in enumerate(domains)},
        "plan": _plan(results, domains),
        "plan_columns": _PLAN_COLUMNS if results.plan else {},
        "loss": _loss(results),
        "rate": _curve(results, {"learning rate": "learning_rate"}),
        "samples": _samples(results),
        "settings": view.flat(results.settings),
        "versions": list(results.versions.items()),
        "timings": list(results.timings.items()),
        "hardware": list((results.extra.get(HARDWARE) or {}).items()),
        "costs": _costs(results),
        "quoted": view.quoted(results),
        "paper": paper,
    }


def _costs(results: Results) -> list[Cost]:
    """Of each stage and, below several, of all."""
    costs = stage_costs(results)
    return [*costs, *([total_costs(results)] if len(costs) > 1 else [])]


def _lede(results: Results, lines: list[AbilityLine]) -> str:
    """What happened, in a sentence or two."""
    if not results.stages:
        return "No stage has ended yet."
    stages = len(results.stages)
    steps = results.stages[-1].end_step
    said = f"{stages} stage{'s'[: stages > 1]}, {steps:,} optimiser step{'s'[: steps != 1]}."
    lost = [(line.forgetting, line) for line in lines if line.forgetting is not None]
    if not lost:
        return said
    most, line = max(lost, key=lambda pair: pair[0])
    if most <= 0:
        return f"{said} No ability fell below its best after an earlier stage."
    noise = line.forgetting_stderr
    certain = "" if noise is None or most > 2 * noise else ", which may be chance"
    return f"{said} Most forgotten: {line.name}, by {view.number(most)}{certain}."


def _forgotten(line: AbilityLine, names: list[str]) -> dict[str, Any]:
    """An ability's way from its best earlier stage to the last, on a scale of its own."""
    best = line.scores[line.best or 0]
    last = line.scores[-1]
    values = [score.value for score in (best, last) if score]
    top = 1.0 if max(values) <= 1 else charts.nice_ticks(0, max(values))[-1]
    places = [100 * min(max(value / top, 0), 1) for value in values]
    return {
        "line": line,
        "best": best,
        "best_name": names[line.best or 0],
        "last": last,
        "last_name": names[-1],
        "places": places,
        "start": min(places),
        "width": max(places) - min(places),
        "lost": (line.forgetting or 0) > 0,
        "change": None if line.forgetting is None else abs(line.forgetting),
    }


def _plan(results: Results, domains: list[str]) -> list[dict[str, Any]]:
    """A stage's domains, from the plan, or from the rows trained on where there is no plan."""
    planned = (results.plan or {}).get("stages")
    if planned is None:
        planned = [
            {"name": s.name, "domains": {d: {"rows": n} for d, n in s.rows.items()}}
            for s in results.stages
        ]
    stages = []
    for stage in planned:
        drawn = stage.get("domains") or {}
        weights = {d: drawn[d].get("draws", drawn[d].get("rows")) or 0 for d in drawn}
        total = sum(weights.values()) or 1
        rows = [
            {**drawn[d], "name": d, "percent": 100 * weights[d] / total}
            for d in domains
            if d in drawn and weights[d]
        ]
        stages.append({**stage, "rows": rows})
    return stages


def _curve(results: Results, keys: Mapping[str, str]) -> charts.Curve | None:
    series = {n: charts.curve_series(results.learning_curve, key) for n, key in keys.items()}
    ends = {stage.name: stage.end_step for stage in results.stages}
    return charts.training_curve({n: line for n, line in series.items() if line}, ends)


def _loss(results: Results) -> charts.Curve | None:
    """The loss, and each domain's where the curve has `domain_loss: {domain: loss}`."""
    flat = []
    for entry in results.learning_curve:
        by_domain = entry.get("domain_loss") or {}
        flat.append({**entry, **{f"loss of {name}": value for name, value in by_domain.items()}})
    keys = dict.fromkeys(key for entry in flat for key in entry if key.startswith("loss of "))
    series = {key: charts.curve_series(flat, key) for key in ["loss", *keys]}
    ends = {stage.name: stage.end_step for stage in results.stages}
    return charts.training_curve({name: line for name, line in series.items() if line}, ends)


def _samples(results: Results) -> list[tuple[str, list[dict[str, Any]]]]:
    """(ability, prompts), each prompt with its answers by stage, side by side."""
    grouped: dict[str, dict[str, list[Any]]] = {}
    for point in results.points():
        for sample in point.samples:
            answers = grouped.setdefault(sample.ability, {}).setdefault(sample.prompt, [])
            answers.append((point.name, sample))
    return [
        (ability, [{"prompt": prompt, "answers": answers} for prompt, answers in prompts.items()])
        for ability, prompts in grouped.items()
    ]
