"""Axolotl's keys for a run, such as `val_set_size` and `max_steps`, hold for both stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROWS
from tests.e2e import spy
from tests.e2e.runs import Finished, config, train

pytestmark = pytest.mark.long

KEYS = {
    "val_set_size": 0.1,
    "max_steps": 6,
    "group_by_length": True,
    "eval_steps": 3,
    "save_steps": 3,
    "save_strategy": "steps",
    "save_total_limit": 2,
    "load_best_model_at_end": None,
}


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("run_keys")
    settings = config(toy, folder / "out", **KEYS)
    settings["plugins"].append("tests.e2e.spy.SpyPlugin")
    (folder / "spy").mkdir()
    done = train(folder, settings, SPY_FILE=str(folder / "spy/seen"))
    assert done.code == 0, done.output[-4000:]
    return done


def plan(finished: Finished) -> dict[str, Any]:
    return json.loads((finished.folder / "dmt/plan/plan.json").read_text())


def test_both_stages_end_after_max_steps(finished: Finished) -> None:
    assert [stage["end_step"] for stage in finished.results["stages"]] == [6, 12]
    assert len({seen["step"] for seen in spy.read(finished.folder.parent / "spy")}) == 12


def test_a_tenth_of_every_domain_is_held_out_and_has_a_loss(finished: Finished) -> None:
    pools = {pool["name"]: pool["rows"] for pool in plan(finished)["pools"]}
    assert pools == {name: rows - rows // 10 for name, rows in ROWS.items()}
    for stage in finished.results["stages"]:
        assert set(stage["held_out_loss"]) == set(ROWS)
    steps = {entry["step"] for entry in finished.history if "eval_math_loss" in entry}
    assert steps == {0, 3, 6, 9, 12}


def test_the_results_have_the_losses_of_each_evaluation(finished: Finished) -> None:
    curve = finished.results["held_out_curve"]
    assert [(point["step"], point["stage"]) for point in curve] == [
        (3, "specialise"),
        (6, "specialise"),
        (9, "generalise"),
        (12, "generalise"),
    ]
    stages = finished.results["stages"]
    for point, stage in ((curve[1], stages[0]), (curve[3], stages[1])):
        assert point["losses"] == pytest.approx(stage["held_out_loss"], rel=1e-4)


def test_group_by_length_sets_the_order_of_both_stages(finished: Finished) -> None:
    assert {stage["settings"]["order"] for stage in plan(finished)["stages"]} == {"length_grouped"}


def test_save_total_limit_removes_checkpoints_and_no_stages(finished: Finished) -> None:
    checkpoints = {path.name for path in finished.folder.glob("checkpoint-*")}
    assert checkpoints == {"checkpoint-9", "checkpoint-12"}
    stages = {path.name for path in (finished.folder / "stages").iterdir()}
    assert stages == {"01-specialise", "02-generalise"}


@pytest.mark.slow
def test_a_few_held_out_rows_have_a_loss_beside_packed_training(toy: Path, tmp_path: Path) -> None:
    settings = config(
        toy,
        tmp_path / "out",
        val_set_size=5,
        max_steps=2,
        curriculum_sampling=True,
        sample_packing=True,
        eval_sample_packing=True,
    )
    done = train(tmp_path, settings)
    assert done.code == 0, done.output[-4000:]
    assert "eval_sample_packing: true is not used" in done.output
    for stage in done.results["stages"]:
        assert set(stage["held_out_loss"]) == set(ROWS)
        assert all(loss > 0 for loss in stage["held_out_loss"].values())
    assert {stage["settings"]["order"] for stage in plan(done)["stages"]} == {"sequential"}
