"""`dmt.replay.share`: the replay as a share of stage 2."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from axolotl_dmt.config.args import DMTConfig, read_config
from axolotl_dmt.config.resolve import resolve_stages
from axolotl_dmt.plan import compile_plan
from axolotl_dmt.plan.amounts import Amount
from axolotl_dmt.plan.inputs import Stage
from tests.config.test_resolve import DEFAULTS, DOMAINS, refusal
from tests.mistakes import assert_mistake, expect_error
from tests.pools import domain


def stages(**block: Any) -> tuple[Stage, ...]:
    return resolve_stages(read_config({"strategy": "dmt", **block}), DOMAINS, DEFAULTS)


def test_the_share_is_divided_in_proportion_to_the_domains_rows() -> None:
    plan = compile_plan(
        stages=stages(replay={"share": 0.1}),
        domains=[domain("math", 400), domain("code", 200), domain("general", 900)],
        seed=1,
        global_batch=8,
    )
    drawn = {name: draw.rows for name, draw in plan.stages[1].domains.items()}
    # 900 rows are 90% of the stage, and the other 100 are divided 2 to 1
    assert drawn == {"math": 67, "code": 33, "general": 900}


def test_the_amounts_are_joint_shares() -> None:
    replayed = Amount("joint_share", Fraction(1, 10))
    second = stages(replay={"share": 0.1})[1]
    assert dict(second.mix) == {"general": Amount("all"), "math": replayed, "code": replayed}
    assert Stage.from_plain(second.to_plain()) == second


def test_the_rows_are_selected_as_everywhere_unless_replay_selects_them() -> None:
    second = stages(replay={"share": 0.1}, select="longest")[1]
    assert second.method("math") == "longest"
    second = stages(replay={"share": 0.1, "select": "random"}, select="longest")[1]
    assert second.method("math") == "random"


def test_a_share_and_k_are_refused_together() -> None:
    with expect_error("dmt.replay.share", "k"):
        read_config({"strategy": "dmt", "k": "1/256", "replay": {"share": 0.1}})


def test_axolotl_may_validate_the_block_again() -> None:
    block = {"strategy": "dmt", "replay": {"share": 0.1}, "dataset_domains": ["math", "general"]}
    again = DMTConfig.model_validate(read_config(block).model_dump())
    assert again.replay is not None
    assert again.replay.share == Fraction(1, 10)


@pytest.mark.parametrize("share", [0, 1, "10%", -0.1])
def test_a_share_lies_between_0_and_1(share: object) -> None:
    with expect_error("dmt.replay.share", share):
        read_config({"strategy": "dmt", "replay": {"share": share}})


def test_a_schedule_that_replays_nothing_refuses_a_share() -> None:
    replay = {"replay": {"share": 0.1}}
    assert_mistake(refusal({"strategy": "multi_task", **replay}), "dmt.replay.share", "multi_task")
    with expect_error("dmt.replay.share", "joint_share"):
        read_config({"stages": [{"name": "a", "mix": {"math": "all"}}], **replay})
