"""The pictures that compare treatments: scaling curves, the k trade-off, ability by stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from axolotl_dmt import paper
from axolotl_dmt import report_view as view
from axolotl_dmt.intervals import Interval
from axolotl_dmt.report_plot import spread
from axolotl_dmt.study_look import (
    MARKERS,
    PANEL,
    Draw,
    Look,
    dress,
    error_bars,
    error_lengths,
    label,
    new_figure,
    panels,
    whole_scale,
)
from axolotl_dmt.study_numbers import Curve, curves, summary
from axolotl_dmt.treatments import Comparison, Treatment, at_largest_amount

_SETUPS = {"single": "its data alone", "multi_task": "all data mixed"}


def pictures(comparison: Comparison, size: str | None) -> dict[str, tuple[str, Draw]]:
    """The pictures that a study's cells allow.

    Args:
        comparison: the treatments.
        size: the paper's size to quote, where the base model is comparable.

    Returns:
        {file name's stem: (caption, function that draws it)}.
    """
    found: dict[str, tuple[str, Draw]] = {}
    lines = curves(comparison)
    if lines:
        found["scaling"] = (
            "Score by rows of the ability's own data: mean and 95% interval over seeds, and the "
            "fitted curve." + _quoting(size, _quoted_curves(lines, comparison, size)),
            lambda look: _scaling(comparison, lines, size, look),
        )
    if len(comparison.ks) > 1 and comparison.specialised and _general(comparison):
        found["k_tradeoff"] = (
            "Specialised against general ability, one point a k with 95% intervals over seeds, "
            "joined in the order of k. Crosses are other strategies."
            + _quoting(size, _quoted_sweep(comparison, size)),
            lambda look: _k_tradeoff(comparison, size, look),
        )
    staged = _staged(comparison)
    if staged:
        found["ability_by_stage"] = (
            "Each ability after each stage: mean and 95% interval over seeds.",
            lambda look: _stages(comparison, staged, look),
        )
    return found


def _quoting(size: str | None, quoted: Sequence[Any]) -> str:
    return f" Dashed grey: quoted from the paper's {size}, not measured here." if quoted else ""


def _quoted_curves(lines: Sequence[Curve], comparison: Comparison, size: str | None) -> list[Any]:
    if size is None:
        return []
    found = (
        paper.quoted_curve(size, c.setup, c.ability, comparison.scale(c.ability)) for c in lines
    )
    return [points for points in found if points]


def _quoted_sweep(comparison: Comparison, size: str | None) -> list[tuple[str, dict[str, float]]]:
    scales = {ability: comparison.scale(ability) for ability in comparison.abilities}
    return paper.quoted_k_sweep(size, scales) if size else []


def _scaling(comparison: Comparison, lines: Sequence[Curve], size: str | None, look: Look) -> Any:
    abilities = list(dict.fromkeys(line.ability for line in lines))
    figure, axes = panels(len(abilities), look)
    for axis, ability in zip(axes, abilities, strict=True):
        scale = comparison.scale(ability)
        rows = {r for c in lines if c.ability == ability for r in _rows(c)}
        for index, (setup, words) in enumerate(_SETUPS.items()):
            colour = look.colours[index]
            for curve in (c for c in lines if (c.ability, c.setup) == (ability, setup)):
                _curve(axis, curve, words, colour, MARKERS[index])
            quoted = paper.quoted_curve(size, setup, ability, scale) if size else []
            rows |= {r for r, _ in quoted}
            if quoted:
                style = {"color": look.soft, "linestyle": "--", "linewidth": 1.0}
                axis.plot(*zip(*quoted, strict=True), **style, marker=MARKERS[index], markersize=3)
        axis.set_xscale("log")
        shown = sorted(rows)[:: math.ceil(len(rows) / 5)]
        axis.set_xticks(shown, [f"{r:,.0f}" for r in shown])
        axis.set_xticks([], minor=True)
        axis.set_xlabel("rows", fontsize=8.5)
        whole_scale(axis, scale)
        dress(axis, look, ability)
    axes[0].legend(fontsize=8.5, frameon=False, labelcolor=look.ink, loc="best")
    return figure


def _rows(curve: Curve) -> set[float]:
    return {rows for line in curve.points.values() for rows, _ in line}


def _curve(axes: Any, curve: Curve, words: str, colour: str, marker: str) -> None:
    by_rows: dict[float, dict[int, float]] = {}
    for seed, line in curve.points.items():
        for count, score in line:
            by_rows.setdefault(count, {})[seed] = score
    rows = sorted(by_rows)
    found = [interval for r in rows if (interval := summary(by_rows[r]))]
    error_bars(axes, rows, found, color=colour, marker=marker, linestyle="none", label=words)
    fit = next(iter(curve.fits.values()), None)
    if fit:
        steps = [rows[0] * (rows[-1] / rows[0]) ** (i / 60) for i in range(61)]
        axes.plot(steps, [fit.predict(x) for x in steps], color=colour, linewidth=1.5)
    else:
        axes.plot(rows, [i.mean for i in found], color=colour, linewidth=1.0)


def _general(comparison: Comparison) -> list[str]:
    return [a for a in comparison.abilities if a in comparison.general]


def _mean_of(treatment: Treatment, abilities: Sequence[str]) -> Interval | None:
    """Over seeds, of each seed's mean over abilities; seeds that lack one are left out."""
    columns = [treatment.scores(ability) for ability in abilities]
    seeds = set.intersection(*(set(column) for column in columns)) if columns else set()
    return summary({s: sum(column[s] for column in columns) / len(columns) for s in seeds})


def _k_tradeoff(comparison: Comparison, size: str | None, look: Look) -> Any:
    specialised, general = comparison.specialised, _general(comparison)
    figure = new_figure(*((PANEL[0], 3.6) if look.narrow else (6.4, 4.4)))
    axes = figure.subplots()
    path = []
    for k in comparison.ks:
        treatment = comparison.dmt(k)
        if treatment:
            x, y = _mean_of(treatment, general), _mean_of(treatment, specialised)
            if x and y:
                path.append((f"k = {k}", x, y))
    xs, ys = [x for _, x, _ in path], [y for _, _, y in path]
    axes.errorbar(
        [x.mean for x in xs],
        [y.mean for y in ys],
        xerr=error_lengths(xs),
        yerr=error_lengths(ys),
        color=look.colours[0],
        marker="o",
        markersize=6,
        linewidth=1.5,
        elinewidth=0.8,
        capsize=2,
    )
    others = []
    for name in ("sequential", "multi_task"):
        treatment = comparison.find(name)
        x = _mean_of(treatment, general) if treatment else None
        y = _mean_of(treatment, specialised) if treatment else None
        if x and y:
            axes.plot(x.mean, y.mean, "x", color=look.colours[1], markersize=7, markeredgewidth=1.8)
            others.append((name.replace("_", " "), x, y))
    quoted = _quoted_sweep(comparison, size)
    if quoted:
        mean = [(_average(scores, general), _average(scores, specialised)) for _, scores in quoted]
        style = {"color": look.soft, "linestyle": "--", "linewidth": 1.0}
        axes.plot(*zip(*mean, strict=True), **style, marker="o", markersize=3)
    axes.set_xlabel(f"general ability ({', '.join(general)})", fontsize=9)
    axes.set_ylabel(f"specialised ability\n(mean of {', '.join(specialised)})", fontsize=9)
    dress(axes, look, "What k buys and what it costs")
    axes.margins(0.12)
    _name_points(figure, axes, path + others, look)
    return figure


def _average(scores: Mapping[str, float], abilities: Sequence[str]) -> float:
    return sum(scores[a] for a in abilities) / len(abilities)


def _name_points(
    figure: Any, axes: Any, points: Sequence[tuple[str, Interval, Interval]], look: Look
) -> None:
    """Names in the right margin, kept apart, each with a thin line from its point."""
    figure.draw_without_rendering()  # settles the limits
    low, high = axes.get_ylim()
    heights = [(y.mean - low) / (high - low) for _, _, y in points]
    for (name, x, y), place in zip(points, spread(heights, 0.06), strict=True):
        axes.annotate(
            name,
            (x.mean, y.mean),
            xytext=(1.02, place),
            textcoords="axes fraction",
            fontsize=8.5,
            color=look.ink,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "linestyle": ":",
                "color": look.soft,
                "linewidth": 0.8,
                "shrinkB": 5,
            },
        )


