"""Two processes train on the same rows at the same steps as one, and share the scoring."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROWS
from tests.e2e import spy
from tests.e2e.runs import Finished, axolotl, config, write

TORCHRUN = ("--launcher", "torchrun", "--", "--nproc_per_node", "2", "--master_port", "29517")
ACCELERATE = ("--launcher", "accelerate", "--", "--num_processes", "2", "--cpu", "--multi_gpu")


def run(toy: Path, folder: Path, launcher: tuple[str, ...], **changes: Any) -> Finished:
    (folder / "spy").mkdir(parents=True)
    data = {name: str(toy / f"data/{name}_test.jsonl") for name in ROWS}
    evaluate = {"tasks": ["dmt_math", "dmt_general"], "data": data, "max_new_tokens": 8}
    dmt = {"strategy": "dmt", "k": "1/4", "evaluate": evaluate}
    settings = config(toy, folder / "out", dmt=dmt, reinit_weights=True, **changes)
    settings["plugins"] += ["tests.e2e.spy.SpyPlugin"]
    path = write(folder / "dmt.yaml", settings)
    done = axolotl(
        "train",
        str(path),
        *launcher,
        SPY_FILE=str(folder / "spy/seen"),
        WEIGHTS=str(toy / "base/model.safetensors"),
        ACCELERATE_USE_CPU="true",
    )
    return Finished(done.returncode, done.stdout + done.stderr, folder / "out")


def rows_by_step(folder: Path) -> dict[int, list[tuple[int, ...]]]:
    steps: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for seen in spy.read(folder / "spy"):
        steps[seen["step"]] += spy.trained_rows(seen)
    return {step: sorted(rows) for step, rows in steps.items()}


@pytest.fixture(scope="module")
def alone(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    folder = tmp_path_factory.mktemp("alone")
    accumulated = {"micro_batch_size": 4, "gradient_accumulation_steps": 2}
    return folder, run(toy, folder, ("--launcher", "python"), **accumulated)


@pytest.fixture(scope="module")
def together(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    folder = tmp_path_factory.mktemp("together")
    return folder, run(toy, folder, TORCHRUN, micro_batch_size=4)


def test_both_runs_finish(alone: tuple[Path, Finished], together: tuple[Path, Finished]) -> None:
    for _, done in (alone, together):
        assert done.code == 0, done.output[-4000:]


def test_the_plan_is_the_same(
    alone: tuple[Path, Finished], together: tuple[Path, Finished]
) -> None:
    assert alone[1].results["plan_fingerprint"] == together[1].results["plan_fingerprint"]


def test_each_step_trains_on_the_same_rows(
    alone: tuple[Path, Finished], together: tuple[Path, Finished]
) -> None:
    assert rows_by_step(alone[0]) == rows_by_step(together[0])
    assert {seen["rank"] for seen in spy.read(together[0] / "spy")} == {0, 1}


def test_losses_and_rates_agree(
    alone: tuple[Path, Finished], together: tuple[Path, Finished]
) -> None:
    ours, theirs = (done.results["learning_curve"] for _, done in (alone, together))
    assert [point["step"] for point in ours] == [point["step"] for point in theirs]
    for one, two in zip(ours, theirs, strict=True):
        assert one["learning_rate"] == two["learning_rate"]
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-4), one["step"]


def test_the_work_of_scoring_is_shared_and_gathered(
    alone: tuple[Path, Finished], together: tuple[Path, Finished]
) -> None:
    for one, two in zip(alone[1].results["stages"], together[1].results["stages"], strict=True):
        assert two.get("error") is None
        assert {name: score["n"] for name, score in two["scores"].items()} == {
            "math": 6,
            "general": 6,
        }
        assert one["scores"] == two["scores"]


@pytest.mark.slow
def test_accelerates_launcher_works_too(toy: Path, tmp_path: Path) -> None:
    done = run(toy, tmp_path / "run", ACCELERATE, micro_batch_size=4)
    assert done.code == 0, done.output[-4000:]
    assert [stage["name"] for stage in done.results["stages"]] == ["specialise", "generalise"]
