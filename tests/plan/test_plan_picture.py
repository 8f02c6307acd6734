"""`axolotl dmt plan --plot plan.png`: the bars have the colours and the shares of the domains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from axolotl_dmt.chart_style import colours_of
from axolotl_dmt.plan import TrainingPlan, compile_plan
from axolotl_dmt.plan.show import plot_plan
from tests.pools import domain, stage

DOTS_AN_INCH = 150


def plan_of(names: list[str], stages: int) -> TrainingPlan:
    mixes = [dict.fromkeys(names, "all"), *[{names[-1]: "all", names[0]: "1/4"}] * (stages - 1)]
    return compile_plan(
        stages=[stage(mix, f"stage {number}") for number, mix in enumerate(mixes)],
        domains=[domain(name, 400 + 200 * number) for number, name in enumerate(names)],
        seed=1,
        global_batch=8,
    )


def colour_counts(picture: Path) -> dict[tuple[int, ...], int]:
    """Return {colour: number of pixels}."""
    pixels = (imread(picture)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(c): int(n) for c, n in zip(colours.tolist(), counts, strict=True)}


@pytest.mark.parametrize(
    ("names", "stages", "tolerance"),
    [
        (["math", "code", "general"], 2, 0.35),
        ([f"a_domain_with_a_name_{number}" for number in range(12)], 6, 0.7),
    ],
)
def test_the_bars_have_the_colours_and_the_shares_of_the_domains(
    tmp_path: Path, names: list[str], stages: int, tolerance: float
) -> None:
    plan = plan_of(names, stages)
    plot_plan(plan, tmp_path / "plan.png")
    height, width, _ = imread(tmp_path / "plan.png").shape
    assert (width, height) == (8 * DOTS_AN_INCH, round((1.3 + 0.6 * stages) * DOTS_AN_INCH))
    counts = colour_counts(tmp_path / "plan.png")
    colours = colours_of(names)
    areas = {
        name: counts[tuple(round(255 * part) for part in to_rgb(colours[name]))] for name in names
    }
    steps = {
        name: sum(
            part.steps * part.domains[name].share for part in plan.stages if name in part.domains
        )
        for name in names
    }
    scale = sum(areas.values()) / sum(steps.values())
    for name in names:  # names in the bars, and the legend, take and add some pixels
        assert areas[name] / scale == pytest.approx(steps[name], rel=tolerance), name
