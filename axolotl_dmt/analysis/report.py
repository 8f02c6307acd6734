"""Writes the report of a study: Markdown, pictures, a self-contained HTML file, all numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from axolotl_dmt.analysis.claims import Judged, judge, judge_sizes
from axolotl_dmt.analysis.comparisons import Comparison, comparisons
from axolotl_dmt.analysis.model_sizes import sizes_picture, sizes_table
from axolotl_dmt.analysis.numbers import records, to_json, write_csv, write_json
from axolotl_dmt.analysis.overview import overview
from axolotl_dmt.analysis.plots import pictures
from axolotl_dmt.analysis.same_items import items_json, section_table, variant_items_table
from axolotl_dmt.analysis.tables import (
    HOW_TO_READ,
    crossing_table,
    differences_table,
    measure_tables,
    parts_table,
    scaling_table,
    score_tables,
    variants_table,
)
from axolotl_dmt.analysis.treatments import CellResult, Treatment, abilities_of, group
from axolotl_dmt.analysis.verdicts import NOT_MEASURED
from axolotl_dmt.chart_style import Draw, save, svg_for_widths
from axolotl_dmt.report import paper
from axolotl_dmt.report.format import count
from axolotl_dmt.report.html import markdown_html, render
from axolotl_dmt.report.markdown import quoted_table
from axolotl_dmt.report.tables import Table, escaped
from axolotl_dmt.report.view import QuotedTable


@dataclass(frozen=True, kw_only=True)
class _Section:
    """The part of the report on one comparison.

    Attributes:
        title: the context of the comparison as text; empty where the study has only one.
        reference: a sentence on the treatment at which claims on DMT are judged, or empty.
        judged: the verdicts on the paper's claims.
        pictures: the pictures that compare its treatments.
        tables: the tables that compare its treatments.
    """

    title: str
    reference: str
    judged: list[Judged]
    pictures: list[_Picture]
    tables: list[Table]

    def claims(self) -> list[tuple[Judged, Table]]:
        """Return each claim that was measured with the table of its parts."""
        return [(j, parts_table(j)) for j in self.judged if j.verdict != NOT_MEASURED]

    @property
    def unmeasured(self) -> str:
        """A sentence that names the claims that this study has no runs for; may be empty."""
        keys = [f"({j.claim.key})" for j in self.judged if j.verdict == NOT_MEASURED]
        if not keys or not self.claims():
            return ""
        return f"This study lacks runs that claims {', '.join(keys)} need."


@dataclass(frozen=True, kw_only=True)
class _Report:
    """The content of the report.

    Attributes:
        title: the study's title.
        lede: what was trained, and what the words for it mean.
        rules: what the verdicts mean; empty where there is none.
        verdicts: the verdicts in a sentence, or why there is none.
        notes: the notes, as a Markdown list.
        main: the table of treatments by abilities.
        tables: further tables on the whole study.
        stages: tables on the effect of later stages on abilities.
        sections: one for each group of treatments that may be compared.
        pictures: the pictures of the whole study.
        quoted: the paper's results, one table for each model size.
    """

    title: str
    lede: str
    rules: str
    verdicts: str
    notes: str
    main: Table | None
    tables: list[Table]
    stages: list[Table]
    sections: list[_Section]
    pictures: list[_Picture]
    quoted: list[QuotedTable]


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """A picture of the report.

    Attributes:
        stem: the stem of its file name.
        caption: what it shows, in a sentence.
        draw: the function that draws it.
    """

    stem: str
    caption: str
    draw: Draw

    def svg(self) -> Any:
        """Return the picture for the HTML page."""
        return svg_for_widths(self.draw, name=self.stem, summary=self.caption)


def write_study_report(
    cells: Sequence[CellResult],
    folder: str | Path,
    *,
    title: str,
    notes: Sequence[str] = (),
    base_model: str = "",
    general: Sequence[str] = ("general",),
    k: Fraction | None = None,
) -> Path:
    """Write `study.md`, `study.html`, PNGs, `study_results.json` and `study_results.csv`.

    Args:
        cells: the finished cells; failed ones belong in the notes.
        folder: where to write; it is created if needed.
        title: the study's title.
        notes: what a reader must know, such as failed cells or how sizes were chosen, in Markdown.
        base_model: the base model of all cells, where it is not an axis. The paper is quoted only
            for models that it used.
        general: the abilities of general data.
        k: the k of DMT at which the paper's claims are judged. By default a rule chooses one
            without looking at scores (`Comparison.reference_k`).

    Returns:
        The path of `study.html`.

    Raises:
        ValueError: two cells have the same settings and seed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    treatments = group(cells)
    abilities = abilities_of(treatments, general)
    compared = comparisons(treatments, general, k) if treatments else []
    sections = [_section(c, i, compared, base_model) for i, c in enumerate(compared)]
    if by_size := judge_sizes(compared):
        section = _Section(
            title="base models by size",
            reference="",
            judged=[by_size],
            pictures=_named("study_", {"sizes": sizes_picture(compared)}),
            tables=[sizes_table(compared)],
        )
        sections.append(section)
    for file in folder.glob("study*.png"):
        file.unlink()  # an earlier report may have had other pictures
    overview_pictures = _named("study_", overview(treatments, abilities))
    for picture in (*overview_pictures, *(p for section in sections for p in section.pictures)):
        save(picture.draw(False), folder / f"{picture.stem}.png")
    rows = records(treatments, abilities, compared)
    write_csv(rows, folder / "study_results.csv")
    content = to_json(title, notes, rows, treatments, compared, by_size)
    content["same_items"] = items_json(treatments, compared)
    write_json(content, folder / "study_results.json")
    main, *less_data = score_tables(treatments, abilities) if abilities else [None]
    variants = variants_table(treatments, abilities)
    report = _Report(
        title=title,
        lede=_lede(cells, treatments),
        rules=_rules(compared) if _measured(sections) else "",
        verdicts=_verdicts(sections) if abilities else "No ability was scored." if cells else "",
        notes="\n".join("- " + note.strip().replace("\n", "\n  ") for note in notes),
        main=main,
        tables=[
            table for table in (variants, variant_items_table(treatments), *less_data) if table
        ],
        stages=measure_tables(treatments, abilities),
        sections=sections,
        pictures=overview_pictures,
        quoted=_quoted(compared, base_model),
    )
    (folder / "study.md").write_text(_markdown(report), encoding="utf-8", errors="replace")
    page = folder / "study.html"
    texts = {"notes": markdown_html(report.notes), "how_to_read": HOW_TO_READ, "paper": paper}
    html = render("study.html.j2", {**vars(report), **texts})
    page.write_text(html, encoding="utf-8", errors="replace")
    return page


