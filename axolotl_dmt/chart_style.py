"""The style that every chart shares: colours, markers, axes, and the writers of PNG and SVG.

Charts are drawn by matplotlib in the light colours. In an SVG each of those colours becomes a
variable of the page's stylesheet (`css_colours`), so that one drawing serves a light and a dark
page.
"""

from __future__ import annotations

import html
import io
import itertools
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

PAGE, INK, SOFT, FAINT = "#fdfdfc", "#1f2328", "#5c636b", "#e3e5e8"
GOOD, BAD = "#00704f", "#b3400a"
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b8578f",
    "#b07a00",
    "#3d94c4",
    "#7a4fa3",
    "#6b7d12",
    "#8a5344",
    "#c02542",
    "#4c5cc5",
    "#0e7f8a",
)
"""The colours of domains and abilities.

The first six are the palette of Okabe and Ito without its yellow, which most colour-blind readers
can tell apart. The others serve runs with more domains and abilities.
"""
MARKERS = ("o", "s", "^", "D", "v", "P")
_USUAL_NAMES = ("math", "code", "general")
"""These have the first colours, in whatever order a plan, a run or a study names them."""

_LIGHT = {"paper": PAGE, "ink": INK, "soft": SOFT, "faint": FAINT, "good": GOOD, "bad": BAD} | {
    f"c{number}": colour for number, colour in enumerate(COLOURS, 1)
}
_DARK = {
    "paper": "#16181b",
    "ink": "#e6e8ea",
    "soft": "#a0a7af",
    "faint": "#32373d",
    "good": "#4fcfa3",
    "bad": "#ff9a62",
    "c1": "#4fa8e0",
    "c2": "#f08a4b",
    "c3": "#35c79a",
    "c4": "#e08fbd",
    "c5": "#e3b04b",
    "c6": "#8ccbee",
    "c7": "#b892dc",
    "c8": "#b5c64f",
    "c9": "#cc9a8a",
    "c10": "#f27590",
    "c11": "#98a6f7",
    "c12": "#4fc4cf",
}
_VARIABLES = {colour: f"var(--{name})" for name, colour in _LIGHT.items()}

_DPI = 150
_SHOWN = 100 / 72
"""CSS pixels per point of a drawing: 100 per inch, so that text has the size of the page's."""

Draw = Callable[[bool], Any]
"""Draws a figure; the argument says whether it is the narrow variant for a phone."""


def css_colours(*, dark: bool = False) -> str:
    """Return the palette as CSS variables, `--paper` to `--c12`, for a light or a dark page."""
    colours = _DARK if dark else _LIGHT
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def colours_of(names: Iterable[str], fixed: Mapping[str, str] | None = None) -> dict[str, str]:
    """Assign a colour to each name; the palette repeats after twelve names.

    Args:
        names: domains or abilities.
        fixed: colours of names that already have one, such as the domains' when the names are
            abilities. No other name gets one of them while another colour is free.
    """
    names, colours = list(names), dict(fixed or {})
    for name, colour in zip(_USUAL_NAMES, COLOURS, strict=False):
        if name in names and colour not in colours.values():
            colours.setdefault(name, colour)
    untaken = [colour for colour in COLOURS if colour not in colours.values()]
    free = itertools.chain(untaken, itertools.cycle(COLOURS))
    return {name: colours[name] if name in colours else next(free) for name in names}


def css_variable(colour: str) -> str:
    """Return the CSS variable of one of this module's colours, such as `var(--c1)`."""
    return _VARIABLES[colour]


def new_figure(
    width: float, height: float, *, layout: Literal["constrained"] | None = "constrained"
) -> Any:
    """Return an empty figure.

    Args:
        width: inches; the HTML reports show one inch as 100 CSS pixels.
        height: inches.
        layout: matplotlib's layout engine; None leaves the placing of axes to the caller.
    """
    # A Figure without pyplot draws with Agg and does not touch the training process's global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def dress(axes: Any, title: str = "", *, grid: str = "y", longest: int = 34) -> None:
    """Apply the common style to one panel and set its title.

    Args:
        axes: the panel.
        title: its title.
        grid: the axis whose grid lines are drawn, "x" or "y".
        longest: the limit on characters in a line of the title; a longer title has several lines.
    """
    axes.set_facecolor(PAGE)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.grid(axis=grid, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    marks = {"left": False, "bottom": False, "top": False}
    axes.tick_params(which="both", colors=SOFT, labelsize=8.5, **marks)
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)
    # With `y`, matplotlib does not measure all tick labels to find a place for the title.
    axes.set_title(wrapped(title, longest), loc="left", fontsize=10, color=INK, y=1.0)


