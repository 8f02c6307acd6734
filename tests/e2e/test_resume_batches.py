"""A resumed run may cut the same global batch into other micro batches, but not change its size."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import spy
from tests.e2e.forks import train_all
from tests.e2e.runs import Finished, config
from tests.mistakes import assert_mistake

pytestmark = pytest.mark.slow

KILLED, STEPS = 3, 8
"""Each stage has four steps; the run is killed in the first, and goes on from its second."""


def settings(toy: Path, output: Path, cut: tuple[int, int], *, packed: bool) -> dict[str, Any]:
    changes = {"sample_packing": True, "attn_implementation": "sdpa"} if packed else {}
    made = config(
        toy,
        output,
        max_steps=STEPS // 2,
        micro_batch_size=cut[0],
        gradient_accumulation_steps=cut[1],
        save_strategy="steps",
        save_steps=1,
        auto_resume_from_checkpoints=True,
        **changes,
    )
    made["plugins"] += ["tests.e2e.spy.SpyPlugin", "tests.e2e.killer.KillerPlugin"]
    return made


@pytest.fixture(scope="module", params=[False, True], ids=["unpacked", "packed"])
def finished(
    request: pytest.FixtureRequest, toy: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Finished]:
    folder = tmp_path_factory.mktemp("batches")
    whole, broken = folder / "whole", folder / "broken"
    jobs = {
        "whole": settings(toy, whole, (1, 4), packed=request.param),
        "killed": settings(toy, broken, (1, 4), packed=request.param),
        "half": settings(toy, broken, (2, 1), packed=request.param),
        "resumed": settings(toy, broken, (4, 1), packed=request.param),
    }
    for name in jobs:
        (folder / f"seen-{name}").mkdir()
    variables = {name: {"SPY_FILE": str(folder / f"seen-{name}/seen")} for name in jobs}
    variables["killed"]["KILL_AT"] = f"step:{KILLED}"
    return train_all(folder, jobs, variables)


def rows_by_step(done: Finished, name: str) -> dict[int, list[list[int]]]:
    """Return the rows that each step trained, sorted; packs are split at the start of a row."""
    steps: dict[int, list[list[int]]] = defaultdict(list)
    for seen in spy.read(done.folder.parent / f"seen-{name}"):
        for tokens in spy.trained_rows(seen):
            starts = [i for i, token in enumerate(tokens) if token == 1] or [0]
            bounds = [*starts, len(tokens)]
            parts = itertools.pairwise(bounds)
            steps[seen["step"]] += [list(tokens[i:j]) for i, j in parts]
    return {step: sorted(rows) for step, rows in steps.items()}


def test_the_same_global_batch_goes_on_with_the_same_rows(finished: dict[str, Finished]) -> None:
    whole, resumed = finished["whole"], finished["resumed"]
    assert finished["killed"].code not in (0, 2)
    for done in (whole, resumed):
        assert done.code == 0, done.output[-4000:]
        assert done.results["stages"][-1]["end_step"] == STEPS
    expected, rows = rows_by_step(whole, "whole"), rows_by_step(resumed, "resumed")
    assert list(expected) == list(range(STEPS))
    assert list(rows) == list(range(KILLED - 1, STEPS))
    assert rows == {step: expected[step] for step in rows}
    # Axolotl averages over micro batches, so the weights depend a little on how a batch is cut.
    losses = [[p["loss"] for p in done.results["learning_curve"]] for done in (whole, resumed)]
    assert losses[0][: KILLED - 1] == losses[1][: KILLED - 1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


def test_half_the_global_batch_is_refused_with_both_numbers(finished: dict[str, Finished]) -> None:
    half = finished["half"]
    assert half.code == 2
    (line,) = [line for line in half.output.splitlines() if line.startswith("axolotl-dmt:")]
    assert_mistake(line, "axolotl-dmt: resume_from_checkpoint", "global_batch", 4, 2)
    assert "Traceback" not in half.output
