"""`abilities.png`: each ability by stage, with its standard error."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt import report_view as view
from axolotl_dmt.report_view import AbilityLine
from axolotl_dmt.results import Results

# Okabe and Ito's palette, without its yellow: told apart by most colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_INK, _FAINT = "#333333", "#dddddd"
_LONGEST_NAME = 22


def plot_abilities(results: Results, path: Path) -> None:
    """Draw the picture: one panel where lines can share an axis, else one panel an ability.

    Args:
        results: the run; at least one score.
        path: the PNG to write.
    """
    # A Figure without pyplot draws with Agg and touches no global state of the training process.
    from matplotlib.figure import Figure

    lines = view.ability_lines(results)
    names = [point.name for point in results.points()]
    failed = {name for name, _ in view.errors(results)}
    if len(lines) <= len(COLOURS) and all(_top(line) <= 1 for line in lines):
        figure = Figure(
            figsize=(min(12, max(6.4, 1.1 * len(names) + 2.4)), 4.2), layout="constrained"
        )
        _one_panel(figure.subplots(), lines, names, failed)
    else:
        columns = min(4, math.ceil(math.sqrt(len(lines))))
        height = math.ceil(len(lines) / columns)
        figure = Figure(figsize=(2.7 * columns, 2.0 * height + 0.6), layout="constrained")
        axes = figure.subplots(height, columns, squeeze=False).flat
        _panels(list(axes), lines, names)
        stages = "   ".join(f"{i} {_short(n)}" for i, n in enumerate(names, _first(results)))
        text = "\n".join(textwrap.wrap(stages, 36 * columns))
        figure.supxlabel(text, fontsize=8.5, color=_INK)
    figure.savefig(path, dpi=150, facecolor="white")


def plot_runs(runs: Sequence[tuple[str, Mapping[str, AbilityLine]]], path: Path) -> None:
    """Draw each ability after the last stage, the runs side by side.

    Args:
        runs: name, and ability lines by name, of each run.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    abilities = list(dict.fromkeys(name for _, lines in runs for name in lines)) or ["nothing"]
    height = 0.28 * len(runs) + 0.8
    figure = Figure(figsize=(7.2, height * len(abilities)), layout="constrained")
    panels = figure.subplots(len(abilities), 1, squeeze=False).flat
    for axes, ability in zip(panels, abilities, strict=True):
        lasts = [lines[ability].scores[-1] if ability in lines else None for _, lines in runs]
        for place, score in enumerate(lasts):
            if score is not None:
                colour = COLOURS[place % len(COLOURS)]
                axes.barh(place, score.value, xerr=score.stderr or 0.0, color=colour, height=0.7)
        axes.set_yticks(range(len(runs)), [_short(name) for name, _ in runs], fontsize=9)
        axes.invert_yaxis()
        axes.set_xlim(0, None if any(score and score.value > 1 for score in lasts) else 1.02)
        axes.set_title(_short(ability), loc="left", fontsize=10)
        _quiet(axes)
        axes.grid(axis="x", color=_FAINT, linewidth=0.7)
    figure.savefig(path, dpi=150, facecolor="white")


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places moved as little as needed to lie at least `gap` apart, keeping their order.

    Args:
        places: where labels would like to be.
        gap: the least distance between two.
    """
    # Labels that touch form a group around their mean; a group that grows into its neighbour
    # takes it in (pool adjacent violators).
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _start(groups[-1], places, gap) < (
            _start(groups[-2], places, gap) + gap * len(groups[-2])
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = list(places)
    for group in groups:
        start = _start(group, places, gap)
        for i, index in enumerate(group):
            moved[index] = start + i * gap
    return moved


def _start(group: Sequence[int], places: Sequence[float], gap: float) -> float:
    return sum(places[i] for i in group) / len(group) - gap * (len(group) - 1) / 2


def _one_panel(axes: Any, lines: list[AbilityLine], names: list[str], failed: set[str]) -> None:
    ends = []
    for line, colour, marker in zip(lines, COLOURS, _MARKERS, strict=False):
        _draw(axes, line, colour, marker)
        shown = [score.value for score in line.scores if score]
        if shown:
            ends.append((line.name, colour, shown[-1]))
    # Named at the line's end: no legend to look up, and colour is not all that tells them apart.
    for (name, colour, y), place in zip(ends, spread([e[2] for e in ends], 0.055), strict=True):
        axes.annotate(
            f"{_short(name)} {view.number(y)}",
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            fontsize=9.5,
            va="center",
            annotation_clip=False,
        )
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(-0.25, len(names) - 0.75)
    room = 14 if len(names) <= 6 else 11
    labels = [_wrapped(n, room) + ("\n(failed)" if n in failed else "") for n in names]
    axes.set_xticks(range(len(names)), labels, fontsize=9)
    axes.set_title("Ability after each stage (score ± standard error)", loc="left", fontsize=10.5)
    _quiet(axes)


def _panels(axes: list[Any], lines: list[AbilityLine], names: list[str]) -> None:
    for axis, line in zip(axes, lines, strict=False):
        _draw(axis, line, COLOURS[0], "o")
        top = _top(line)
        axis.set_ylim(*((-0.04, 1.04) if top <= 1 else (0, top * 1.1)))
        axis.set_xlim(-0.4, len(names) - 0.6)
        first = 0 if names and names[0] == "baseline" else 1
        axis.set_xticks(range(len(names)), [str(i + first) for i in range(len(names))], fontsize=8)
        axis.tick_params(axis="y", labelsize=8)
        axis.set_title(_short(line.name), loc="left", fontsize=9)
        _quiet(axis)
    for axis in axes[len(lines) :]:
        axis.set_axis_off()


def _draw(axes: Any, line: AbilityLine, colour: str, marker: str) -> None:
    # A missing score breaks the line: nothing is drawn where nothing was measured.
    values = [score.value if score else math.nan for score in line.scores]
    errors = [(score.stderr or 0.0) if score else math.nan for score in line.scores]
    axes.errorbar(
        range(len(values)),
        values,
        yerr=errors,
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.8,
        elinewidth=1.1,
        capsize=2.5,
        clip_on=False,
    )


def _quiet(axes: Any) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.grid(axis="y", color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_INK)


def _top(line: AbilityLine) -> float:
    return max((score.value for score in line.scores if score), default=0.0)


def _first(results: Results) -> int:
    return 0 if results.baseline else 1


def _short(name: str) -> str:
    # "$" would start a formula.
    name = name.replace("$", r"\$")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _wrapped(name: str, width: int) -> str:
    lines = textwrap.wrap(name, width) or [""]
    kept = lines[:3] if len(lines) <= 3 else [*lines[:2], lines[2][: width - 1] + "…"]
    return "\n".join(kept).replace("$", r"\$")
