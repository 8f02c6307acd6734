"""Axolotl's keys for a run hold for every stage, unless the stage has a setting of its own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.checks.schedule import WEIGHT_DECAY
from axolotl_dmt.config.run_keys import default_max_steps, default_order, val_set_size
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Stage
from axolotl_dmt.training.prepare import prepare
from axolotl_dmt.training.run import Run
from tests.checks.test_schedule import overrides, raw, refusal
from tests.mistakes import assert_mistake


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stages(**changes: Any) -> tuple[Stage, ...]:
    return Run.from_raw(raw(**changes)).schedule.stages


@pytest.mark.parametrize(
    ("value", "steps"), [(50, 50), ("50", 50), (-1, None), (0, None), (None, None)]
)
def test_max_steps_is_the_limit_of_every_stage(value: Any, steps: int | None) -> None:
    assert default_max_steps({"max_steps": value}) == steps
    assert [stage.max_steps for stage in stages(max_steps=value)] == [steps, steps]


def test_a_stage_may_have_a_limit_of_its_own() -> None:
    own = stages(max_steps=50, **overrides(max_steps=80))
    assert [stage.max_steps for stage in own] == [50, 80]


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        ({}, "shuffle"),
        ({"group_by_length": True}, "length_grouped"),
        ({"group_by_length": "yes"}, "length_grouped"),
        ({"group_by_length": False}, "shuffle"),
        ({"group_by_length": True, "sample_packing": True}, "shuffle"),
        ({"curriculum_sampling": True}, "sequential"),
        ({"shuffle_merged_datasets": False}, "shuffle"),
        ({"shuffle_merged_datasets": True, "group_by_length": True}, "length_grouped"),
        ({"group_by_length": True, "dmt": {"strategy": "dmt", "order": "shuffle"}}, "shuffle"),
    ],
)
def test_keys_about_the_order_set_the_order_of_every_stage(
    keys: dict[str, Any], order: str
) -> None:
    assert [stage.order for stage in stages(**keys)] == [order, order]


@pytest.mark.parametrize(
    ("value", "size"),
    [(0.05, Fraction(1, 20)), ("0.1", Fraction(1, 10)), (200, 200), (200.7, 200), (0.0, 0)],
)
def test_val_set_size_is_a_part_or_a_number_as_in_axolotl(value: Any, size: Fraction | int) -> None:
    assert val_set_size({"val_set_size": value}) == size
    assert isinstance(val_set_size({"val_set_size": value}), type(size))


@pytest.mark.parametrize("value", [1, 1.0, -0.1, "a tenth"])
def test_a_size_that_leaves_nothing_or_makes_no_sense_is_refused(value: Any) -> None:
    assert_mistake(refusal(raw(val_set_size=value)), "val_set_size", str(value))


def test_only_one_key_says_how_many_rows_are_held_out() -> None:
    block = {"strategy": "dmt", "val_rows": 3}
    assert_mistake(refusal(raw(val_set_size=0.1, dmt=block)), "val_set_size", "dmt.val_rows")
    Run.from_raw(raw(val_set_size=0.0, dmt=block))


def test_an_empty_load_best_model_at_end_is_not_true() -> None:
    cfg = raw(load_best_model_at_end=None)
    Run.from_raw(cfg)
    assert cfg.load_best_model_at_end is False


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(DMTError) as caught:
        default_max_steps({"max_steps": "many"})
    assert_mistake(str(caught.value), "max_steps", "'many'")
    assert default_order({}) is None


def test_a_setting_that_another_plugin_changes_later_is_refused() -> None:
    cfg = raw(max_steps=9)
    run = Run.from_raw(cfg)
    cfg |= {"max_steps": 10, "weight_decay": WEIGHT_DECAY}
    with pytest.raises(DMTError, match="max_steps"):
        prepare(run, cfg)
