"""Two processes train on the same rows at the same steps as one, and share the scoring."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.api import load_items
from tests.conftest import ROWS
from tests.e2e import spy
from tests.e2e.runs import Finished, axolotl, config, write

TORCHRUN = ("--launcher", "torchrun", "--", "--nproc_per_node", "2", "--master_port", "29517")
ACCELERATE = (
    "--launcher",
    "accelerate",
    "--",
    "--num_processes",
    "2",
    "--multi_gpu",
    "--main_process_port",
    "29518",
)
"""Despite its name, `--multi_gpu` also makes accelerate start several processes on a CPU."""

END = 23
"""The last step of the first stage."""


def run(
    toy: Path,
    folder: Path,
    launcher: tuple[str, ...],
    *,
    fail_at: str = "",
    **changes: Any,
) -> Finished:
    (folder / "spy").mkdir(parents=True)
    data = {name: str(toy / f"data/{name}_test.jsonl") for name in ROWS}
    evaluate = {"tasks": ["dmt_math", "dmt_general"], "data": data, "max_new_tokens": 8}
    dmt = {"strategy": "dmt", "k": "1/4", "evaluate": evaluate}
    settings = config(toy, folder / "out", **{"dmt": dmt, "reinit_weights": True, **changes})
    settings["plugins"] += ["tests.e2e.spy.SpyPlugin", "tests.e2e.failing.FailingRankPlugin"]
    path = write(folder / "dmt.yaml", settings)
    done = axolotl(
        "train",
        str(path),
        *launcher,
        timeout=240,
        FAIL_AT=fail_at,
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
        assert one["domain_loss"] == pytest.approx(two["domain_loss"], rel=1e-4), one["step"]
        low, high = min(one["domain_loss"].values()), max(one["domain_loss"].values())
        # The trainer averages the steps between two logs, a domain's loss all tokens of them.
        assert low <= one["loss"] * 1.02 and one["loss"] * 0.98 <= high
    assert set(ours[0]["domain_loss"]) == {"math", "code"}
    assert "general" in ours[-1]["domain_loss"]


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
        for generation in (one["generation"], two["generation"]):
            assert generation["batching"].startswith("continuous batching")
        assert one["generation"]["tokens"] == two["generation"]["tokens"]
    ledger = load_items(alone[1].folder)
    assert ledger.num_rows == 24
    assert load_items(together[1].folder) == ledger


@pytest.mark.slow
def test_accelerates_launcher_works_too(toy: Path, tmp_path: Path) -> None:
    done = run(toy, tmp_path / "run", ACCELERATE, micro_batch_size=4)
    assert done.code == 0, done.output[-4000:]
    assert [stage["name"] for stage in done.results["stages"]] == ["specialise", "generalise"]


@pytest.mark.slow
def test_a_rank_that_fails_while_scoring_costs_the_scores_and_one_that_fails_in_training_the_run(
    toy: Path, tmp_path: Path
) -> None:
    done = run(
        toy,
        tmp_path / "run",
        TORCHRUN,
        micro_batch_size=4,
        fail_at=f"model:1:{END} step:1:{END + 2}",
    )
    (stage,) = done.results["stages"]
    assert stage["error"] == "RuntimeError: rank 1: OSError: tok_batch_encode went wrong on rank 1"
    assert done.code != 0
    assert "OSError: training_step went wrong on rank 1" in done.output
    assert max(rows_by_step(tmp_path / "run")) == END + 1


@pytest.mark.slow
@pytest.mark.parametrize("point", ["step:0:5", f"batch:1:{END + 2}", "step:1:5"])
def test_no_rank_waits_for_one_that_failed(toy: Path, tmp_path: Path, point: str) -> None:
    done = run(toy, tmp_path / "run", TORCHRUN, micro_batch_size=4, fail_at=point)
    assert done.code != 0
    assert f"went wrong on rank {point.split(':')[1]}" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("point", [f"tasks:0:{END}", f"model:0:{END}"])
def test_training_goes_on_where_rank_0_fails_to_score(
    toy: Path, tmp_path: Path, point: str
) -> None:
    done = run(toy, tmp_path / "run", TORCHRUN, micro_batch_size=4, fail_at=point)
    assert done.code == 0, done.output[-4000:]
    first, second = done.results["stages"]
    assert "went wrong on rank 0" in first["error"]
    assert second.get("error") is None
    assert set(second["scores"]) == {"math", "general"}


@pytest.mark.slow
def test_accelerates_launcher_ends_a_run_with_a_failed_rank(toy: Path, tmp_path: Path) -> None:
    done = run(toy, tmp_path / "run", ACCELERATE, micro_batch_size=4, fail_at="step:1:5")
    assert done.code != 0
    assert "OSError: training_step went wrong on rank 1" in done.output


@pytest.mark.slow
def test_a_refused_plan_ends_all_ranks_with_its_line(toy: Path, tmp_path: Path) -> None:
    """Only one rank compiles the plan, and the others must end too."""
    mix = {"math": {"rows": 500}}  # more rows than the domain has, without oversampling
    dmt = {"stages": [{"name": "one", "mix": mix}]}
    done = run(toy, tmp_path / "run", TORCHRUN, micro_batch_size=4, dmt=dmt)
    assert done.code != 0
    lines = {line for line in done.output.splitlines() if line.startswith("axolotl-dmt:")}
    assert len(lines) == 1, lines
    assert "Connection closed" not in done.output
