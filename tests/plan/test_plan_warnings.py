"""Warnings on a replay of a handful of rows, and on a warm-up that is as long as a stage."""

from __future__ import annotations

from typing import Any

import pytest

from axolotl_dmt.plan import TrainingPlan, compile_plan
from axolotl_dmt.plan.plan_warnings import check_warmup, plan_warnings
from tests.mistakes import expect_error
from tests.pools import domain, stage


def plan(amount: Any = "1/256", rows: int = 512, **settings: Any) -> TrainingPlan:
    return compile_plan(
        stages=[
            stage({"math": "all"}, "specialise"),
            stage({"general": "all", "math": amount}, "generalise", **settings),
        ],
        domains=[domain("math", rows), domain("general", 96)],
        seed=1,
        global_batch=8,
    )


def test_a_handful_of_replayed_rows_names_the_k_for_64() -> None:
    (warning,) = plan_warnings(plan())
    assert "generalise replays 2 rows of math" in warning
    assert "write 1/8 to replay 64" in warning
    assert plan_warnings(plan("1/8")) == []
    assert plan_warnings(plan({"rows": 2})) == []  # a number that was meant


def test_a_small_domain_has_no_k_for_64() -> None:
    (warning,) = plan_warnings(plan("1/4", rows=40))
    assert "10 rows of math" in warning
    assert "write" not in warning
    (warning,) = plan_warnings(plan("1/4", rows=96))
    assert "write 1 to replay 64" in warning


def test_a_stage_that_max_steps_cuts_short_is_named_with_its_rows() -> None:
    (warning,) = plan_warnings(plan("1/8", max_steps=10))
    assert "generalise ends at max_steps 10: it trains on 80 of the 160 rows" in warning
    assert plan_warnings(plan("1/256", max_steps=10)) == [warning.replace("160", "98")]
    assert plan_warnings(plan("1/8", max_steps=20)) == []
    assert plan_warnings(plan("1/8", max_steps=20, epochs=3)) == []
    assert plan_warnings(plan("1/8", max_steps=10, epochs=0.5)) == []


def test_a_warmup_as_long_as_the_stage_is_named_with_both_numbers() -> None:
    compiled = plan("1/8", warmup_steps=100)
    (warning,) = plan_warnings(compiled)
    assert "generalise has 20 steps, warm-up 100" in warning
    check_warmup(compiled)
    assert plan_warnings(plan("1/8", warmup_steps=19)) == []
    assert plan_warnings(plan("1/8", warmup_steps=100, lr_scheduler="constant")) == []


@pytest.mark.parametrize(("scheduler", "longest"), [("rex", 20), ("one_cycle", 19)])
def test_schedulers_without_a_curve_for_it_are_refused(scheduler: str, longest: int) -> None:
    check_warmup(plan("1/8", lr_scheduler=scheduler, warmup_steps=longest))
    with expect_error("warmup_steps", "generalise has", scheduler, longest + 1):
        check_warmup(plan("1/8", lr_scheduler=scheduler, warmup_steps=longest + 1))
