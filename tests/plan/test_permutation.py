from __future__ import annotations

import itertools
import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axolotl_dmt.plan.permutation import SMALL, Permutation, derive_key, for_chunks, hashes

GOLDEN_SMALL = [1, 8, 7, 3, 9, 2, 6, 4, 5, 0]
GOLDEN_LARGE = [236579, 262973, 751492, 764068, 503754, 995916]


def chi_square(counts: np.ndarray, expected: float) -> float:
    """Standard deviations away from what chance would give."""
    free = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - free) / math.sqrt(2 * free))


@given(st.integers(1, 400_000), st.integers(0, 2**64 - 1))
@settings(max_examples=40, deadline=None)
def test_every_element_occurs_once(size, key):
    whole = Permutation(size, key).range(0, size)
    assert np.array_equal(np.sort(whole), np.arange(size))


@pytest.mark.parametrize("size", [1, 2, SMALL, SMALL + 1, 1 << 17, (1 << 17) + 1])
def test_sizes_around_the_limits_are_permutations(size):
    whole = Permutation(size, 3).range(0, size)
    assert np.array_equal(np.sort(whole), np.arange(size))


@given(st.integers(1, 200_000), st.integers(0, 2**64 - 1), st.data())
@settings(max_examples=30, deadline=None)
def test_a_part_is_the_same_whether_or_not_the_whole_is_computed(size, key, data):
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    part = Permutation(size, key).range(start, stop)
    assert np.array_equal(part, Permutation(size, key).range(0, size)[start:stop])


def test_sizes_past_32_bits_stay_in_range_and_distinct():
    size = 2**33 + 5
    part = Permutation(size, 9).range(size - 100_000, size)
    assert part.dtype == np.int64
    assert part.min() >= 0 and part.max() < size
    assert len(np.unique(part)) == len(part)
    assert part.max() > 2**32


def test_elements_are_the_ones_always_computed():
    # Golden values: a change here changes every plan that anybody ever made.
    assert Permutation(10, derive_key(42, "select", "math")).range(0, 10).tolist() == GOLDEN_SMALL
    large = Permutation(1_000_000, derive_key(42, "select", "math"))
    assert large.range(0, 6).tolist() == GOLDEN_LARGE


@pytest.mark.parametrize(
    ("size", "first", "last"),
    [
        (SMALL, 54705, [32330, 50151]),
        (SMALL + 1, 27269, [48975, 13574]),
        (100_003, 27269, [38068, 61052]),
        (2**31, 2019483105, [1293127607, 234369616]),
        (2**31 + 1, 93594634, [1685882187, 312340483]),
        (2**33 + 5, 5428845238, [2786998620, 3143653296]),
    ],
)
def test_elements_of_every_size_are_the_ones_always_computed(size, first, last):
    # Golden values on both sides of each limit: of the table, and of 32 bits.
    permutation = Permutation(size, derive_key(7, "select", "math"))
    assert int(permutation.range(0, 1)[0]) == first
    assert permutation.range(size - 2, size).tolist() == last
    wide = size <= SMALL or size > 2**31
    assert permutation.range(0, 3).dtype == (np.int64 if wide else np.int32)


def test_a_key_has_64_bits():
    assert hashes(2**64 + 5, 3).tolist() == hashes(5, 3).tolist()
    assert hashes(2**64 - 1, 3).tolist() != hashes(2**63 - 1, 3).tolist()
    assert hashes(2**64 - 1, 3).tolist() != hashes(2**64 - 2, 3).tolist()


def test_keys_differ_by_seed_purpose_and_type():
    purposes = [(1, "a", "b"), (1, "ab"), (1, "a", 1), (1, "a", "1"), (2, "a", "b"), (1, "b", "a")]
    assert len({derive_key(*purpose) for purpose in purposes}) == len(purposes)


@pytest.mark.parametrize("size", range(1, 6))
def test_all_permutations_of_a_few_elements_are_equally_likely(size):
    seeds = 4000
    names = {order: i for i, order in enumerate(itertools.permutations(range(size)))}
    counts = np.zeros(len(names))
    for seed in range(seeds):
        order = Permutation(size, derive_key(seed, "order", 0, 0)).range(0, size)
        counts[names[tuple(order.tolist())]] += 1
    if size > 1:
        assert abs(chi_square(counts, seeds / len(names))) < 5


@pytest.mark.parametrize("size", [6, 7, 8, 9, 10, 11, 12, 100_003])
def test_every_place_goes_anywhere_equally_often(size):
    seeds, places, bins = 3000, 6, min(size, 12)
    orders = np.array(
        [Permutation(size, derive_key(seed, "x")).range(0, places) for seed in range(seeds)]
    )
    edges = np.linspace(0, size, bins + 1)
    for place in range(places):
        counts = np.histogram(orders[:, place], edges)[0]
        expected = seeds * np.diff(np.ceil(edges)) / size
        assert abs(chi_square(counts, expected)) < 5
    ascending = int((orders[:, 0] < orders[:, 1]).sum())
    assert abs(ascending - seeds / 2) < 5 * math.sqrt(seeds) / 2


@pytest.mark.parametrize("size", [SMALL + 1, 100_003, 1 << 17, 250_000])
def test_a_small_subset_of_a_large_domain_looks_random(size):
    """Even over the domain and over every residue, and unrelated from one element to the next."""
    parts = []
    for seed in range(30):
        order = Permutation(size, derive_key(seed, "select", "math")).range(0, size)
        order = order.astype(np.int64)
        taken = order[: size // 16]
        spread = np.bincount(taken * 64 // size, minlength=64)
        residues = np.bincount(taken % 64, minlength=64)
        steps = np.bincount(np.diff(order) % size * 64 // size, minlength=64)
        parts.append(
            [
                chi_square(spread, len(taken) / 64),
                chi_square(residues, len(taken) / 64),
                chi_square(steps, (size - 1) / 64),
            ]
        )
    means = np.mean(parts, axis=0)
    assert np.all(np.abs(means) < 1.0), means
    assert np.max(np.abs(parts)) < 6


def test_chunks_are_worked_on_once_each_and_answered_in_order():
    seen = np.zeros(1000, int)

    def work(start: int, stop: int) -> int:
        seen[start:stop] += 1
        return start

    assert for_chunks(work, 1000, 64) == list(range(0, 1000, 64))
    assert (seen == 1).all()
    assert for_chunks(work, 0) == []


def test_one_chunk_needs_no_thread():
    def thread(start: int, stop: int) -> tuple[int, int, bool]:
        return start, stop, threading.current_thread() is threading.main_thread()

    assert for_chunks(thread, 64, 64) == [(0, 64, True)]
    assert for_chunks(thread, 1, 64) == [(0, 1, True)]
    assert for_chunks(thread, 65, 64) == [(0, 64, False), (64, 65, False)]
    assert for_chunks(thread, 61) == [(0, 61, True)]
    assert len(for_chunks(thread, 62)) == 2
