"""A plan that starts at a later stage trains what the whole plan trains there."""

from __future__ import annotations

import numpy as np
import pytest

from axolotl_dmt.plan import Packing, TrainingPlan, compile_plan
from tests.pools import domain, stage

LENGTH = 6
POOL = domain("math", 40, lengths=np.full(40, LENGTH, np.int32))
PACKING = Packing(
    capacity=2 * LENGTH,
    packs_per_step=2,
    pack=lambda lengths: [
        list(range(i, min(i + 2, len(lengths)))) for i in range(0, len(lengths), 2)
    ],
)


def plan_of(packing: Packing | None = None, **rows: int) -> TrainingPlan:
    """Return a plan with a stage of each name that takes that many rows."""
    stages = [stage({"math": {"rows": count}}, name) for name, count in rows.items()]
    return compile_plan(stages=stages, domains=[POOL], seed=1, global_batch=4, packing=packing)


@pytest.mark.parametrize("packing", [None, PACKING])
def test_rows_and_steps_are_those_of_the_whole_plan(packing: Packing | None) -> None:
    whole = plan_of(packing, one=10, two=7, three=5)
    later = whole.starting_at("two")
    skipped = whole.stages[0].end_step
    assert [part.name for part in later.stages] == ["two", "three"]
    assert [part.index for part in later.stages] == [0, 1]
    assert later.total_steps == whole.total_steps - skipped
    for ours, theirs in zip(later.stages, whole.stages[1:], strict=True):
        assert (ours.start_step, ours.end_step) == (
            theirs.start_step - skipped,
            theirs.end_step - skipped,
        )
        first, last = (
            plan.order[slice(*plan.step_bounds(part))]
            for plan, part in ((later, ours), (whole, theirs))
        )
        np.testing.assert_array_equal(first, last)
    if packing:
        assert later.pack_offsets[0] == 0
        assert later.pack_offsets[-1] == len(later.order)
    assert later.fingerprint != whole.fingerprint
    assert whole.starting_at("one").fingerprint == whole.fingerprint


def test_a_stage_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        plan_of(one=10).starting_at("two")
