"""The pictures of a study, each in light and dark, wide and narrow."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axolotl_dmt import paper
from axolotl_dmt import report_view as view
from axolotl_dmt.intervals import Interval
from axolotl_dmt.report_plot import spread
from axolotl_dmt.study_numbers import Curve, curves, summary
from axolotl_dmt.treatments import Comparison, Treatment

_MARKERS = ("o", "s", "^", "D", "v", "P")
_DPI = 150
SHOWN_SIZE = 100 / _DPI
"""CSS pixels to show a pixel of a picture at: sharp on fine screens, and text of a page's size."""
_PANEL = (3.5, 2.7)  # inches: on a phone a panel is about its own size
_SETUPS = {"single": "its data alone", "multi_task": "all data mixed"}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a picture is drawn.

    Attributes:
        dark: light ink on a dark page.
        narrow: panels below each other, for a phone.
    """

    dark: bool = False
    narrow: bool = False

    @property
    def page(self) -> str:
        """The colours are those of the stylesheet."""
        return "#16181b" if self.dark else "#fdfdfc"

    @property
    def ink(self) -> str:
        """Of text."""
        return "#e6e8ea" if self.dark else "#1f2328"

    @property
    def soft(self) -> str:
        """Of what is beside the point."""
        return "#a0a7af" if self.dark else "#5c636b"

    @property
    def faint(self) -> str:
        """Of rules."""
        return "#32373d" if self.dark else "#e3e5e8"

    @property
    def colours(self) -> tuple[str, ...]:
        """Okabe and Ito's, told apart by most colour-blind readers; lighter on a dark page."""
        if self.dark:
            return ("#4fa8e0", "#f08a4b", "#35c79a", "#e08fbd", "#e3b04b", "#8ccbee")
        return ("#0072b2", "#d55e00", "#009e73", "#b8578f", "#b07a00", "#3d94c4")


Draw = Callable[[Look], Any]


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
    if comparison.abilities and _at_largest(comparison):
        found["heat_map"] = (
            "Mean score after the last stage; the darker, the nearer the top of the scale.",
            lambda look: _heat_map(comparison, look),
        )
    return found


def png(draw: Draw, look: Look) -> bytes:
    """A picture as the bytes of a PNG."""
    file = io.BytesIO()
    draw(look).savefig(file, format="png", dpi=_DPI, facecolor=look.page)
    return file.getvalue()


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


