"""The counts of a stage are those of its rows, for every way in which its epochs can end."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from axolotl_dmt.plan.totals import domain_draws
from tests.pools import domain

BLANKS = np.full(3, -1, np.int32)


def drawn(count: int, size: int, epochs: int, part: int, redraw: bool, last: bool) -> np.ndarray:
    """Return the rows of some whole epochs, and of the first or last part of one more."""
    windows = [np.arange(count) + (epoch * count if redraw else 0) for epoch in range(epochs + 1)]
    windows[-1] = windows[-1][count - part :] if last else windows[-1][:part]
    return np.concatenate(windows) % size


@pytest.mark.parametrize(("redraw", "last"), itertools.product((False, True), repeat=2))
def test_distinct_rows_and_repeats_are_those_of_the_order(redraw: bool, last: bool) -> None:
    """Beside domains with lower and higher row ids."""
    for size, count, epochs in itertools.product(range(1, 5), range(1, 7), range(4)):
        pools = {"low": domain("low", 9), "math": domain("math", size), "high": domain("high", 3)}
        offsets = {"low": 0, "math": 9, "high": 9 + size}
        for part in range(0 if epochs else 1, count):
            rows = drawn(count, size, epochs, part, redraw, last)
            low, high = np.arange(epochs or 1), np.tile(np.arange(3), epochs or 1) + 9 + size
            order = np.concatenate([high, rows + 9, low, BLANKS]).astype(np.int32)
            counts = {"low": 1, "math": count, "high": 3}
            found = domain_draws(order, counts, pools, offsets, redraw)["math"]
            times = np.bincount(rows, minlength=size)
            case = (size, count, epochs, part)
            assert (found.available, found.draws) == (size, len(rows)), case
            assert (found.rows, found.max_repeats) == (np.count_nonzero(times), times.max()), case


def test_tokens_are_summed_over_all_chunks_and_draws() -> None:
    pools = {"math": domain("math", 100), "code": domain("code", 37)}
    rows = np.random.default_rng(1).permutation(np.repeat(np.arange(137, dtype=np.int32), 3))
    order = np.concatenate([rows, BLANKS])
    counts = {"code": 37, "math": 100}
    found = domain_draws(order, counts, pools, {"math": 0, "code": 100}, redraw=False)
    assert list(found) == ["code", "math"]
    for name, pool in pools.items():
        draw = found[name]
        assert (draw.rows, draw.draws, draw.max_repeats) == (pool.rows, 3 * pool.rows, 3)
        assert draw.tokens == 3 * pool.lengths.sum()
        assert draw.trained_tokens == 3 * pool.trained.sum()
    trained = {name: pool.trained.sum() for name, pool in pools.items()}
    assert found["code"].share == pytest.approx(trained["code"] / sum(trained.values()))


def test_a_domain_without_lengths_is_counted_in_rows() -> None:
    bare = domain("bare", 3, lengths=None, trained=None)
    untrained = domain("math", 5, trained=np.zeros(5, np.int32))
    order = np.arange(8, dtype=np.int32)
    offsets, counts = {"bare": 0, "math": 3}, {"bare": 3, "math": 5}
    found = domain_draws(order, counts, {"bare": bare, "math": untrained}, offsets, redraw=False)
    assert (found["bare"].tokens, found["bare"].trained_tokens) == (None, None)
    assert found["math"].tokens == untrained.lengths.sum()
    assert (found["bare"].share, found["math"].share) == (3 / 8, 5 / 8)
    only = domain_draws(order[3:], {"math": 5}, {"math": untrained}, offsets, redraw=False)
    assert (only["math"].trained_tokens, only["math"].share) == (0, 1.0)


def test_sums_of_tokens_do_not_overflow() -> None:
    long = domain("math", 3, lengths=np.full(3, 2**30, np.int32), trained=None)
    order = np.arange(3, dtype=np.int32)
    found = domain_draws(order, {"math": 3}, {"math": long}, {"math": 0}, redraw=False)
    assert found["math"].tokens == 3 * 2**30
