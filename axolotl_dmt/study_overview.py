"""The pictures of a whole study: a heat map, and abilities by the amount of each domain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from axolotl_dmt import report_view as view
from axolotl_dmt.amounts import parse_fraction
from axolotl_dmt.study_look import (
    MARKERS,
    Draw,
    Look,
    dress,
    error_bars,
    label,
    new_figure,
    panels,
    whole_scale,
)
from axolotl_dmt.study_numbers import summary
from axolotl_dmt.treatments import DOMAIN_AMOUNT, Treatment, at_largest_amount, scale_of

Line = list[tuple[Fraction, Treatment]]


def overview(
    treatments: Sequence[Treatment], abilities: Sequence[str]
) -> dict[str, tuple[str, Draw]]:
    """{file name's stem: (caption, function that draws it)}."""
    found: dict[str, tuple[str, Draw]] = {}
    rows = at_largest_amount(treatments)
    if rows and abilities:
        found["heat_map"] = (
            "Mean score after the last stage; the stronger the colour, the nearer the top of the "
            "scale.",
            lambda look: _heat_map(rows, abilities, look),
        )
    ratios = ratio_lines(treatments)
    if ratios and abilities:
        found["ratio"] = (
            "Score by the part of a domain that was there to be trained on, the others' parts "
            "held: mean and 95% interval over seeds.",
            lambda look: _ratios(ratios, abilities, treatments, look),
        )
    return found


def ratio_lines(treatments: Sequence[Treatment]) -> dict[str, dict[str, Line]]:
    """What varies the amount of one domain and holds the others.

    Returns:
        {domain, as the study names it: {what is held, in words: points by amount}}, for lines of
        three points or more.
    """
    found: dict[str, dict[str, Line]] = {}
    axes = (axis for t in treatments for axis in t.settings if axis.startswith(DOMAIN_AMOUNT))
    for axis in dict.fromkeys(axes):
        lines: dict[str, Line] = {}
        for treatment in treatments:
            if axis in treatment.settings:
                held = {k: v for k, v in treatment.settings.items() if k not in (axis, "strategy")}
                words = ", ".join(f"{k.removeprefix(DOMAIN_AMOUNT)} {v}" for k, v in held.items())
                amount = parse_fraction(treatment.settings[axis], axis)
                lines.setdefault(words, []).append((amount, treatment))
        long = {
            words: sorted(line, key=lambda point: point[0])
            for words, line in lines.items()
            if len({amount for amount, _ in line}) > 2
        }
        if long:
            found[axis.removeprefix(DOMAIN_AMOUNT)] = long
    return found


def _ratios(
    ratios: dict[str, dict[str, Line]],
    abilities: Sequence[str],
    treatments: Sequence[Treatment],
    look: Look,
) -> Any:
    figure, axes = panels(len(ratios) * len(abilities), look)
    wanted = [(domain, ability) for domain in ratios for ability in abilities]
    for axis, (domain, ability) in zip(axes, wanted, strict=True):
        amounts: set[Fraction] = set()
        for i, (words, line) in enumerate(ratios[domain].items()):
            known = [(a, s) for a, t in line if a > 0 and (s := summary(t.scores(ability)))]
            amounts |= {amount for amount, _ in known}
            error_bars(
                axis,
                [float(amount) for amount, _ in known],
                [mean for _, mean in known],
                color=look.colours[i % len(look.colours)],
                marker=MARKERS[i % len(MARKERS)],
                linewidth=1.5,
                label=label(words) or None,
            )
        axis.set_xscale("log")
        shown = sorted(amounts)[:: math.ceil(len(amounts) / 6) or 1]
        axis.set_xticks([float(amount) for amount in shown], [str(amount) for amount in shown])
        axis.set_xticks([], minor=True)
        axis.set_xlabel(label(f"part of {domain} data"), fontsize=8.5)
        whole_scale(axis, scale_of(treatments, ability))
        dress(axis, look, ability)
        if ability == abilities[0] and axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=8.5, frameon=False, labelcolor=look.ink, loc="best")
    return figure


def _heat_map(rows: Sequence[Treatment], abilities: Sequence[str], look: Look) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    scales = {ability: scale_of(rows, ability) for ability in abilities}
    figure = new_figure(
        *((3.5, 0.34 * len(rows) + 0.7) if look.narrow else (6.8, 0.36 * len(rows) + 0.7))
    )
    axes = figure.subplots()
    means = [[summary(t.scores(a)) for a in abilities] for t in rows]
    shares = [
        [
            math.nan if i is None else i.mean / scales[a]
            for a, i in zip(abilities, line, strict=True)
        ]
        for line in means
    ]
    shades = LinearSegmentedColormap.from_list("share", (look.page, look.colours[0]))
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for i, line in enumerate(means):
        for j, found in enumerate(line):
            axes.text(
                j,
                i,
                view.number(found.mean) if found else view.MISSING,
                ha="center",
                va="center",
                fontsize=8.5,
                color=_ink_on(shares[i][j], look),
            )
    dress(axes, look)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_yticks(range(len(rows)), [label(t.label, 48) for t in rows], color=look.ink)
    axes.set_xticks(range(len(abilities)), [label(a, 14) for a in abilities], color=look.ink)
    axes.xaxis.tick_top()
    return figure


def _ink_on(share: float, look: Look) -> str:
    """The ink that can be read on a cell: the page's colour on a full one."""
    return look.page if share > 0.6 else look.ink