def _figure(width: float, height: float) -> Any:
    # A Figure without pyplot draws with Agg and touches no global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _panels(count: int, look: Look, most: int = 3) -> tuple[Any, list[Any]]:
    columns = 1 if look.narrow else min(count, most)
    rows = math.ceil(count / columns)
    figure = _figure(_PANEL[0] * columns, _PANEL[1] * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def _dress(axes: Any, look: Look, title: str = "") -> None:
    axes.set_facecolor(look.page)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(look.faint)
    axes.grid(axis="y", color=look.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, colors=look.soft, labelsize=8.5)
    axes.xaxis.label.set_color(look.soft)
    axes.yaxis.label.set_color(look.soft)
    axes.set_title(_text(title), loc="left", fontsize=10, color=look.ink)


def _text(words: str, longest: int = 34) -> str:
    # "$" would start a formula.
    words = words.replace("$", r"\$")
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _errors(found: Sequence[Interval]) -> list[list[float]]:
    """Lengths of error bars, below and above."""
    below = [0.0 if i.low is None else i.mean - i.low for i in found]
    above = [0.0 if i.high is None else i.high - i.mean for i in found]
    return [below, above]


def _bars(axes: Any, x: Sequence[float], found: Sequence[Interval], **style: Any) -> None:
    axes.errorbar(
        x,
        [i.mean for i in found],
        yerr=_errors(found),
        markersize=5,
        elinewidth=1.1,
        capsize=2.5,
        **style,
    )


def _limits(axes: Any, scale: float) -> None:
    axes.set_ylim(-0.04 * scale, 1.04 * scale)


def _scaling(comparison: Comparison, lines: Sequence[Curve], size: str | None, look: Look) -> Any:
    abilities = list(dict.fromkeys(line.ability for line in lines))
    figure, axes = _panels(len(abilities), look)
    for axis, ability in zip(axes, abilities, strict=True):
        scale = comparison.scale(ability)
        rows = {r for c in lines if c.ability == ability for r in _rows(c)}
        for index, (setup, words) in enumerate(_SETUPS.items()):
            colour = look.colours[index]
            for curve in (c for c in lines if (c.ability, c.setup) == (ability, setup)):
                _curve(axis, curve, words, colour, _MARKERS[index])
            quoted = paper.quoted_curve(size, setup, ability, scale) if size else []
            rows |= {r for r, _ in quoted}
            if quoted:
                style = {"color": look.soft, "linestyle": "--", "linewidth": 1.0}
                axis.plot(*zip(*quoted, strict=True), **style, marker=_MARKERS[index], markersize=3)
        axis.set_xscale("log")
        shown = sorted(rows)[:: math.ceil(len(rows) / 5)]
        axis.set_xticks(shown, [f"{r:,.0f}" for r in shown])
        axis.set_xticks([], minor=True)
        axis.set_xlabel("rows", fontsize=8.5)
        _limits(axis, scale)
        _dress(axis, look, ability)
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
    _bars(axes, rows, found, color=colour, marker=marker, linestyle="none", label=words)
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
    figure = _figure(*((_PANEL[0], 3.6) if look.narrow else (6.4, 4.4)))
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
        xerr=_errors(xs),
        yerr=_errors(ys),
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
    _dress(axes, look, "What k buys and what it costs")
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


def _at_largest(comparison: Comparison) -> list[Treatment]:
    return [t for t in comparison.treatments if t.amount == comparison.largest_amount]


def _staged(comparison: Comparison) -> list[Treatment]:
    """Treatments of several stages at the largest amount; of DMT's k only the reference."""
    reference = comparison.reference()
    return [
        t
        for t in _at_largest(comparison)
        if len(t.stage_names) > 1 and (t.strategy != "dmt" or t.k is None or t is reference)
    ]


def _stages(comparison: Comparison, staged: Sequence[Treatment], look: Look) -> Any:
    figure, axes = _panels(len(staged), look)
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
            _bars(
                axis, list(found), shares, color=colour, marker=_MARKERS[index % 6], linewidth=1.6
            )
            if found:
                last = list(found.values())[-1]
                ends.append((ability, colour, last.mean / scale, view.number(last.mean)))
        places = spread([end[2] for end in ends], 0.085)
        for (ability, colour, _, value), place in zip(ends, places, strict=True):
            axis.annotate(
                f"{_text(ability, 14)} {value}",
                (1.0, place),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                color=colour,
                fontsize=8.5,
                va="center",
                annotation_clip=False,
            )
        axis.set_xticks(range(len(names)), [_text(name, 12) for name in names])
        axis.set_xlim(-0.2, len(names) - 0.8)
        _limits(axis, 1.0)
        _dress(axis, look, treatment.label)
    return figure


def _score_after(stage: int, ability: str) -> Callable[[Any], float | None]:
    return lambda outcome: (
        outcome.stages[stage].scores.get(ability) if stage < len(outcome.stages) else None
    )


def _rescaled(found: Interval, scale: float) -> Interval:
    low = None if found.low is None else found.low / scale
    high = None if found.high is None else found.high / scale
    return Interval(mean=found.mean / scale, low=low, high=high, bootstrap=None, n=found.n)


def _heat_map(comparison: Comparison, look: Look) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    rows = _at_largest(comparison)
    abilities = comparison.abilities
    figure = _figure(
        *((3.5, 0.34 * len(rows) + 0.7) if look.narrow else (6.8, 0.36 * len(rows) + 0.7))
    )
    axes = figure.subplots()
    means = [[summary(t.scores(a)) for a in abilities] for t in rows]
    shares = [
        [
            math.nan if i is None else i.mean / comparison.scale(a)
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
    _dress(axes, look)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_yticks(range(len(rows)), [_text(t.label) for t in rows], color=look.ink)
    axes.set_xticks(range(len(abilities)), [_text(a, 14) for a in abilities], color=look.ink)
    axes.xaxis.tick_top()
    return figure


def _ink_on(share: float, look: Look) -> str:
    """The ink that can be read on a cell: the page's colour on a full one."""
    return look.page if share > 0.6 else look.ink
