"""Nothing in a study's pictures is cut off, and names can be told apart."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.text import Text

from axolotl_dmt.analysis.plots import pictures
from axolotl_dmt.analysis.treatments import CellResult, Comparison, group
from axolotl_dmt.chart_style import label
from tests.planted import ROWS, cell_result, study

ABILITIES = [f"an_ability_with_a_long_name_{number:02d}" for number in range(12)]
STAGES = [f"a stage with a long name {number}" for number in range(6)]


def many() -> list[CellResult]:
    """Return cells of three seeds with six stages and twelve abilities."""
    schedule = [
        (stage, dict.fromkeys(ROWS, 0.5), {a: 0.1 * i + 0.02 * j for j, a in enumerate(ABILITIES)})
        for i, stage in enumerate(STAGES)
    ]
    settings = [{"strategy": "sequential"}, *({"strategy": "dmt", "k": k} for k in ("0", "1/4"))]
    return [cell_result(axes, seed, schedule) for seed in (1, 2) for axes in settings]


def comparisons() -> dict[str, Comparison]:
    return {
        "three abilities": Comparison(group(study(2))),
        "twelve abilities": Comparison(group(many()), general=(ABILITIES[0],)),
    }


def drawn_texts(figure: Any) -> list[tuple[str, Any]]:
    """Return the texts of a figure and the boxes that they fill."""
    figure.draw_without_rendering()
    beyond = [text for axes in figure.axes for text in _beyond_the_limits(axes)]
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text()]
    texts = [text for text in texts if text not in beyond]
    return [(text.get_text(), text.get_window_extent()) for text in texts]


def _beyond_the_limits(axes: Any) -> list[Text]:
    """Return the labels of ticks that lie outside the axes, which are never drawn."""
    return [
        tick.label1
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("name", comparisons())
def test_no_text_is_cut_off(name: str, narrow: bool) -> None:
    drawings = pictures(comparisons()[name], None)
    assert "ability_by_stage" in drawings and "k_tradeoff" in drawings
    for stem, (_, draw) in drawings.items():
        figure = draw(narrow)
        width, height = figure.bbox.width, figure.bbox.height
        for text, box in drawn_texts(figure):
            inside = box.x0 > -1 and box.x1 < width + 1 and box.y0 > -1 and box.y1 < height + 1
            assert inside, f"{stem}: {text!r} at {box} of {width} x {height}"


def test_long_names_can_be_told_apart() -> None:
    names = [label(ability, 20) for ability in ABILITIES]
    assert len(set(names)) == 12
    assert max(map(len, names)) == 20
    _, draw = pictures(comparisons()["twelve abilities"], None)["ability_by_stage"]
    shown = [text for text, _ in drawn_texts(draw(False))]
    assert all(sum(text.startswith(f"{name} ") for text in shown) == 2 for name in names)
    for name in STAGES:
        assert shown.count(label(name, 18)) == 2
