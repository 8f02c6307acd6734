"""The report as Markdown: for a terminal, a pull request, or a model card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from axolotl_dmt import paper
from axolotl_dmt import report_view as view
from axolotl_dmt.hookspecs import Section
from axolotl_dmt.results import Results


def markdown_report(
    results: Results, *, picture: str | None = None, sections: Sequence[Section] = ()
) -> str:
    """The whole report.

    Args:
        results: the run.
        picture: the plot's file name, beside the report.
        sections: what plugins add.
    """
    parts = ["# DMT report", view.HOW_TO_READ, "## Scores", scores_table(results)]
    if picture:
        parts.append(f"![Ability by stage]({picture})")
    parts += ["## Rows by stage and domain", rows_table(results)]
    if results.plan:
        parts += ["## Plan", plan_table(results)]
    parts.append(f"Plan fingerprint: `{results.plan_fingerprint}`")
    quoted = view.quoted(results)
    if quoted:
        size, rows = quoted
        parts += [
            f"## For reference: quoted from the paper, {size}",
            f"These numbers were not measured by this run. They are quoted from {paper.CITATION}, "
            "whose general ability is MT-Bench judged by a model, another measure than "
            "`dmt_general`.",
            markdown_table(
                ("strategy", *paper.BENCHMARKS),
                [(row.strategy, *(f"{score:.2f}" for score in row.scores)) for row in rows],
            ),
        ]
    parts += [f"## {escaped(section.title)}\n\n{section.markdown.strip()}" for section in sections]
    return "\n\n".join(parts) + "\n"


def scores_table(results: Results) -> str:
    """Scores with their standard errors, retention and forgetting; failures below it."""
    lines = view.ability_lines(results)
    points = results.points()
    failed = dict(view.errors(results))
    parts = []
    if view.was_scored(results):
        body = []
        for line in lines:
            cells = [
                view.with_error(score.value, score.stderr)
                if score
                else ("failed" if point.name in failed else view.MISSING)
                for point, score in zip(points, line.scores, strict=True)
            ]
            lost = view.with_error(line.forgetting, line.forgetting_stderr)
            body.append(
                (
                    line.name,
                    ", ".join(line.tasks),
                    line.n,
                    *cells,
                    view.percent(line.retention),
                    lost,
                )
            )
        names = [point.name for point in points]
        parts.append(
            markdown_table(
                ("ability", "task", "n", *names, "retention", "forgetting"), body, left=(0, 1)
            )
        )
    else:
        parts.append("No stage was evaluated.")
    if failed:
        parts.append(
            "\n".join(
                f"- {escaped(n)}: evaluation failed: {escaped(why)}" for n, why in failed.items()
            )
        )
    return "\n\n".join(parts)


def rows_table(results: Results) -> str:
    """Distinct rows that each stage chose from each domain."""
    domains = view.domains(results)
    if not results.stages:
        return "No stage has ended yet."
    body = [
        (s.name, view.count(s.end_step), *(view.count(s.rows.get(d, 0)) for d in domains))
        for s in results.stages
    ]
    return markdown_table(("stage", "end step", *domains), body)


def plan_table(results: Results) -> str:
    """Steps, epochs and learning rate of each planned stage, and the draws of each domain."""
    body = []
    for stage in (results.plan or {}).get("stages", ()):
        drawn = {name: d.get("draws") for name, d in (stage.get("domains") or {}).items()}
        body.append(
            (
                str(stage.get("name", "")),
                view.count(stage.get("steps")),
                _value(stage.get("epochs")),
                _value(stage.get("learning_rate")),
                ", ".join(f"{name} {view.count(n)}" for name, n in drawn.items() if n),
            )
        )
    return markdown_table(
        ("stage", "steps", "epochs", "learning rate", "draws over the stage"), body, left=(0, 4)
    )


def _value(value: Any) -> str:
    return (
        view.MISSING if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    )


def markdown_table(
    header: Sequence[str], body: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)
) -> str:
    """A GitHub-flavoured table: numbers to the right, the columns in `left` to the left."""
    rule = [":--" if i in left else "--:" for i in range(len(header))]
    rows = [[escaped(c) for c in header], rule, *([escaped(c) for c in row] for row in body)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def escaped(text: str) -> str:
    """One line of text that Markdown takes as text: names and errors are anybody's words."""
    text = " ".join(text.split())
    for special in ("\\", "|", "<", "`", "*", "["):
        text = text.replace(special, f"\\{special}")
    return text
