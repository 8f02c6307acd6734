"""Nothing in a study's pictures is cut off, and names can be told apart."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.text import Text

from axolotl_dmt.analysis.comparisons import Comparison
from axolotl_dmt.analysis.measure import LOG_LIKELIHOOD
from axolotl_dmt.analysis.numbers import curves
from axolotl_dmt.analysis.plots import pictures
from axolotl_dmt.analysis.treatments import CellResult, CellStage, group
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


def losses(of_seed: float) -> list[CellResult]:
    """Return cells whose log-likelihoods differ far more between seeds than between treatments."""
    results = []
    for seed in range(3):
        data = {"math": 160 + seed, "general": 100}
        first = CellStage(name="one", rows=data, scores={"math": -1.0, "general": -2.0})
        for k, gain in (("0", 0.0), ("1/4", 0.01)):
            last = {"math": -1.1 + gain, "general": -1.8 - gain}
            stages = [first, CellStage(name="two", rows={"general": 100}, scores=last)]
            results.append(
                CellResult(
                    name=f"{k} {seed}",
                    settings={"strategy": "dmt", "k": k},
                    seed=seed,
                    stages=tuple(
                        replace(s, scores={a: v + of_seed * seed for a, v in s.scores.items()})
                        for s in stages
                    ),
                    before={"math": -1.5 + of_seed * seed, "general": -2.5 + of_seed * seed},
                    measure=LOG_LIKELIHOOD,
                )
            )
    return results


def test_pictures_of_losses_show_changes_paired_by_seed() -> None:
    drawings = pictures(Comparison(group(losses(0.5))), None)
    caption, draw = drawings["k_tradeoff"]
    assert "differences from k = 0, paired by seed" in caption
    (axes,) = draw(False).axes
    (line, *_) = axes.get_lines()
    assert line.get_xdata() == pytest.approx([0.0, -0.01])
    assert line.get_ydata() == pytest.approx([0.0, 0.01])
    caption, draw = drawings["ability_by_stage"]
    assert "since before training" in caption
    (axes,) = draw(False).axes
    math = axes.get_lines()[0].get_ydata()
    assert math == pytest.approx([0.5, 0.41])  # of k = 1/4, in nats
    assert axes.get_ylim()[0] < 0 < 0.7 < axes.get_ylim()[1]
    assert any(text.get_text() == "math +0.410" for text in axes.texts)


def with_merges(cells: list[CellResult]) -> list[CellResult]:
    """Return the cells with k = 0 as mixed sequential training, and two merges of each of these."""
    found = []
    for cell in cells:
        if cell.settings["k"] != "0":
            found.append(cell)
            continue
        mixed = {"strategy": "mixed_sequential"}
        found.append(replace(cell, name=f"mixed {cell.seed}", settings=mixed))
        for weight, gain in ((0.75, 0.02), (0.5, 0.03)):
            scores = {"math": cell.last()["math"] + gain, "general": cell.last()["general"] - gain}
            merged = CellStage(name="merge", rows={}, scores=scores)
            settings = {**mixed, "merge": "linear", "merge_weight": weight}
            name, stages = f"merge {weight} {cell.seed}", (*cell.stages, merged)
            found.append(replace(cell, name=name, settings=settings, stages=stages))
    return found


def test_merges_are_on_the_picture_of_k() -> None:
    comparison = Comparison(group(with_merges(losses(0.5))))
    caption, draw = pictures(comparison, None)["k_tradeoff"]
    assert "Squares are merges" in caption and "up to weight 1, which is k = 0" in caption
    (axes,) = draw(False).axes
    sweep, merges = (line for line in axes.get_lines() if line.get_marker() in ("o", "s"))
    assert sweep.get_xdata() == pytest.approx([0.0, -0.01])
    # In the order of the weight, up to 1, which is k = 0.
    assert merges.get_xdata() == pytest.approx([-0.03, -0.02, 0.0])
    assert merges.get_ydata() == pytest.approx([0.03, 0.02, 0.0])
    names = {text.get_text() for text in axes.texts}
    assert names == {"k = 0", "k = 1/4", "linear merge, 0.5", "linear merge, 0.75"}


def test_without_k_0_no_line_ends_there() -> None:
    cells = with_merges(losses(0.5))
    cells = [c for c in cells if "k" in c.settings or "merge" in c.settings]
    half = [replace(c, settings={**c.settings, "k": "1/2"}) for c in cells if "k" in c.settings]
    caption, _ = pictures(Comparison(group([*cells, *half])), None)["k_tradeoff"]
    assert "Squares are merges" in caption and "k = 0" not in caption


def test_merges_need_no_sweep_of_k() -> None:
    cells = [cell for cell in with_merges(losses(0.5)) if "k" not in cell.settings]
    _, draw = pictures(Comparison(group(cells)), None)["k_tradeoff"]
    (axes,) = draw(True).axes
    names = {text.get_text() for text in axes.texts}
    assert names == {"k = 0", "linear merge, 0.5", "linear merge, 0.75"}


def test_without_a_score_of_the_general_ability_there_is_no_picture_of_k() -> None:
    failed = [
        replace(
            cell,
            stages=tuple(
                replace(stage, scores={**stage.scores, "general": math.nan})
                for stage in cell.stages
            ),
        )
        for cell in losses(0.5)
    ]
    assert set(pictures(Comparison(group(failed)), None)) == {"ability_by_stage"}
    # Some other treatment has both, but no point of the sweep does.
    other = {"strategy": "multi_task"}
    others = [replace(c, settings=other) for c in losses(0.5) if c.settings["k"] == "0"]
    assert "k_tradeoff" not in pictures(Comparison(group([*failed, *others])), None)


def test_seeds_with_somewhat_different_rows_are_one_amount_of_data() -> None:
    cells = [
        replace(cell, settings={"strategy": "multi_task"})
        for cell in losses(0.5)
        if cell.settings["k"] == "0"
    ]
    assert len({cell.rows("math") for cell in cells}) == 3
    comparison = Comparison(group(cells))
    assert curves(comparison) == []
    assert "scaling" not in pictures(comparison, None)
