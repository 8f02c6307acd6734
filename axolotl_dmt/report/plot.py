"""Draws the PNG pictures: `abilities.png` of a report, and that of a comparison."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt.chart_style import (
    MARKERS,
    SOFT,
    dress,
    label,
    name_line_ends,
    new_figure,
    panels,
    save,
    wrapped,
)
from axolotl_dmt.report.charts import draw_line, number_points, show_scale
from axolotl_dmt.report.format import number
from axolotl_dmt.report.view import ReportView, all_colours

_LONGEST_NAME = 22


def plot_abilities(view: ReportView, path: Path) -> None:
    """Draw each ability by stage, in one panel if the abilities can share an axis.

    Args:
        view: a run with at least one score.
        path: the PNG to write.
    """
    if len(view.lines) <= len(MARKERS) and all(line.scale == 1 for line in view.lines):
        figure = _one_panel(view)
    else:
        figure = _panel_for_each(view)
    save(figure, path)


def _one_panel(view: ReportView) -> Any:
    names = view.names
    figure = new_figure(min(12, max(6.4, 1.1 * len(names) + 2.4)), 4.2)
    axes = figure.subplots()
    ends = []
    for line, marker in zip(view.lines, MARKERS, strict=False):
        colour = view.ability_colours[line.name]
        draw_line(axes, line, colour, marker)
        shown = [score.value for score in line.scores if score]
        if shown:
            text = f"{wrapped(line.name, _LONGEST_NAME)} {number(shown[-1])}"
            ends.append((text, colour, shown[-1]))
    most_lines = max((text.count("\n") + 1 for text, _, _ in ends), default=1)
    name_line_ends(axes, ends, 0.055 * most_lines, size=9.5)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(-0.25, len(names) - 0.75)
    width = 14 if len(names) <= 6 else 11
    ticks = [wrapped(n, width) + ("\n(failed)" if n in view.errors else "") for n in names]
    axes.set_xticks(range(len(names)), ticks)
    dress(axes, "Ability after each stage (score ± standard error)", longest=60)
    return figure


def _panel_for_each(view: ReportView) -> Any:
    columns = min(4, math.ceil(math.sqrt(len(view.lines))))
    figure, axes = panels(len(view.lines), (2.7, 2.0), columns)
    for axis, line in zip(axes, view.lines, strict=True):
        draw_line(axis, line, view.ability_colours[line.name])
        show_scale(axis, line, margin=0.04)
        number_points(axis, view, most=12)
        dress(axis, line.name, longest=_LONGEST_NAME)
    legend = "   ".join(
        f"{i} {label(name, 80)}" for i, name in enumerate(view.names, view.first_number)
    )
    text = "\n".join(textwrap.wrap(legend, 36 * columns))
    figure.supxlabel(text, fontsize=8.5, color=SOFT)
    return figure


def plot_runs(runs: Sequence[tuple[str, ReportView]], path: Path) -> None:
    """Draw each ability after the last stage of several runs.

    Args:
        runs: name and view of each run.
        path: the PNG to write.
    """
    abilities = list(dict.fromkeys(line.name for _, view in runs for line in view.lines))
    height = 0.28 * len(runs) + 0.8
    figure, axes = panels(max(1, len(abilities)), (7.2, height), 1)
    colours = all_colours([view for _, view in runs])
    for axis, ability in zip(axes, abilities or [""], strict=True):
        lines = [view.line(ability) for _, view in runs]
        for row, line in enumerate(lines):
            if line and line.last:
                length = line.last.value
                axis.barh(row, length, xerr=line.last.stderr or 0.0, color=colours[ability])
        axis.set_yticks(range(len(runs)), [wrapped(name, _LONGEST_NAME, 2) for name, _ in runs])
        axis.set_ylim(len(runs) - 0.4, -0.6)
        axis.set_xlim(0, 1.02 * max((line.scale for line in lines if line), default=1.0))
        dress(axis, ability, grid="x", longest=_LONGEST_NAME)
    save(figure, path)
