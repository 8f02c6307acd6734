"""Shows each ability by base model, where a study compares base models of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from axolotl_dmt.analysis.comparisons import Comparison
from axolotl_dmt.analysis.error_bars import PANEL, error_bars
from axolotl_dmt.analysis.intervals import Interval
from axolotl_dmt.analysis.numbers import summary
from axolotl_dmt.analysis.plots import ability_colours, whole_scale
from axolotl_dmt.analysis.tables import interval_text
from axolotl_dmt.chart_style import INK, MARKERS, Draw, dress, panels
from axolotl_dmt.report.tables import Table

_FAINTEST = 0.35
"""The opacity of the line with the least data."""


def sizes_table(compared: Sequence[Comparison]) -> Table:
    """Return the scores of each ability by base model and amount of the ability's own data.

    Args:
        compared: one comparison for each base model, smaller models first.
    """
    abilities = compared[0].abilities
    rows = []
    for ability in abilities:
        for amount in compared[0].amounts("single", ability):
            cells = map(interval_text, _means(compared, ability, amount))
            rows.append((ability, str(amount), *cells))
    return Table(
        title="Each ability by base model, trained alone",
        note="Mean and 95% interval over seeds, after training on a part of the ability's data.",
        header=("ability", "part of its data", *(c.base_model or "" for c in compared)),
        rows=tuple(rows),
    )


def sizes_picture(compared: Sequence[Comparison]) -> tuple[str, Draw]:
    """Return the caption of the picture of the same scores, and the function that draws it.

    Args:
        compared: one comparison for each base model, smaller models first.
    """
    caption = (
        "Each ability by base model, trained alone on parts of its data: mean and 95% interval "
        "over seeds."
    )
    return caption, lambda narrow: _draw(compared, narrow)


def _draw(compared: Sequence[Comparison], narrow: bool) -> Any:
    first = compared[0]
    figure, axes = panels(len(first.abilities), PANEL, 1 if narrow else 3)
    colours = ability_colours(first.treatments, first.abilities)
    for axis, ability in zip(axes, first.abilities, strict=True):
        amounts = [*first.amounts("single", ability)]
        for index, amount in enumerate(amounts):
            means = enumerate(_means(compared, ability, amount))
            known = [(x, interval) for x, interval in means if interval is not None]
            share = (index + 1) / len(amounts)
            error_bars(
                axis,
                [x for x, _ in known],
                [interval for _, interval in known],
                color=colours[ability],
                alpha=_FAINTEST + (1 - _FAINTEST) * share,
                marker=MARKERS[index % len(MARKERS)],
                linewidth=1.5,
                label="all data" if amount == 1 else f"{amount} of its data",
            )
        axis.set_xticks(range(len(compared)), [c.base_model or "" for c in compared], fontsize=8)
        axis.margins(x=0.12)
        whole_scale(axis, first.scale(ability))
        dress(axis, ability)
        if amounts:
            axis.legend(fontsize=8, frameon=False, labelcolor=INK, loc="best")
    return figure


def _means(compared: Sequence[Comparison], ability: str, amount: Fraction) -> list[Interval | None]:
    """Return the mean score of an ability, trained alone, of each base model that has one."""
    found = [c.find("single", domain=ability, amount=amount) for c in compared]
    return [summary(t.scores(ability)) if t else None for t in found]
