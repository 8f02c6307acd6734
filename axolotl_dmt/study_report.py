"""The report of a study: Markdown, pictures, one self-contained HTML file, and all numbers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from axolotl_dmt import paper
from axolotl_dmt import report_view as view
from axolotl_dmt.claims import NOT_MEASURED, Judged, judge
from axolotl_dmt.outcomes import Outcome
from axolotl_dmt.report_html import markdown_html, render
from axolotl_dmt.report_markdown import escaped, markdown_table
from axolotl_dmt.study_look import SHOWN_SIZE, Draw, Look, png
from axolotl_dmt.study_numbers import records, to_json, write_csv, write_json
from axolotl_dmt.study_overview import overview
from axolotl_dmt.study_plots import pictures
from axolotl_dmt.study_tables import (
    HOW_TO_READ,
    Table,
    crossing_table,
    differences_table,
    measure_tables,
    parts_table,
    scaling_table,
    score_tables,
    variants_table,
)
from axolotl_dmt.treatments import Comparison, Treatment, abilities_of, comparisons, group

_LOOKS = {
    "light": Look(),
    "dark": Look(dark=True),
    "light_narrow": Look(narrow=True),
    "dark_narrow": Look(dark=True, narrow=True),
}


@dataclass(frozen=True, kw_only=True)
class _Section:
    """What is said of one comparison.

    Attributes:
        title: its context in words; empty where the study has only one.
        reference: the treatment that claims on DMT are judged at, in a sentence; or empty.
        judged: verdicts.
        pictures: drawn.
        tables: that compare treatments.
    """

    title: str
    reference: str
    judged: list[Judged]
    pictures: list[_Picture]
    tables: list[Table]

    def claims(self) -> list[tuple[Judged, Table]]:
        """Each with the table of its parts."""
        return [(judged, parts_table(judged)) for judged in self.judged]


@dataclass(frozen=True, kw_only=True)
class _Report:
    """All that is said.

    Attributes:
        title: of the study.
        lede: what came out, in a sentence or two.
        notes: a list in Markdown.
        main: treatments by abilities.
        tables: beside it.
        stages: what later stages did.
        sections: one for each group of treatments that may be compared.
        pictures: of the whole study.
        quoted: the paper's numbers, by size.
    """

    title: str
    lede: str
    notes: str
    main: Table | None
    tables: list[Table]
    stages: list[Table]
    sections: list[_Section]
    pictures: list[_Picture]
    quoted: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """A picture as PNG.

    Attributes:
        stem: of its file name.
        caption: what it shows.
        looks: {name of a look: bytes}.
    """

    stem: str
    caption: str
    looks: dict[str, bytes]

    def width(self) -> int:
        """To show the wide one at, in CSS pixels."""
        return round(int.from_bytes(self.looks["light"][16:20], "big") * SHOWN_SIZE)

    def uris(self) -> dict[str, str]:
        """{name of a look: data URI}."""
        return {
            name: f"data:image/png;base64,{base64.b64encode(data).decode()}"
            for name, data in self.looks.items()
        }


def write_study_report(
    outcomes: Sequence[Outcome],
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
        outcomes: the finished cells; failed ones belong into the notes.
        folder: where to; it is made.
        title: of the study.
        notes: what a reader must know, such as failed cells or how sizes were chosen; Markdown.
        base_model: of all cells, where it is no axis. The paper is quoted beside its own models
            only.
        general: the abilities of general data.
        k: the k of DMT to judge the paper's claims at. Left out, a rule picks one without looking
            at scores (`Comparison.reference_k`).

    Returns:
        The path of `study.html`.

    Raises:
        ValueError: two outcomes of the same settings and seed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    treatments = group(outcomes)
    abilities = abilities_of(treatments, general)
    compared = comparisons(treatments, general, k) if treatments else []
    sections = [_section(c, i, compared, base_model) for i, c in enumerate(compared)]
    for old in folder.glob("study*.png"):
        old.unlink()  # of an earlier report, whose cells may have been others
    everything = _drawn("study_", overview(treatments, abilities))
    for picture in (*everything, *(p for section in sections for p in section.pictures)):
        (folder / f"{picture.stem}.png").write_bytes(picture.looks["light"])
    rows = records(treatments, abilities, compared)
    write_csv(rows, folder / "study_results.csv")
    write_json(to_json(title, notes, rows, treatments, compared), folder / "study_results.json")
    main, *less = score_tables(treatments, abilities) if treatments else [None]
    other = variants_table(treatments, abilities)
    report = _Report(
        title=title,
        lede=_lede(outcomes, treatments, sections),
        notes="\n".join("- " + note.strip().replace("\n", "\n  ") for note in notes),
        main=main,
        tables=[table for table in (other, *less) if table],
        stages=measure_tables(treatments, abilities),
        sections=sections,
        pictures=everything,
        quoted=_quoted(compared, base_model),
    )
    (folder / "study.md").write_text(_markdown(report), encoding="utf-8", errors="replace")
    page = folder / "study.html"
    words = {"notes": markdown_html(report.notes), "how_to_read": HOW_TO_READ, "paper": paper}
    html = render("study.html.j2", {**vars(report), **words})
    page.write_text(html, encoding="utf-8", errors="replace")
    return page


def _section(
    comparison: Comparison, index: int, all_of_them: Sequence[Comparison], base_model: str
) -> _Section:
    several = len(all_of_them) > 1
    words = ", ".join(f"{key} = {value}" for key, value in comparison.context)
    prefix = f"study_{index + 1}_" if several else "study_"
    drawn = pictures(comparison, _paper_size(comparison, base_model))
    tables = (differences_table, scaling_table, crossing_table)
    return _Section(
        title=(words or "no other axis set") if several else "",
        reference=_reference(comparison),
        judged=judge(comparison),
        pictures=_drawn(prefix, drawn),
        tables=[table for make in tables if (table := make(comparison))],
    )


def _drawn(prefix: str, found: Mapping[str, tuple[str, Draw]]) -> list[_Picture]:
    return [
        _Picture(
            stem=prefix + stem,
            caption=caption,
            looks={name: png(draw, look) for name, look in _LOOKS.items()},
        )
        for stem, (caption, draw) in found.items()
    ]


def _paper_size(comparison: Comparison, base_model: str) -> str | None:
    return paper.comparable_size(dict(comparison.context).get("base_model", base_model))


def _quoted(compared: Sequence[Comparison], base_model: str) -> list[dict[str, Any]]:
    sizes = dict.fromkeys(_paper_size(comparison, base_model) for comparison in compared)
    return [{"size": size, "rows": paper.quoted_rows(size)} for size in sizes if size]


def _reference(comparison: Comparison) -> str:
    found = comparison.reference()
    if found is None:
        return ""
    studied = [k for k in comparison.ks if k > 0]
    if comparison.declared_k is not None or len(studied) < 2:
        return f"Claims on DMT are judged at: {found.label}."
    rule = (
        "the paper's k"
        if comparison.reference_k == Fraction(1, 256)
        else "the middle one of those above 0 and below 1"
    )
    return (
        f"Claims on DMT are judged at {found.label}: {rule}, a choice that no score went into. "
        "Every other k stands in the table of differences."
    )


def _lede(
    outcomes: Sequence[Outcome], treatments: Sequence[Treatment], sections: Sequence[_Section]
) -> str:
    if not treatments:
        return "No cell has finished yet."
    seeds = {outcome.seed for outcome in outcomes}
    counts = [
        _many(len(outcomes), "trained cell"),
        _many(len(treatments), "treatment"),
        _many(len(seeds), "seed"),
    ]
    said = f"{', '.join(counts)}."
    judged = [j for section in sections for j in section.judged if j.verdict != NOT_MEASURED]
    if not judged:
        return f"{said} No claim of the paper was measured."
    by_verdict: dict[str, list[str]] = {}
    for j in judged:
        by_verdict.setdefault(j.verdict, []).append(j.claim.key)
    verdicts = "; ".join(f"{verdict}: {', '.join(keys)}" for verdict, keys in by_verdict.items())
    return f"{said} Claims of the paper that were measured: {verdicts}."


def _many(count: int, noun: str) -> str:
    return f"{view.count(count)} {noun}{'s' if count != 1 else ''}"


def _markdown(report: _Report) -> str:
    parts = [f"# {escaped(report.title)}", report.lede]
    if report.notes:
        parts += ["## Notes", report.notes]
    if report.main:
        parts += [*_tables([report.main], 2), HOW_TO_READ]
    for section in report.sections:
        where = f": {escaped(section.title)}" if section.title else ""
        parts.append(f"## The paper's claims{where}")
        if section.reference:
            parts.append(section.reference)
        for judged, table in section.claims():
            parts.append(f"### ({judged.claim.key}) {judged.claim.text} **{judged.verdict}**")
            parts += _tables([table] if table.rows else [], 4)
        parts += [*_shown(section.pictures), *_tables(section.tables, 3)]
    if report.pictures:
        parts += ["## The whole study", *_shown(report.pictures)]
    parts += _tables(report.tables, 2)
    if report.stages:
        parts += ["## What later stages did", *_tables(report.stages, 3)]
    for quote in report.quoted:
        parts += [
            f"## For reference: quoted from the paper, {quote['size']}",
            f"Not measured by this study. Quoted from {paper.CITATION}.",
            markdown_table(
                ("strategy", *paper.BENCHMARKS),
                [(r.strategy, *(f"{s:.2f}" for s in r.scores)) for r in quote["rows"]],
            ),
        ]
    return "\n\n".join(parts) + "\n"


def _shown(pictures: Sequence[_Picture]) -> list[str]:
    return [f"![{p.caption}]({p.stem}.png)\n\n{p.caption}" for p in pictures]


def _tables(tables: Sequence[Table], level: int) -> list[str]:
    parts = []
    for table in tables:
        if table.title:
            parts.append(f"{'#' * level} {escaped(table.title)}")
        if table.note:
            parts.append(table.note)
        parts.append(markdown_table(table.header, table.rows, left=table.left))
    return parts
