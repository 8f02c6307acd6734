"""Warnings on a replay of a handful of rows, and on a warm-up that is as long as a stage."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from axolotl_dmt.plan import TrainingPlan, compile_plan
from axolotl_dmt.plan.plan_warnings import (
    check_warmup,
    handful,
    plan_warnings,
    replayed_fractions,
)
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
    for scheduler in ("annealed", "constant_with_warmup"):
        assert plan_warnings(plan("1/8", warmup_steps=100, lr_scheduler=scheduler)) == [warning]


@pytest.mark.parametrize(("scheduler", "longest"), [("rex", 20), ("one_cycle", 19)])
def test_schedulers_without_a_curve_for_it_are_refused(scheduler: str, longest: int) -> None:
    check_warmup(plan("1/8", lr_scheduler=scheduler, warmup_steps=longest))
    with expect_error("warmup_steps", "generalise has", scheduler, longest + 1):
        check_warmup(plan("1/8", lr_scheduler=scheduler, warmup_steps=longest + 1))


@pytest.mark.parametrize(
    ("k", "rows", "said"),
    [
        ("1/2", 128, None),
        ("1/2", 127, None),  # rounded up to 64
        ("1/2", 126, "replays 63 rows of math: 1/2 of its 126; write 1 to replay 64 or more"),
        ("1/4", 130, "replays 33 rows of math: 1/4 of its 130; write 1/2 to replay"),
        ("1/256", 10, "replays 1 row of math: 1/256 of its 10"),
        ("1/256", 4096, "replays 16 rows of math: 1/256 of its 4,096; write 1/64 to replay"),
        ("1/2", 64, "replays 32 rows of math: 1/2 of its 64"),
        ("1/2", 65, "replays 33 rows of math: 1/2 of its 65; write 1 to replay"),
        ("1", 10, None),
        ("0", 10, None),
        ("1/2", 0, None),
    ],
)
def test_a_handful_is_less_than_64_rows(k: str, rows: int, said: str | None) -> None:
    warning = handful("generalise", "math", Fraction(k), rows)
    if said is None:
        assert warning is None
    else:
        assert warning is not None and warning.startswith(f"stage generalise {said}")
        assert ("write" in warning) == ("write" in said)


def test_only_what_an_earlier_stage_trained_is_replayed() -> None:
    mixes = [
        ("one", stage({"math": "1/2", "law": 0}).mix),
        ("two", stage({"code": "1/2", "law": "1/3", "math": {"rows": 5}}).mix),
        ("three", stage({"code": "1/4", "math": "1/8", "law": 0, "chat": "1/5"}).mix),
    ]
    assert list(replayed_fractions(mixes)) == [
        ("three", "code", Fraction(1, 4)),
        ("three", "math", Fraction(1, 8)),
    ]


def test_a_stage_of_part_of_an_epoch_is_cut_short_below_that_part() -> None:
    # The mix has 160 rows, half of an epoch 80, which are 10 steps.
    (warning,) = plan_warnings(plan("1/8", max_steps=9, epochs=0.5))
    assert "ends at max_steps 9: it trains on 72 of the 160 rows" in warning
    assert plan_warnings(plan("1/8", max_steps=11, epochs=0.5)) == []
    whole = compile_plan(
        stages=[stage({"math": "all"}, "one", max_steps=1)],
        domains=[domain("math", 9)],
        seed=1,
        global_batch=8,
    )
    assert plan_warnings(whole)[0] == (
        "stage one ends at max_steps 1: it trains on 8 of the 9 rows of its mix"
    )


def test_a_warm_up_must_end_before_the_stage_does() -> None:
    assert len(plan_warnings(plan("1/8", warmup_steps=20))) == 1
    for scheduler in ("rex", "cosine_warmup_with_min_lr"):
        assert plan_warnings(plan("1/8", warmup_steps=20, lr_scheduler=scheduler)) == []
        assert len(plan_warnings(plan("1/8", warmup_steps=21, lr_scheduler=scheduler))) == 1
    check_warmup(plan("1/8", warmup_steps=99, lr_scheduler="cosine"))
    single = plan("1/8", max_steps=1, warmup_steps=5, lr_scheduler="one_cycle", epochs=0.05)
    with expect_error("warmup_steps", "generalise has 1 step, warm-up 5", "less than 1"):
        check_warmup(single)
