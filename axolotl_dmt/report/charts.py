"""The charts of `report.html` and of a comparison's page, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from axolotl_dmt.chart_style import (
    BAD,
    FAINT,
    INK,
    PAGE,
    SOFT,
    dress,
    label,
    new_figure,
    svg,
    svg_for_widths,
)
from axolotl_dmt.report.format import MISSING, number
from axolotl_dmt.report.view import AbilityLine, ReportView
from axolotl_dmt.results import metrics
from axolotl_dmt.results.results import Score

CurvePoint = tuple[int, str, float]
"""Optimiser step, stage, value; the value is NaN where the curve has a gap."""

_MOST_POINTS = 400  # more than a phone has pixels, few enough for a small file
_FEW_PANELS, _FEW_POINTS = 3, 4


@dataclass(frozen=True, kw_only=True)
class AbilityChart:
    """The chart of one ability by stage.

    Attributes:
        name: the ability.
        last: its last score, as text.
        drawing: the SVG.
    """

    name: str
    last: str
    drawing: Any


@dataclass(frozen=True, kw_only=True)
class StepChart:
    """A chart of values over the optimiser steps.

    Attributes:
        drawing: the SVG, in a wide and a narrow variant.
        thinned: whether a point stands for several steps.
    """

    drawing: Any
    thinned: bool


def ability_charts(view: ReportView) -> list[AbilityChart]:
    """Draw a chart for each ability of a run."""
    size = (3.0, 1.9) if len(view.lines) <= _FEW_PANELS else (2.1, 1.5)
    return [_ability_chart(view, i, size) for i in range(len(view.lines))]


def _ability_chart(view: ReportView, index: int, size: tuple[float, float]) -> AbilityChart:
    line = view.lines[index]
    texts = [number(score.value) if score else MISSING for score in line.scores]
    by_stage = (f"{name} {text}" for name, text in zip(view.names, texts, strict=True))
    width, height = size
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes(
        (0.34 / width, 0.26 / height, 1 - 0.4 / width, 1 - (0.26 + 0.26) / height)
    )
    draw_line(axes, line, view.ability_colours[line.name])
    if len(texts) <= _FEW_POINTS:
        _write_values(axes, line)
    number_points(axes, view, most=8)
    show_scale(axes, line, margin=0.0)
    dress(axes)
    axes.tick_params(labelsize=9)  # on a phone two charts share a row, and shrink
    return AbilityChart(
        name=line.name,
        last=texts[-1] if texts else MISSING,
        drawing=svg(figure, name=f"ability-{index}", summary=f"{line.name}: {', '.join(by_stage)}"),
    )


def draw_line(axes: Any, line: AbilityLine, colour: str, marker: str = "o") -> None:
    """Draw the scores of an ability with their standard errors."""
    # A missing score breaks the line: nothing is drawn where nothing was measured.
    values = [score.value if score else math.nan for score in line.scores]
    errors = [metrics.finite(score.stderr) or 0.0 if score else math.nan for score in line.scores]
    axes.errorbar(
        range(len(values)),
        values,
        yerr=errors,
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.6,
        elinewidth=1.1,
        capsize=2.5,
        clip_on=False,
    )


def number_points(axes: Any, view: ReportView, most: int) -> None:
    """Label the horizontal axis with the numbers of the points, of at most `most` of them."""
    count = len(view.points)
    shown = range(0, count, math.ceil(count / most) or 1)
    axes.set_xticks(list(shown), [str(i + view.first_number) for i in shown])
    axes.set_xlim(-0.4, count - 0.6)


def show_scale(axes: Any, line: AbilityLine, margin: float) -> None:
    """Show an ability's whole scale, with ticks at its ends and its middle.

    Args:
        axes: the panel.
        line: the ability.
        margin: room above and below, as a share of the scale.
    """
    bottom = min([0.0, *(score.value for score in line.scores if score)])
    room = margin * (line.scale - bottom)
    ticks = (bottom, (line.scale + bottom) / 2, line.scale)
    axes.set_ylim(bottom - room, line.scale + room)
    axes.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])


def _write_values(axes: Any, line: AbilityLine) -> None:
    values = [score.value if score else None for score in line.scores]
    for i, value in enumerate(values):
        if value is not None:
            below = _is_below(values, i, line.scale)
            axes.annotate(
                number(value),
                (i, value),
                xytext=(0, -7 if below else 7),
                textcoords="offset points",
                ha="center",
                va="top" if below else "bottom",
                fontsize=8.5,
                color=INK,
            )


def _is_below(values: Sequence[float | None], index: int, scale: float) -> bool:
    """Return whether a number belongs below its point, so that the line does not cross it."""
    value = values[index] or 0.0
    before, after = values[max(0, index - 1) : index], values[index + 1 : index + 2]
    neighbours = [v for v in (*before, *after) if v]
    if not neighbours or value <= 0.2 * scale:
        return False
    return value < sum(neighbours) / len(neighbours)


def change_track(
    best: Score | None, last: Score | None, scale: float, *, colour: str, name: str
) -> Any:
    """Draw a line from an ability's best earlier score (a ring) to its last score (a dot).

    Args:
        best: the best score after an earlier stage.
        last: the score after the last stage.
        scale: the top of the scale.
        colour: the ability's colour.
        name: unique in the page.

    Returns:
        The SVG. It has no summary, because the page gives the numbers beside it.
    """
    figure = new_figure(5.6, 0.16, layout=None)
    scores = [None if s is None else min(max(s.value, 0.0), scale) / scale for s in (best, last)]
    places = [None if score is None else 0.01 + 0.98 * score for score in scores]
    _draw_across(figure, [0.01, 0.99], color=FAINT, linewidth=0.8)
    _draw_across(
        figure, [place for place in places if place is not None], color=colour, linewidth=2.2
    )
    for place, fill in zip(places, (PAGE, colour), strict=True):
        if place is not None:
            style = {"markerfacecolor": fill, "markeredgewidth": 1.5, "markersize": 7.5}
            _draw_across(figure, [place], color=colour, marker="o", **style)
    return svg(figure, name=name, kind="track")


def _draw_across(figure: Any, places: Sequence[float], **style: Any) -> None:
    """Draw a line at half the height of a figure, between places from 0 (left) to 1 (right)."""
    # Directly on the figure: an Axes takes most of the time of such a small drawing.
    from matplotlib.lines import Line2D

    figure.add_artist(Line2D(places, [0.5] * len(places), **style))


def share_bar(shares: Sequence[tuple[str, float, str]], *, name: str) -> Any:
    """Draw a bar that is divided by shares; it stretches to the width of the page.

    Args:
        shares: (domain, percent, colour) of each part.
        name: unique in the page.
    """
    from matplotlib.patches import Rectangle

    figure = new_figure(9.6, 0.13, layout=None)
    left = 0.0
    for _, percent, colour in shares:
        part = Rectangle(
            (left, 0), percent / 100, 1, facecolor=colour, edgecolor=PAGE, linewidth=0.7
        )
        figure.add_artist(part)
        left += percent / 100
    summary = ", ".join(f"{domain} {percent:.2f}%" for domain, percent, _ in shares)
    return svg(figure, name=name, summary=summary, kind="shares", stretches=True)


def loss_chart(view: ReportView) -> StepChart | None:
    """Draw the training loss, and the loss of each domain if the log has `domain_loss` entries."""
    curve = view.results.learning_curve
    domains = dict.fromkeys(name for entry in curve for name in entry.get("domain_loss") or {})
    lines = {"loss": (curve_points(curve, "loss"), INK)}
    for domain in domains:
        values = [
            {**entry, "value": entry["domain_loss"][domain]}
            for entry in curve
            if domain in (entry.get("domain_loss") or {})
        ]
        colour = view.domain_colours.get(domain, SOFT)
        lines[f"loss of {domain}"] = (curve_points(values, "value"), colour)
    return _step_chart(view, lines, 2.6, name="loss", summary="Training loss by optimiser step")


def rate_chart(view: ReportView) -> StepChart | None:
    """Draw the learning rate."""
    curve = [e for e in view.results.learning_curve if e.get("learning_rate") is not None]
    points = curve_points(curve, "learning_rate")
    lines = {"learning rate": (points, INK)}
    return _step_chart(view, lines, 1.4, name="rate", summary="Learning rate by optimiser step")


def curve_points(curve: Iterable[Mapping[str, Any]], key: str) -> list[CurvePoint]:
    """Return (step, stage, value) of each log entry with the key; NaN for what is not finite."""
    points = []
    for entry in curve:
        value = entry.get(key, "")
        # The results file holds null for NaN and infinity.
        if isinstance(value, int | float | None) and "step" in entry:
            shown = metrics.finite(value)
            value = math.nan if shown is None else shown
            points.append((int(entry["step"]), str(entry.get("stage", "")), value))
    return points


def _is_gap(point: CurvePoint) -> bool:
    return math.isnan(point[2])


def _step_chart(
    view: ReportView,
    lines: Mapping[str, tuple[list[CurvePoint], str]],
    height: float,
    *,
    name: str,
    summary: str,
) -> StepChart | None:
    lines = {
        text: (points, colour)
        for text, (points, colour) in lines.items()
        if not all(map(_is_gap, points))
    }
    if not lines:
        return None
    return StepChart(
        drawing=svg_for_widths(
            lambda narrow: _draw_steps(view, lines, (3.5 if narrow else 9.4, height)),
            name=name,
            summary=summary,
        ),
        thinned=any(len(points) > _MOST_POINTS for points, _ in lines.values()),
    )


def _draw_steps(
    view: ReportView,
    lines: Mapping[str, tuple[list[CurvePoint], str]],
    size: tuple[float, float],
) -> Any:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    columns = max(1, int(14 * size[0] // (min(34, max(map(len, lines))) + 6)))
    legend_height = 0.2 * math.ceil(len(lines) / columns) if len(lines) > 1 else 0.0
    figure = new_figure(size[0], size[1] + legend_height)
    axes = figure.subplots()
    for text, (points, colour) in lines.items():
        _draw_curve(axes, thin(points), colour, label(text))
    ends = {stage.name: stage.end_step for stage in view.results.stages}
    last = max([*(p[0] for points, _ in lines.values() for p in points), *ends.values()])
    lowest = min(p[2] for points, _ in lines.values() for p in points if not _is_gap(p))
    axes.set_xlim(0, last or 1)
    if lowest >= 0:
        axes.set_ylim(bottom=0)
    for axis, text in ((axes.xaxis, "{:,g}"), (axes.yaxis, "{:g}")):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _, text=text: text.format(value)))
    longest = max((points for points, _ in lines.values()), key=len)
    _mark_stages(axes, longest, ends, last or 1, size[0], _stage_numbers(view))
    dress(axes)
    if len(lines) > 1:
        style = {"fontsize": 8.5, "frameon": False, "labelcolor": SOFT}
        figure.legend(loc="outside upper left", ncols=columns, **style)
    return figure


def _draw_curve(axes: Any, points: Sequence[tuple[float, float]], colour: str, text: str) -> None:
    """Draw a curve that is interrupted where its value is NaN, with a cross at each such step."""
    steps, values = zip(*points, strict=True)
    axes.plot(steps, values, color=colour, linewidth=1.3, label=text)
    gaps = [math.isnan(value) for value in (math.nan, *values, math.nan)]
    alone = [points[i] for i in range(len(points)) if gaps[i : i + 3] == [True, False, True]]
    if alone:  # a line through one point is not visible
        axes.plot(*zip(*alone, strict=True), color=colour, linestyle="none", marker=".")
    missing = [step for step, value in points if math.isnan(value)]
    if missing:
        style = {"color": BAD, "linestyle": "none", "markersize": 4, "clip_on": False}
        places = axes.get_xaxis_transform()
        axes.plot(missing, [0.0] * len(missing), marker="x", transform=places, **style)


def _stage_numbers(view: ReportView) -> dict[str, int]:
    """Return {stage: its number, from 1}."""
    planned = [str(stage.get("name", "")) for stage in view.planned_stages()]
    names = dict.fromkeys([*planned, *(stage.name for stage in view.results.stages)])
    return {name: number for number, name in enumerate(names, 1)}


def _mark_stages(
    axes: Any,
    points: Sequence[CurvePoint],
    ends: Mapping[str, int],
    last: int,
    width: float,
    numbers: Mapping[str, int],
) -> None:
    """Draw a line where each stage starts, and write its number and name above its steps.

    The name is left out where it does not fit; the page lists the stages with their numbers.
    """
    characters = 15 * (width - 0.7)  # that fit above the whole axis
    start = 0
    for stage, group in groupby(points, key=lambda point: point[1]):
        end = max(start, ends.get(stage, max(step for step, _, _ in group)))
        if start:
            axes.axvline(start, ymax=1.1, color=SOFT, linewidth=0.6, alpha=0.6, clip_on=False)
        room = int(characters * (end - start) / last) - 1
        named = f"{numbers[stage]} {label(stage, 80)}" if stage in numbers else label(stage, 80)
        text = named if len(named) <= room else str(numbers.get(stage, ""))
        if len(text) <= room:
            axes.annotate(
                text,
                (start, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=8.5,
                color=SOFT,
            )
        start = end


def thin(points: Sequence[CurvePoint]) -> list[tuple[float, float]]:
    """Return at most about 400 points (step, value), and a point with NaN for each gap.

    Each is the mean over an equal number of neighbouring steps of the same stage.
    """
    size = math.ceil(len(points) / _MOST_POINTS)
    thinned = []
    for _, group in groupby(points, key=lambda point: point[1]):
        stage_points = list(group)
        for start in range(0, len(stage_points), size):
            whole = stage_points[start : start + size]
            chunk = [point for point in whole if not _is_gap(point)]
            steps, values = [p[0] for p in chunk], [p[2] for p in chunk]
            if chunk:
                thinned.append((sum(steps) / len(chunk), sum(values) / len(chunk)))
            if len(chunk) < len(whole):
                thinned.append((next(p[0] for p in whole if _is_gap(p)), math.nan))
    return sorted(thinned, key=lambda point: point[0])