def _section(
    comparison: Comparison, index: int, compared: Sequence[Comparison], base_model: str
) -> _Section:
    """Return the section on a comparison, the one at `index` of all of them."""
    several = len(compared) > 1
    prefix = f"study_{index + 1}_" if several else "study_"
    drawings = pictures(comparison, _paper_size(comparison, base_model))
    tables = (differences_table, section_table, scaling_table, crossing_table)
    return _Section(
        title=(comparison.context_label or "no other axis set") if several else "",
        reference=_reference(comparison),
        judged=judge(comparison),
        pictures=_named(prefix, drawings),
        tables=[table for make in tables if (table := make(comparison))],
    )


def _named(prefix: str, drawings: Mapping[str, tuple[str, Draw]]) -> list[_Picture]:
    """Return pictures whose file names start with a prefix."""
    return [
        _Picture(stem=prefix + stem, caption=caption, draw=draw)
        for stem, (caption, draw) in drawings.items()
    ]


def _paper_size(comparison: Comparison, base_model: str) -> str | None:
    return paper.comparable_size(dict(comparison.context).get("base_model", base_model))


def _quoted(compared: Sequence[Comparison], base_model: str) -> list[QuotedTable]:
    sizes = dict.fromkeys(_paper_size(comparison, base_model) for comparison in compared)
    return [QuotedTable(size=size, rows=paper.quoted_rows(size)) for size in sizes if size]


def _reference(comparison: Comparison) -> str:
    """Return a sentence on the treatment at which claims on DMT are judged; empty if none is."""
    reference = comparison.reference()
    if reference is None:
        return ""
    studied = [k for k in comparison.ks if k > 0]
    if comparison.declared_k is not None or len(studied) < 2:
        return f"Claims on DMT are judged at: {reference.label}."
    rule = (
        "the paper's k"
        if comparison.reference_k == Fraction(1, 256)
        else "the middle one of the values between 0 and 1"
    )
    return (
        f"Claims on DMT are judged at {reference.label}: {rule}, chosen without looking at any "
        "score. Every other k is in the table of differences."
    )


