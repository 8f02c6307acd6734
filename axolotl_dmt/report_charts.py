"""Geometry of the HTML report's charts: numbers in, percentages and SVG paths out.

Every chart is an SVG of 100 by 100 units stretched to its box, with strokes that do not stretch;
its words are HTML laid over it by percentages, so they keep their size at any width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from axolotl_dmt import metrics
from axolotl_dmt import report_view as view
from axolotl_dmt.report_view import AbilityLine

_POINTS = 400  # more than a phone has pixels, few enough for a small file


@dataclass(frozen=True, kw_only=True)
class Label:
    """A word at a place: `x` and `y` in percent of the box; `side` is above or below its point."""

    x: float
    y: float
    text: str
    side: str = "above"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One ability by stage: the line, the dots and the error bars, as SVG paths."""

    name: str
    last: str
    line: str
    dots: str
    bars: str
    values: tuple[Label, ...]
    x_ticks: tuple[Label, ...]
    y_ticks: tuple[Label, ...]
    summary: str


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stage's stretch of an axis, in percent."""

    name: str
    start: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Lines over the training steps: (name, SVG path) each, with ticks and the stages' spans."""

    lines: tuple[tuple[str, str], ...]
    x_ticks: tuple[Label, ...]
    y_ticks: tuple[Label, ...]
    spans: tuple[Span, ...]
    thinned: bool


def ability_panel(line: AbilityLine, names: Sequence[str], first: int) -> Panel:
    """The panel of one ability.

    Args:
        line: the ability.
        names: of the scored points, for the summary.
        first: the number of the first point: 0 where that is the baseline, else 1.
    """
    values = [score.value if score else None for score in line.scores]
    known = [value for value in values if value is not None]
    top = 1.0 if max(known, default=0) <= 1 else nice_ticks(0, max(known))[-1]
    bottom = min(0.0, *known) if known else 0.0

    def x(index: int) -> float:
        return 10 + 80 * (index / (len(values) - 1) if len(values) > 1 else 0.5)

    def y(value: float) -> float:
        return 100 * (top - min(max(value, bottom), top)) / (top - bottom)

    points = [(x(i), None if v is None else y(v)) for i, v in enumerate(values)]
    bars = [
        f"M{x(i):.2f} {y(s.value - s.stderr):.2f}V{y(s.value + s.stderr):.2f}"
        for i, s in enumerate(line.scores)
        if s and metrics.finite(s.stderr) is not None and s.stderr is not None
    ]
    dots = [f"M{a:.2f} {b:.2f}h0" for a, b in points if b is not None]
    few = len(values) <= 4
    return Panel(
        name=line.name,
        last=view.number(values[-1]) if values else view.MISSING,
        line=path(points),
        dots="".join(dots),
        bars="".join(bars),
        values=tuple(
            Label(x=x(i), y=y(v), text=view.number(v), side=_side(values, i))
            for i, v in enumerate(values)
            if v is not None and few
        ),
        x_ticks=tuple(Label(x=x(i), y=100, text=str(i + first)) for i in range(len(values))),
        y_ticks=tuple(Label(x=0, y=y(v), text=f"{v:g}") for v in (bottom, (top + bottom) / 2, top)),
        summary=", ".join(
            f"{name} {view.number(v)}" for name, v in zip(names, values, strict=True)
        ),
    )


def _side(values: Sequence[float | None], index: int) -> str:
    """Below where the line comes from or goes up, so that the number does not lie on it."""
    here = values[index] or 0.0
    around = [v for v in (*values[max(0, index - 1) : index], *values[index + 1 : index + 2]) if v]
    return "below" if around and here < sum(around) / len(around) and here > 0.15 else "above"


def curve_series(curve: Iterable[Mapping[str, Any]], key: str) -> list[tuple[int, str, float]]:
    """(step, stage, value) of each entry that has a finite value under `key`."""
    found = []
    for entry in curve:
        value = entry.get(key)
        if isinstance(value, int | float) and metrics.finite(value) is not None and "step" in entry:
            found.append((int(entry["step"]), str(entry.get("stage", "")), float(value)))
    return found


def training_curve(
    series: Mapping[str, Sequence[tuple[int, str, float]]], ends: Mapping[str, int]
) -> Curve | None:
    """A chart of values over the training steps, with the stages marked.

    Args:
        series: {name: (step, stage, value) in step order}.
        ends: {stage: its last step}, where known.

    Returns:
        The chart, or None where there is nothing to draw.
    """
    points = [point for line in series.values() for point in line]
    if not points:
        return None
    last = max([*(step for step, _, _ in points), *ends.values()])
    low, high = min(v for _, _, v in points), max(v for _, _, v in points)
    ticks = nice_ticks(min(0.0, low), high)
    low, high = ticks[0], ticks[-1]

    def y(value: float) -> float:
        return 100 * (high - value) / (high - low)

    def x(step: float) -> float:
        return 100 * step / last if last else 0.0

    longest = max(series.values(), key=len)
    bounds, start = [], 0
    for stage, steps in groupby(longest, key=lambda point: point[1]):
        end = max(start, ends.get(stage, max(step for step, _, _ in steps)))
        bounds.append(Span(name=stage, start=x(start), width=x(end) - x(start)))
        start = end
    return Curve(
        lines=tuple(
            (name, path([(x(step), y(value)) for step, value in thin(line)]))
            for name, line in series.items()
        ),
        x_ticks=tuple(
            Label(x=x(t), y=100, text=f"{t:,g}") for t in nice_ticks(0, last) if t <= last
        ),
        y_ticks=tuple(Label(x=0, y=y(t), text=f"{t:g}") for t in ticks),
        spans=tuple(bounds),
        thinned=any(len(line) > _POINTS for line in series.values()),
    )


def thin(line: Sequence[tuple[int, str, float]]) -> list[tuple[float, float]]:
    """At most about 400 points: means over equal runs, none of which straddles two stages."""
    size = math.ceil(len(line) / _POINTS)
    thinned = []
    for _, group in groupby(line, key=lambda point: point[1]):
        points = list(group)
        for i in range(0, len(points), size):
            run = points[i : i + size]
            steps, values = [p[0] for p in run], [p[2] for p in run]
            thinned.append((sum(steps) / len(run), sum(values) / len(run)))
    return thinned


def path(points: Iterable[tuple[float, float | None]]) -> str:
    """An SVG path through the points; a missing one breaks the line."""
    parts, pen = [], "M"
    for x, y in points:
        if y is None:
            pen = "M"
        else:
            parts.append(f"{pen}{x:.2f} {y:.2f}")
            pen = "L"
    return "".join(parts)


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) that cover the range, about `wanted`."""
    width = high - low
    if not width > 0:
        return [low, low + 1]
    power = 10.0 ** math.floor(math.log10(width / wanted))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if width / (m * power) <= wanted)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]
