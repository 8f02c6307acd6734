"""Draws the pictures of a whole study: a heat map, and abilities by the amount of each domain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from axolotl_dmt.analysis.error_bars import PANEL, error_bars
from axolotl_dmt.analysis.intervals import Interval
from axolotl_dmt.analysis.measure import SCORE, Scale
from axolotl_dmt.analysis.numbers import summary
from axolotl_dmt.analysis.plots import ability_colours, whole_scale
from axolotl_dmt.analysis.treatments import DOMAIN_AMOUNT, Treatment, at_largest_amount, scale_of
from axolotl_dmt.chart_style import (
    INK,
    MARKERS,
    PAGE,
    SOFT,
    Draw,
    dress,
    label,
    new_figure,
    panels,
    wrapped,
)
from axolotl_dmt.plan.amounts import parse_fraction
from axolotl_dmt.report.format import MISSING, number

RatioLine = list[tuple[Fraction, Treatment]]
"""Pairs of (amount of one domain, treatment), by ascending amount."""
_LINE_STYLES = ("-", "--", ":", "-.")


def overview(
    treatments: Sequence[Treatment], abilities: Sequence[str]
) -> dict[str, tuple[str, Draw]]:
    """Return {stem of the file name: (caption, function that draws it)}."""
    drawings: dict[str, tuple[str, Draw]] = {}
    rows = at_largest_amount(treatments)
    measure = treatments[0].cells[0].measure if treatments else SCORE
    if rows and abilities:
        drawings["heat_map"] = (
            f"Mean {measure.name} after the last stage; the stronger the shade, the nearer the "
            "top of the scale.",
            lambda narrow: _heat_map(rows, abilities, narrow),
        )
    ratios = ratio_lines(treatments)
    if ratios and abilities:
        drawings["ratio"] = (
            f"{measure.title} by the available part of one domain, with the parts of the others "
            "fixed: mean and 95% interval over seeds.",
            lambda narrow: _ratios(ratios, abilities, treatments, narrow),
        )
    return drawings


def ratio_lines(treatments: Sequence[Treatment]) -> dict[str, dict[str, RatioLine]]:
    """Group treatments in which the amount of one domain varies and those of the others are fixed.

    Returns:
        {domain, as the study names it: {the fixed settings, as text: treatments by amount}}, for
        lines of three amounts or more.
    """
    by_domain: dict[str, dict[str, RatioLine]] = {}
    axes = (axis for t in treatments for axis in t.settings if axis.startswith(DOMAIN_AMOUNT))
    for axis in dict.fromkeys(axes):
        lines: dict[str, RatioLine] = {}
        for treatment in treatments:
            if axis in treatment.settings:
                fixed = ", ".join(
                    f"{key.removeprefix(DOMAIN_AMOUNT)} {value}"
                    for key, value in treatment.settings.items()
                    if key not in (axis, "strategy")
                )
                amount = parse_fraction(treatment.settings[axis], axis)
                lines.setdefault(fixed, []).append((amount, treatment))
        long_lines = {
            fixed: sorted(line, key=lambda point: point[0])
            for fixed, line in lines.items()
            if len({amount for amount, _ in line}) > 2
        }
        if long_lines:
            by_domain[axis.removeprefix(DOMAIN_AMOUNT)] = long_lines
    return by_domain


def _ratios(
    ratios: dict[str, dict[str, RatioLine]],
    abilities: Sequence[str],
    treatments: Sequence[Treatment],
    narrow: bool,
) -> Any:
    figure, axes = panels(len(ratios) * len(abilities), PANEL, 1 if narrow else 3)
    colours = ability_colours(treatments, abilities)
    panel_contents = [(domain, ability) for domain in ratios for ability in abilities]
    for axis, (domain, ability) in zip(axes, panel_contents, strict=True):
        amounts = _draw_ratio_lines(axis, ratios[domain], ability, colours[ability])
        axis.set_xscale("log")
        ticks = amounts[:: math.ceil(len(amounts) / 6) or 1]
        axis.set_xticks([float(amount) for amount in ticks], [str(amount) for amount in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlabel(label(f"part of {domain} data"), fontsize=8.5)
        whole_scale(axis, scale_of(treatments, ability))
        dress(axis, ability)
        if ability == abilities[0] and axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=8.5, frameon=False, labelcolor=INK, loc="best")
    return figure


def _draw_ratio_lines(
    axes: Any, lines: dict[str, RatioLine], ability: str, colour: str
) -> list[Fraction]:
    """Draw an ability's scores by amount; return the amounts that have a score, ascending."""
    amounts: set[Fraction] = set()
    for i, (fixed, line) in enumerate(lines.items()):
        points = [(a, mean) for a, t in line if a > 0 and (mean := summary(t.scores(ability)))]
        amounts |= {amount for amount, _ in points}
        error_bars(
            axes,
            [float(amount) for amount, _ in points],
            [mean for _, mean in points],
            color=colour,
            marker=MARKERS[i % len(MARKERS)],
            linestyle=_LINE_STYLES[i % len(_LINE_STYLES)],
            linewidth=1.5,
            label=label(fixed) or None,
        )
    return sorted(amounts)


def _heat_map(rows: Sequence[Treatment], abilities: Sequence[str], narrow: bool) -> Any:
    width, names_width, row_height = (3.5, 20, 0.36) if narrow else (9.6, 44, 0.36)
    cell = (width - 0.07 * names_width) / len(abilities)  # inches
    upright = cell >= 0.75
    figure = new_figure(width, row_height * len(rows) + (0.7 if upright else 1.5))
    axes = figure.subplots()
    scales = {ability: scale_of(rows, ability) for ability in abilities}
    for i, treatment in enumerate(rows):
        for j, ability in enumerate(abilities):
            mean = summary(treatment.scores(ability))
            _heat_map_cell(axes, (j, i), mean, scales[ability], write=cell > 0.42)
    axes.set(xlim=(-0.5, len(abilities) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    dress(axes)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_yticks(range(len(rows)), [wrapped(t.label, names_width, 2) for t in rows], color=INK)
    names = [wrapped(a, 14 if upright else 24, 3 if upright else 1) for a in abilities]
    turn = 0 if upright else 90
    axes.set_xticks(range(len(abilities)), names, color=INK, rotation=turn)
    axes.tick_params(top=False, labeltop=True, labelbottom=False)
    return figure


def _heat_map_cell(
    axes: Any, place: tuple[int, int], mean: Interval | None, scale: Scale, *, write: bool
) -> None:
    from matplotlib.patches import Rectangle

    share = min(max(scale.share(mean.mean), 0.0), 1.0) if mean else 0.0
    corner = (place[0] - 0.49, place[1] - 0.48)
    axes.add_patch(Rectangle(corner, 0.98, 0.96, facecolor=SOFT, alpha=share, linewidth=0))
    if not write:
        return
    axes.text(
        *place,
        number(mean.mean) if mean else MISSING,
        ha="center",
        va="center",
        fontsize=8.5,
        color=PAGE if share > 0.7 else INK,  # legible on the colour of the cell
    )
