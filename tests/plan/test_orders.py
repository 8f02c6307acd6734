from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axolotl_dmt.plan import orders
from axolotl_dmt.plan.orders import ORDERS, Epoch, find_order, interleave
from tests.mistakes import expect_error

LENGTHS = np.random.default_rng(0).integers(1, 500, 100_000, dtype=np.int32)


def epoch(counts, key=1, global_batch=8, offset=0):
    rows = np.arange(sum(counts), dtype=np.int32)
    return Epoch(
        rows=rows,
        counts=np.array(counts, np.int64),
        domains=tuple(f"d{i}" for i in range(len(counts))),
        key=key,
        global_batch=global_batch,
        offset=offset,
        lengths=lambda ids: LENGTHS[ids],
        out=np.empty_like(rows),
    )


def served(counts):
    counts = np.array(counts, np.int64)
    queues = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    out = np.empty_like(queues)
    interleave(queues, counts, out)
    return out


def most_uneven(counts):
    """The largest distance of any queue from its exact share, over all prefixes."""
    order, total = served(counts), sum(counts)
    done = np.cumsum(order[:, None] == np.arange(len(counts)), axis=0)
    exact = np.arange(1, total + 1)[:, None] * np.array(counts) / total
    return np.abs(done - exact).max()


@pytest.mark.parametrize("name", ORDERS)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=12), st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_every_order_gives_each_row_once(name, counts, offset):
    wanted = epoch(counts, offset=offset)
    assert np.array_equal(np.sort(ORDERS[name](wanted)), np.arange(sum(counts)))
    assert np.array_equal(wanted.rows, np.arange(sum(counts)))


GOLDEN = {
    "shuffle": ["d711f99c", "d711f99c"],
    "round_robin": ["f1ba14d7", "f1ba14d7"],
    "blocks": ["7e2f447d", "7e2f447d"],
    "length_grouped": ["cd7d40cd", "0e4d843a"],
    "sequential": ["cb031132", "cb031132"],
}


@pytest.mark.parametrize("name", ORDERS)
def test_every_order_is_the_one_always_made(name):
    # Golden values: a change here changes every plan that anybody ever made.
    made = [epoch([1500, 1, 400], offset=offset) for offset in (0, 3)]
    rows = [ORDERS[name](part).tolist() for part in made]
    digests = [blake2b(json.dumps(part).encode(), digest_size=4).hexdigest() for part in rows]
    assert digests == GOLDEN[name]


@pytest.mark.parametrize("name", [name for name in ORDERS if name != "sequential"])
def test_another_epoch_has_another_order(name):
    first, second = (ORDERS[name](epoch([300, 200], key=key)).tolist() for key in (1, 2))
    assert first != second


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30))
@settings(max_examples=150, deadline=None)
def test_round_robin_keeps_every_domain_within_one_row_of_its_share_at_every_prefix(counts):
    assert most_uneven(counts) < 1


@pytest.mark.parametrize(
    "counts", [[1] * 100 + [100], [1] * 100, [5000, 1], [99, 1, 1, 1, 900], [1]]
)
def test_round_robin_stays_even_where_midpoints_would_cluster(counts):
    assert most_uneven(counts) < 1


def test_round_robin_without_numba_is_the_same(monkeypatch):
    counts = [37, 5, 120, 1]
    compiled = served(counts)
    monkeypatch.setattr(orders, "_serve_earliest_deadline", lambda: orders._serve)
    assert served(counts).tolist() == compiled.tolist()


def test_blocks_come_one_after_another_each_shuffled():
    rows = ORDERS["blocks"](epoch([100, 50]))
    assert set(rows[:100]) == set(range(100)) and rows[:100].tolist() != list(range(100))
    assert set(rows[100:]) == set(range(100, 150))


@pytest.mark.parametrize("offset", [0, 5])
def test_length_grouped_steps_hold_rows_of_like_length(offset):
    wanted = epoch([1500, 500], offset=offset)
    rows = ORDERS["length_grouped"](wanted)
    head = -offset % 8
    steps = LENGTHS[rows[head : head + (2000 - head) // 8 * 8]].reshape(-1, 8)
    shuffled = LENGTHS[ORDERS["shuffle"](epoch([1500, 500]))].reshape(-1, 8)
    assert np.ptp(steps, axis=1).mean() < np.ptp(shuffled, axis=1).mean() / 10
    # Yet the lengths of the steps do not rise or fall over the epoch.
    middles = np.median(steps, axis=1)
    assert abs(np.corrcoef(middles, np.arange(len(middles)))[0, 1]) < 0.25


def test_shuffle_mixes_the_domains_evenly_over_the_epoch():
    rows = ORDERS["shuffle"](epoch([60_000, 40_000]))
    parts = (rows.reshape(100, 1000) < 60_000).sum(axis=1)
    # Drawing without replacement: variance n p (1 - p) (N - n) / (N - 1).
    deviation = np.sqrt(1000 * 0.6 * 0.4 * 99 / 100)
    assert abs(parts.mean() - 600) < 1e-9
    assert 0.7 < parts.std() / deviation < 1.3


def test_an_unknown_order_lists_the_known_ones():
    names = "shuffle, round_robin, blocks, length_grouped, sequential, mine"
    with expect_error("dmt.order", names):
        find_order("zigzag", "dmt.order", {"mine": lambda wanted: wanted.rows})


def test_sequential_is_the_order_of_the_files_in_every_epoch():
    wanted = replace(epoch([3, 2]), rows=np.array([2, 0, 1, 4, 3], np.int32))
    assert ORDERS["sequential"](wanted).tolist() == [0, 1, 2, 3, 4]
    assert ORDERS["sequential"](replace(wanted, key=2)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rows", "offset", "kept"),
    [(7, 0, 7), (8, 1, 8), (14, 1, 14), (15, 1, 7), (8, 0, 0), (16, 8, 0), (24, 3, 5)],
)
def test_length_grouped_leaves_steps_that_the_epoch_does_not_fill(rows, offset, kept):
    wanted = epoch([rows], offset=offset)
    grouped = ORDERS["length_grouped"](wanted).tolist()
    shuffled = ORDERS["shuffle"](epoch([rows], offset=offset)).tolist()
    assert grouped[:kept] == shuffled[:kept]
    for start in range(kept, rows - 7, 8):
        step = LENGTHS[grouped[start : start + 8]].tolist()
        assert step == sorted(step), start
