"""Packs: whole rows of one stage, within the capacity, in the order of their epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan import BLANK, Packing
from tests.mistakes import expect_error
from tests.plan.test_compiler import DMT, PACKING, POOLS, in_turn, plan_of
from tests.pools import domain, stage, stage_rows


def test_packs_hold_whole_rows_of_one_stage_within_capacity():
    plan = plan_of(*DMT, packing=PACKING)
    lengths = np.concatenate([pool.lengths for pool in POOLS])
    offsets = plan.pack_offsets
    assert offsets.dtype == np.int64
    assert len(offsets) - 1 == plan.total_steps * 4
    assert offsets[-1] == len(plan.order)
    for part, dealt in zip(plan.stages, plan_of(*DMT).stages, strict=True):
        start, stop = part.start_step * 4, part.end_step * 4
        packs = [
            plan.order[a:b] for a, b in zip(offsets[start:stop], offsets[start + 1 :], strict=False)
        ]
        blank = [len(pack) == 1 and pack[0] == BLANK for pack in packs]
        assert sum(blank) < 4 and all(blank[len(packs) - sum(blank) :])
        real = [pack for pack, empty in zip(packs, blank, strict=True) if not empty]
        assert max(lengths[pack].sum() for pack in real) <= 128
        assert all((pack >= 0).all() and len(pack) for pack in real)
        assert part.domains == dealt.domains


def test_packed_epochs_hold_the_epochs_rows():
    plan = plan_of(stage({"math": "all"}, epochs=2), packing=PACKING)
    rows = stage_rows(plan)
    assert np.array_equal(np.sort(rows[:1000]), np.arange(1000))
    assert np.array_equal(np.sort(rows[1000:]), np.arange(1000))


def test_a_row_may_fill_a_pack():
    longest = int(POOLS[0].lengths.max())
    packing = Packing(longest, 1, lambda lengths: [[i] for i in range(len(lengths))])
    assert plan_of(stage({"math": "all"}), packing=packing).total_steps == 1000


def test_an_empty_domain_needs_no_lengths():
    bare = domain("empty", 0, lengths=None, trained=None)
    plan = plan_of(*DMT, domains=[bare, *POOLS], packing=PACKING)
    assert np.array_equal(plan.order, plan_of(*DMT, packing=PACKING).order)
    with expect_error("sample_packing", "lengths"):
        plan_of(*DMT, domains=[replace(bare, rows=1, datasets=()), *POOLS], packing=PACKING)


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 130, 10_000])
def test_max_steps_ends_packed_epochs_anywhere(steps):
    single = Packing(60, 16, lambda lengths: [[i] for i in range(len(lengths))])
    made = stage({"math": "all"}, epochs=2, max_steps=steps)
    packed, rows = plan_of(made, packing=single), plan_of(made)
    taken = min(steps * 16, 2000)
    assert packed.stages[0].draws == taken
    assert np.array_equal(stage_rows(packed)[: min(taken, 1000)], stage_rows(rows)[:1000][:taken])
    assert (packed.order[:taken] >= 0).all() and (packed.order[taken:] == BLANK).all()


def test_epochs_after_max_steps_are_not_packed():
    packed = []

    def noted(lengths):
        packed.append(len(lengths))
        return in_turn(lengths)

    made = stage({"math": "all"}, epochs=9, max_steps=2)
    plan = plan_of(made, packing=replace(PACKING, pack=noted))
    assert plan.total_steps == 2 and packed == [1000]


def test_max_steps_counts_steps_of_packs():
    plan = plan_of(stage({"math": "all"}, max_steps=5), packing=PACKING)
    assert plan.total_steps == 5 and len(plan.pack_offsets) == 21
    assert (plan.order >= 0).all()


def test_a_row_longer_than_a_pack_is_the_users_to_mend():
    packing = Packing(capacity=30, packs_per_step=1, pack=in_turn)
    with pytest.raises(DMTError, match="a pack holds 30") as raised:
        plan_of(DMT[0], packing=packing)
    assert raised.value.key == "sequence_len"


@pytest.mark.parametrize(
    "pack",
    [
        lambda lengths: [[i] for i in range(1, len(lengths))],
        lambda lengths: [[i] for i in range(len(lengths))] + [[0]],
        lambda lengths: [list(range(len(lengths)))],
        lambda lengths: [[i] for i in range(len(lengths))] + [[]],
    ],
)
def test_a_packer_that_breaks_its_word_is_caught(pack):
    with pytest.raises(ValueError, match="packer"):
        plan_of(DMT[0], packing=Packing(capacity=128, packs_per_step=1, pack=pack))