_RULES = (
    "A claim is shown if, for every ability that it names, the 95% interval over seeds of the "
    "difference that it predicts lies above 0, and an exact test over the seeds gives p ≤ 0.05 (a "
    "claim of no difference: if the interval lies within ±{margin}). It is contradicted if "
    "the opposite holds for any of them, and otherwise not shown, which does not prove the "
    "opposite. These rules were fixed before any study was run."
)


def _rules(compared: Sequence[Comparison]) -> str:
    return _RULES.format(margin=compared[0].measure.margin)


def _lede(cells: Sequence[CellResult], treatments: Sequence[Treatment]) -> str:
    """Return what was trained, and what a treatment is."""
    if not treatments:
        return "No cell has finished yet."
    seeds = {cell.seed for cell in cells}
    return (
        f"{_counted(len(cells), 'trained run')}: {_counted(len(treatments), 'treatment')} with "
        f"{_counted(len(seeds), 'seed')}. A treatment is one choice of what the study varies, such "
        "as the strategy, k (the part of the specialised data that stage 2 replays) or the amount "
        "of data; its runs differ only in the seed."
    )


def _measured(sections: Sequence[_Section]) -> list[Judged]:
    return [j for section in sections for j in section.judged if j.verdict != NOT_MEASURED]


def _verdicts(sections: Sequence[_Section]) -> str:
    """Return the verdicts on the paper's claims in a sentence."""
    by_verdict: dict[str, list[str]] = {}
    for outcome in _measured(sections):
        by_verdict.setdefault(outcome.verdict, []).append(outcome.claim.key)
    if not by_verdict:
        return "No claim of the paper was measured."
    verdicts = "; ".join(f"{verdict}: {', '.join(keys)}" for verdict, keys in by_verdict.items())
    return f"The paper's claims that were measured, by the letters used below: {verdicts}."


def _counted(number: int, noun: str) -> str:
    """Return the number and the noun, in the plural unless the number is 1."""
    return f"{count(number)} {noun}{'s' if number != 1 else ''}"


def _markdown(report: _Report) -> str:
    parts = [f"# {escaped(report.title)}", report.lede, report.rules, report.verdicts]
    parts = [part for part in parts if part]
    if report.notes:
        parts += ["## Notes", report.notes]
    if report.main:
        parts += [*_tables([report.main], 2), HOW_TO_READ]
    for section in report.sections:
        context = f": {escaped(section.title)}" if section.title else ""
        if section.claims() or section.pictures or section.tables:
            parts.append(f"## The paper's claims{context}")
        if section.reference:
            parts.append(section.reference)
        for judged, table in section.claims():
            parts.append(f"### ({judged.claim.key}) {judged.claim.text} **{judged.verdict}**")
            parts += _tables([table] if table.rows else [], 4)
        if section.unmeasured:
            parts.append(section.unmeasured)
        parts += [*_picture_links(section.pictures), *_tables(section.tables, 3)]
    if report.pictures:
        parts += ["## The whole study", *_picture_links(report.pictures)]
    parts += _tables(report.tables, 2)
    if report.stages:
        parts += ["## Effects of later stages", *_tables(report.stages, 3)]
    for quote in report.quoted:
        parts += [
            f"## For reference: quoted from the paper, {quote.size}",
            f"Not measured by this study. Quoted from {paper.CITATION}.",
            quoted_table(quote.rows),
        ]
    return "\n\n".join(parts) + "\n"


def _picture_links(pictures: Sequence[_Picture]) -> list[str]:
    return [f"![{p.caption}]({p.stem}.png)\n\n{p.caption}" for p in pictures]


def _tables(tables: Sequence[Table], level: int) -> list[str]:
    """Return the tables in Markdown, each under a heading of this level and its note."""
    parts = []
    for table in tables:
        if table.title:
            parts.append(f"{'#' * level} {escaped(table.title)}")
        if table.note:
            parts.append(table.note)
        parts.append(table.markdown())
    return parts
