"""Draws specialised against general ability: the values of k, merges, and other strategies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from axolotl_dmt.analysis.comparisons import Comparison
from axolotl_dmt.analysis.error_bars import PANEL, error_lengths
from axolotl_dmt.analysis.intervals import Interval
from axolotl_dmt.analysis.numbers import change_of, summary
from axolotl_dmt.analysis.treatments import Treatment, mean_by_seed
from axolotl_dmt.chart_style import INK, PAGE, SOFT, Draw, dress, label, new_figure, spread
from axolotl_dmt.report import paper

Place = tuple[Interval, Interval]
"""A treatment's general and specialised ability over seeds."""
_OTHERS = ("sequential", "multi_task")
"""Strategies that are drawn beside the values of k."""


def tradeoff(comparison: Comparison, size: str | None) -> tuple[str, Draw] | None:
    """Return the caption and the function that draws the trade-off of k, and of merges.

    Args:
        comparison: the treatments.
        size: the model size of the paper whose results are quoted, if any.

    Returns:
        None where there are not two treatments to compare, or none of them has both abilities.
    """
    sweep, merges = _sweep(comparison), comparison.merges()
    if not sweep or not comparison.specialised or not _general(comparison):
        return None
    if len(sweep) < 2 and not merges:
        return None
    if not _places(comparison, sweep, next(iter(sweep.values()))):
        return None
    parts = [
        "Specialised against general ability: one point for each k, with 95% intervals over seeds, "
        "joined in the order of k.",
        _about_merges(ends_at_k_0="k = 0" in sweep) if merges else "",
        "Crosses are other strategies.",
        ""
        if comparison.measure.is_score
        else f"Values are differences from {next(iter(sweep))}, paired by seed.",
    ]
    caption = " ".join(filter(None, parts)) + quoting(size, _quoted_sweep(comparison, size))
    return caption, lambda narrow: _draw(comparison, size, narrow)


def quoting(size: str | None, quoted: Sequence[Any]) -> str:
    """Return what a caption says of results that are quoted from the paper."""
    return f" Dashed grey: quoted from the paper's {size}, not measured here." if quoted else ""


def _quoted_sweep(comparison: Comparison, size: str | None) -> list[tuple[str, dict[str, float]]]:
    scales = {ability: comparison.scale(ability).high for ability in comparison.abilities}
    return paper.quoted_k_sweep(size, scales) if size else []


def _about_merges(*, ends_at_k_0: bool) -> str:
    end = ", up to weight 1, which is k = 0" if ends_at_k_0 else ""
    return (
        "Squares are merges of the two stages, joined in the order of the second stage's weight"
        f"{end}."
    )


def _general(comparison: Comparison) -> list[str]:
    return [a for a in comparison.abilities if a in comparison.general]


def _sweep(comparison: Comparison) -> dict[str, Treatment]:
    """Return {name: treatment} of DMT by k, or of mixed sequential training alone as k = 0."""
    sweep = {f"k = {k}": comparison.dmt(k) for k in comparison.ks}
    sweep = sweep or {"k = 0": comparison.find("mixed_sequential")}
    return {name: treatment for name, treatment in sweep.items() if treatment is not None}


def _places(
    comparison: Comparison, treatments: Mapping[str, Treatment], reference: Treatment
) -> dict[str, Place]:
    """Return {name: place} of treatments, without those that lack a score.

    Scores are placed as they are, values without a natural zero by their difference from the
    reference.
    """
    sides = (_general(comparison), comparison.specialised)
    places = {}
    for name, treatment in treatments.items():
        values = [_means_of(treatment, abilities) for abilities in sides]
        if comparison.measure.is_score:
            x, y = map(summary, values)
        else:
            x, y = map(change_of, values, [_means_of(reference, side) for side in sides])
        if x and y:
            places[name] = (x, y)
    return places


def _means_of(treatment: Treatment, abilities: Sequence[str]) -> dict[int, float]:
    """Return {seed: mean over abilities}, without seeds that lack one of the abilities."""
    return mean_by_seed([treatment.scores(ability) for ability in abilities])


def _draw(comparison: Comparison, size: str | None, narrow: bool) -> Any:
    specialised, general = comparison.specialised, _general(comparison)
    figure = new_figure(*((PANEL[0], 3.6) if narrow else (6.4, 4.4)))
    axes = figure.subplots()
    sweep = _sweep(comparison)
    reference = next(iter(sweep.values()))
    points = _places(comparison, sweep, reference)
    _line(axes, points.values(), color=INK, marker="o", markersize=6, linewidth=1.5)
    for method, merges in comparison.merges().items():
        named = {f"{method} merge, {weight:g}": merge for weight, merge in merges.items()}
        places = _places(comparison, named, reference)
        end = [points["k = 0"]] if "k = 0" in points else []
        style = {"linewidth": 1.2, "markerfacecolor": PAGE}
        _line(axes, [*places.values(), *end], color=SOFT, marker="s", zorder=1.5, **style)
        points |= places
    others = {name: comparison.find(name) for name in _OTHERS}
    found = {name.replace("_", " "): t for name, t in others.items() if t}
    for name, (x, y) in _places(comparison, found, reference).items():
        axes.plot(x.mean, y.mean, "x", color=SOFT, markersize=7, markeredgewidth=1.8)
        points[name] = (x, y)
    quoted = _quoted_sweep(comparison, size)
    if quoted:
        means = [(_average(scores, general), _average(scores, specialised)) for _, scores in quoted]
        style = {"color": SOFT, "linestyle": "--", "linewidth": 1.0}
        axes.plot(*zip(*means, strict=True), **style, marker="o", markersize=3)
    change = "" if comparison.measure.is_score else ", change"
    axes.set_xlabel(f"general ability ({_listed(general)}){change}", fontsize=9)
    axes.set_ylabel(f"specialised ability{change}\n(mean of {_listed(specialised)})", fontsize=9)
    dress(axes, "What k gains and what it costs")
    axes.margins(0.12)
    _name_points(figure, axes, points)
    return figure


def _line(axes: Any, places: Iterable[Place], **style: Any) -> None:
    """Draw places with their intervals, joined in their order."""
    pairs = list(places)
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    axes.errorbar(
        [x.mean for x in xs],
        [y.mean for y in ys],
        xerr=error_lengths(xs),
        yerr=error_lengths(ys),
        elinewidth=0.8,
        capsize=2,
        **style,
    )


def _listed(abilities: Sequence[str], longest: int = 40) -> str:
    """Return the names of abilities, or their number where the names are too long for an axis."""
    names = ", ".join(abilities)
    return label(names, longest) if len(names) <= longest else f"{len(abilities)} abilities"


def _average(scores: Mapping[str, float], abilities: Sequence[str]) -> float:
    return sum(scores[a] for a in abilities) / len(abilities)


def _name_points(figure: Any, axes: Any, points: Mapping[str, Place]) -> None:
    """Write names in the right margin, apart from each other, each with a line to its point."""
    figure.draw_without_rendering()  # fixes the limits of the axes
    low, high = axes.get_ylim()
    heights = [(y.mean - low) / (high - low) for _, y in points.values()]
    for (name, (x, y)), place in zip(points.items(), spread(heights, 0.06), strict=True):
        axes.annotate(
            name,
            (x.mean, y.mean),
            xytext=(1.02, place),
            textcoords="axes fraction",
            fontsize=8.5,
            color=INK,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "linestyle": ":",
                "color": SOFT,
                "linewidth": 0.8,
                "shrinkB": 5,
            },
        )
