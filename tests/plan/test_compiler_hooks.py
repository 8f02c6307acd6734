"""Plans with selections, orders and units of amounts that hooks register."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from axolotl_dmt.plan.amounts import Amount
from tests.plan.test_compiler import plan_of
from tests.pools import stage, stage_rows


def test_hooks_may_select_and_order():
    def backwards(epoch):
        return epoch.rows[::-1]

    def last(pool, key):
        return np.arange(pool.rows)[::-1]

    plan = plan_of(
        stage({"code": 0.1}, order="backwards", select="last"),
        selectors={"last": last},
        orders={"backwards": backwards},
    )
    assert stage_rows(plan).tolist() == list(range(1270, 1300))


def test_hooks_may_count_the_rows_of_an_amount():
    mix = {"math": Amount("pages", Fraction(3)), "code": Amount("rows", Fraction(2))}
    made = replace(stage({}), mix=mix)
    plan = plan_of(made, amounts={"pages": lambda pool, value: int(5 * value)})
    assert {name: draw.rows for name, draw in plan.stages[0].domains.items()} == {
        "math": 15,
        "code": 2,
    }


def test_an_order_gets_the_place_of_its_epoch_within_a_step():
    offsets = []

    def noted(epoch):
        offsets.append(epoch.offset)
        return epoch.rows

    whole = stage({"code": {"rows": 38}}, "first", epochs=3, order="noted")
    plan_of(whole, replace(whole, name="second", epochs=1.5), orders={"noted": noted})
    assert offsets == [0, 38 % 16, 76 % 16, 0, 38 % 16]


def test_a_hook_that_loses_a_row_is_caught():
    with pytest.raises(ValueError, match="order 'bad'"):
        plan_of(
            stage({"code": 0.1}, order="bad"),
            orders={"bad": lambda epoch: epoch.rows[:1].repeat(30)},
        )