def label(text: str, longest: int = 34) -> str:
    """Return a text for a chart: printable, shortened, and with `$` escaped against formulas.

    A long text is cut in its middle, since long names often differ at their ends only.
    """
    text = "".join(c if c.isprintable() else " " for c in text)
    if len(text) > longest:
        end = (longest - 1) // 3
        text = f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"
    return text.replace("$", r"\$")


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """Return a text in lines of at most `width` characters; text that does not fit is cut."""
    cut = textwrap.wrap(label(text, width * lines).replace(r"\$", "$"), width)[:lines]
    return "\n".join(cut).replace("$", r"\$")


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places apart by at least `gap`, as little as possible and without changing their order.

    Args:
        places: the ideal places of labels.
        gap: the least distance between two places.
    """
    # Labels that touch form a group around their mean; groups that overlap are merged (the pool
    # adjacent violators algorithm).
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
    """Return the place of the first label of a group that is centred on its mean."""
    return sum(places[i] for i in group) / len(group) - gap * (len(group) - 1) / 2


def name_line_ends(
    axes: Any, ends: Sequence[tuple[str, str, float]], gap: float, size: float = 8.5
) -> None:
    """Write the names of lines to the right of a panel, at the height where each line ends.

    No legend is needed, and colour is not the only means to tell the lines apart.

    Args:
        axes: the panel.
        ends: (text, colour, height in data units) of each line.
        gap: the least distance between two names, in data units.
        size: font size in points.
    """
    for (text, colour, _), place in zip(ends, spread([e[2] for e in ends], gap), strict=True):
        axes.annotate(
            text,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            color=colour,
            fontsize=size,
            va="center",
            annotation_clip=False,
        )


def panels(count: int, size: tuple[float, float], most: int) -> tuple[Any, list[Any]]:
    """Return a figure with `count` panels in rows of at most `most`, and the panels.

    Args:
        count: the number of panels.
        size: width and height of one panel in inches.
        most: panels in a row.
    """
    columns = max(1, min(count, most))
    rows = max(1, math.ceil(count / columns))
    figure = new_figure(size[0] * columns, size[1] * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def save(figure: Any, path: Path, *, format: str | None = None) -> None:
    """Write a figure to a file; without `format`, the file's suffix determines the format."""
    figure.savefig(path, dpi=_DPI, facecolor=PAGE, format=format)


def svg(
    figure: Any, *, name: str, summary: str = "", kind: str = "", stretches: bool = False
) -> Any:
    """Return a figure as an inline SVG for an HTML page with the variables of `css_colours`.

    Text stays text, in the page's font. The same arguments give the same result.

    Args:
        figure: drawn in the colours of this module.
        name: unique in the page: the ids in the drawing are derived from it.
        summary: what a screen reader reads out; without one the drawing is hidden from it.
        kind: CSS classes in addition to `chart`.
        stretches: whether the drawing fills its box at any aspect ratio.

    Returns:
        Markup, which a template does not escape again.
    """
    from markupsafe import Markup
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", facecolor="none", metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(r"<(metadata|style)\b.*?</\1>|<!--.*?-->", "", text, flags=re.DOTALL)
    used = set(re.findall(r"[\"(]#(\w+)[\")]", text))
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<[^>]+>", lambda tag: _page_tag(tag[0], used), body)
    body = re.sub(r">\s+<", "><", body)
    width, height = (72 * inches for inches in figure.get_size_inches())
    spoken = f'role="img" aria-label="{html.escape(summary)}"' if summary else 'aria-hidden="true"'
    stretch = ' preserveAspectRatio="none"' if stretches else ""
    head = (
        f'<svg class="{f"chart {kind}".strip()}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width * _SHOWN:.0f}" height="{height * _SHOWN:.0f}" {spoken}{stretch}>'
    )
    return Markup(head + body.strip())


def _page_tag(tag: str, used: set[str]) -> str:
    """Return a tag of matplotlib's SVG with the page's colours and font and no superfluous id."""
    tag = re.sub(r' id="(\w+)"', lambda m: m[0] if m[1] in used else "", tag)
    tag = re.sub(r"#[0-9a-f]{6}\b", lambda m: _VARIABLES.get(m[0], m[0]), tag)
    tag = re.sub(r"\s*font-family:[^;\"]*;?", "", tag)
    return re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), tag)


def svg_for_widths(draw: Draw, *, name: str, summary: str) -> Any:
    """Return the wide and the narrow variant of a chart as SVG; the stylesheet shows one of them.

    Args:
        draw: draws either variant.
        name: unique in the page.
        summary: what a screen reader reads out.
    """
    wide = svg(draw(False), name=f"{name}-wide", summary=summary, kind="desk")
    return wide + svg(draw(True), name=f"{name}-narrow", summary=summary, kind="phone")
