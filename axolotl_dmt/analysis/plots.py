"""Draws the pictures that compare treatments: scaling curves, k trade-off, ability by stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from axolotl_dmt.analysis.comparisons import Comparison
from axolotl_dmt.analysis.error_bars import PANEL, error_bars
from axolotl_dmt.analysis.intervals import Interval
from axolotl_dmt.analysis.measure import Scale
from axolotl_dmt.analysis.numbers import ScalingCurve, change_of, curves, summary
from axolotl_dmt.analysis.tradeoff import quoting, tradeoff
from axolotl_dmt.analysis.treatments import CellResult, Treatment, at_largest_amount
from axolotl_dmt.chart_style import (
    INK,
    MARKERS,
    PAGE,
    SOFT,
    Draw,
    colours_of,
    dress,
    label,
    name_line_ends,
    panels,
    wrapped,
)
from axolotl_dmt.report import paper
from axolotl_dmt.report.format import number

MOST_LEVEL_NAMES = 3
"""Stages whose names fit below a panel beside each other."""
_SETUPS = {"single": "its data alone", "multi_task": "all data mixed"}
_FILLS: dict[str, dict[str, Any]] = {
    "single": {},
    "multi_task": {"markerfacecolor": PAGE, "markeredgewidth": 1.3},
}
"""The markers of a set-up; the colour is that of the ability."""


def whole_scale(axes: Any, scale: Scale) -> None:
    """Set the limits of a score's axis to the range of the ability's scores."""
    room = 0.04 * (scale.high - scale.low)
    axes.set_ylim(scale.low - room, scale.high + room)


def ability_colours(treatments: Sequence[Treatment], abilities: Sequence[str]) -> dict[str, str]:
    """Return {ability: colour}; an ability has the colour of the domain with the same name."""
    stages = (stage for t in treatments for cell in t.cells for stage in cell.stages)
    domains = dict.fromkeys(domain for stage in stages for domain in stage.rows)
    return colours_of(abilities, colours_of(domains))


def pictures(comparison: Comparison, size: str | None) -> dict[str, tuple[str, Draw]]:
    """Return the pictures for which a comparison has the cells.

    Args:
        comparison: the treatments.
        size: the model size of the paper whose results are quoted; None if the base model is not
            comparable.

    Returns:
        {stem of the file name: (caption, function that draws it)}.
    """
    drawings: dict[str, tuple[str, Draw]] = {}
    lines = curves(comparison)
    if lines:
        drawings["scaling"] = (
            f"{comparison.measure.title} by rows of the ability's own data: mean and 95% interval "
            "over seeds, and the fitted curve."
            + quoting(size, _quoted_curves(lines, comparison, size)),
            lambda narrow: _scaling(comparison, lines, size, narrow),
        )
    if found := tradeoff(comparison, size):
        drawings["k_tradeoff"] = found
    multi_stage = _multi_stage(comparison)
    if multi_stage and comparison.abilities:
        drawings["ability_by_stage"] = (
            f"Each ability after each stage: mean and 95% interval over seeds.{_since(comparison)}",
            lambda narrow: _stages(comparison, multi_stage, narrow),
        )
    return drawings


def _since(comparison: Comparison) -> str:
    """Return what values without a natural zero are relative to after each stage."""
    if comparison.measure.is_score:
        return ""
    return (
        f" Values are changes of the {comparison.measure.name} since before training or, if that "
        "was not measured, since the first stage, paired by seed."
    )


def _quoted_curves(
    lines: Sequence[ScalingCurve], comparison: Comparison, size: str | None
) -> list[Any]:
    if size is None:
        return []
    quoted = (
        paper.quoted_curve(size, c.setup, c.ability, comparison.scale(c.ability).high)
        for c in lines
    )
    return [points for points in quoted if points]


def _scaling(
    comparison: Comparison, lines: Sequence[ScalingCurve], size: str | None, narrow: bool
) -> Any:
    abilities = list(dict.fromkeys(line.ability for line in lines))
    figure, axes = panels(len(abilities), PANEL, 1 if narrow else 3)
    colours = ability_colours(comparison.treatments, comparison.abilities)
    for axis, ability in zip(axes, abilities, strict=True):
        scale = comparison.scale(ability)
        rows = {r for c in lines if c.ability == ability for r in _rows(c)}
        for index, (setup, setup_label) in enumerate(_SETUPS.items()):
            for curve in (c for c in lines if (c.ability, c.setup) == (ability, setup)):
                style = {"marker": MARKERS[index], **_FILLS[setup]}
                _draw_curve(axis, curve, setup_label, colours[ability], style)
            quoted = paper.quoted_curve(size, setup, ability, scale.high) if size else []
            rows |= {r for r, _ in quoted}
            if quoted:
                style = {"color": SOFT, "linestyle": "--", "linewidth": 1.0}
                axis.plot(*zip(*quoted, strict=True), **style, marker=MARKERS[index], markersize=3)
        axis.set_xscale("log")
        ticks = sorted(rows)[:: math.ceil(len(rows) / 5)]
        axis.set_xticks(ticks, [f"{r:,.0f}" for r in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlabel("rows", fontsize=8.5)
        whole_scale(axis, scale)
        dress(axis, ability)
    axes[0].legend(fontsize=8.5, frameon=False, labelcolor=INK, loc="best")
    return figure


def _rows(curve: ScalingCurve) -> set[float]:
    return {rows for line in curve.points.values() for rows, _ in line}


def _draw_curve(
    axes: Any, curve: ScalingCurve, text: str, colour: str, marker: Mapping[str, Any]
) -> None:
    """Draw the means of a curve with their intervals, and its preferred fit."""
    by_rows: dict[float, dict[int, float]] = {}
    for seed, line in curve.points.items():
        for count, score in line:
            by_rows.setdefault(count, {})[seed] = score
    rows = sorted(by_rows)
    means = [interval for r in rows if (interval := summary(by_rows[r]))]
    error_bars(axes, rows, means, color=colour, linestyle="none", label=text, **marker)
    fit = next(iter(curve.fits.values()), None)
    if fit:
        steps = [rows[0] * (rows[-1] / rows[0]) ** (i / 60) for i in range(61)]
        axes.plot(steps, [fit.predict(x) for x in steps], color=colour, linewidth=1.5)
    else:
        axes.plot(rows, [i.mean for i in means], color=colour, linewidth=1.0)


def _multi_stage(comparison: Comparison) -> list[Treatment]:
    """Return treatments of several stages at the largest amount; of DMT only the reference k."""
    reference = comparison.reference()
    return [
        t
        for t in at_largest_amount(comparison.treatments)
        if len(t.stage_names) > 1 and (t.strategy != "dmt" or t.k is None or t is reference)
    ]


def _stages(comparison: Comparison, treatments: Sequence[Treatment], narrow: bool) -> Any:
    height = PANEL[1] * max(1.0, len(comparison.abilities) / 8)  # room for their names
    gap = 0.085 * PANEL[1] / height
    figure, axes = panels(len(treatments), (PANEL[0], height), 1 if narrow else 3)
    colours = ability_colours(comparison.treatments, comparison.abilities)
    lines = [
        {a: _means_by_stage(comparison, treatment, a) for a in comparison.abilities}
        for treatment in treatments
    ]
    if comparison.measure.is_score:
        scales = {ability: comparison.scale(ability) for ability in comparison.abilities}
        whole = Scale(0.0, 1.0)
    else:
        # Values without a natural zero are drawn as changes, all abilities on one scale.
        whole = _range_of(means for by_ability in lines for means in by_ability.values())
        scales = dict.fromkeys(comparison.abilities, Scale(0.0, 1.0))
    for axis, treatment, by_ability in zip(axes, treatments, lines, strict=True):
        names = treatment.stage_names
        ends = []
        for index, (ability, means) in enumerate(by_ability.items()):
            scale = scales[ability]
            shares = [_rescaled(interval, scale) for interval in means.values()]
            style = {"color": colours[ability], "marker": MARKERS[index % len(MARKERS)]}
            error_bars(axis, list(means), shares, linewidth=1.6, **style)
            if means:
                last = list(means.values())[-1]
                sign = "" if comparison.measure.is_score or last.mean < 0 else "+"
                text = f"{label(ability, 20)} {sign}{number(last.mean)}"
                ends.append((text, colours[ability], scale.share(last.mean)))
        name_line_ends(axis, ends, gap * (whole.high - whole.low))
        _name_stages(axis, names)
        axis.set_xlim(-0.2, len(names) - 0.8)
        whole_scale(axis, whole)
        dress(axis, treatment.label)
    return figure


def _means_by_stage(
    comparison: Comparison, treatment: Treatment, ability: str
) -> dict[int, Interval]:
    """Return {stage: interval over seeds}, of scores or of changes since before training."""
    values = [
        treatment.by_seed(_score_after(index, ability))
        for index in range(len(treatment.stage_names))
    ]
    before = treatment.by_seed(lambda cell: cell.before.get(ability)) or values[0]
    means = {
        index: summary(each) if comparison.measure.is_score else change_of(each, before)
        for index, each in enumerate(values)
    }
    return {index: interval for index, interval in means.items() if interval}


def _range_of(lines: Iterable[Mapping[int, Interval]]) -> Scale:
    """Return the range of the changes on all lines, with their intervals."""
    ends = [
        end
        for line in lines
        for interval in line.values()
        for end in (interval.mean, interval.low, interval.high)
        if end is not None
    ]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    return Scale(low, high if high > low else low + 1.0)


def _name_stages(axes: Any, names: Sequence[str]) -> None:
    """Write the names of stages below a panel; those of many stages are slanted."""
    if len(names) <= MOST_LEVEL_NAMES:
        axes.set_xticks(range(len(names)), [wrapped(name, 12) for name in names])
        return
    slant = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(names)), [label(name, 18) for name in names], **slant)


def _score_after(stage: int, ability: str) -> Callable[[CellResult], float | None]:
    """Return a function that returns a cell's score of an ability after a stage, if it has one."""
    return lambda cell: cell.stages[stage].scores.get(ability) if stage < len(cell.stages) else None


def _rescaled(interval: Interval, scale: Scale) -> Interval:
    """Return an interval as fractions of a scale."""
    low = None if interval.low is None else scale.share(interval.low)
    high = None if interval.high is None else scale.share(interval.high)
    mean = scale.share(interval.mean)
    return Interval(mean=mean, low=low, high=high, bootstrap=None, n=interval.n)