def _staged(comparison: Comparison) -> list[Treatment]:
    """Treatments of several stages at the largest amount; of DMT's k only the reference."""
    reference = comparison.reference()
    return [
        t
        for t in at_largest_amount(comparison.treatments)
        if len(t.stage_names) > 1 and (t.strategy != "dmt" or t.k is None or t is reference)
    ]


def _stages(comparison: Comparison, staged: Sequence[Treatment], look: Look) -> Any:
    figure, axes = panels(len(staged), look)
    for axis, treatment in zip(axes, staged, strict=True):
        names = treatment.stage_names
        ends = []
        for index, ability in enumerate(comparison.abilities):
            colour = look.colours[index % len(look.colours)]
            found = {
                i: interval
                for i in range(len(names))
                if (interval := summary(treatment.by_seed(_score_after(i, ability))))
            }
            scale = comparison.scale(ability)
            shares = [_rescaled(interval, scale) for interval in found.values()]
            error_bars(
                axis, list(found), shares, color=colour, marker=MARKERS[index % 6], linewidth=1.6
            )
            if found:
                last = list(found.values())[-1]
                ends.append((ability, colour, last.mean / scale, view.number(last.mean)))
        places = spread([end[2] for end in ends], 0.085)
        for (ability, colour, _, value), place in zip(ends, places, strict=True):
            axis.annotate(
                f"{label(ability, 14)} {value}",
                (1.0, place),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                color=colour,
                fontsize=8.5,
                va="center",
                annotation_clip=False,
            )
        axis.set_xticks(range(len(names)), [label(name, 12) for name in names])
        axis.set_xlim(-0.2, len(names) - 0.8)
        whole_scale(axis, 1.0)
        dress(axis, look, treatment.label)
    return figure


def _score_after(stage: int, ability: str) -> Callable[[Any], float | None]:
    return lambda outcome: (
        outcome.stages[stage].scores.get(ability) if stage < len(outcome.stages) else None
    )


def _rescaled(found: Interval, scale: float) -> Interval:
    low = None if found.low is None else found.low / scale
    high = None if found.high is None else found.high / scale
    return Interval(mean=found.mean / scale, low=low, high=high, bootstrap=None, n=found.n)
