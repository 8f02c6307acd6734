"""`val_set_size` takes the same part of every domain."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.permutation import Permutation, derive_key
from axolotl_dmt.training.held_out import choose_held_out, rows_to_hold_out
from tests.mistakes import assert_mistake, expect_error


def test_a_part_of_every_domain_is_held_out_in_proportion() -> None:
    rows = {"math": 120, "code": 60, "general": 100}
    assert rows_to_hold_out(rows, Fraction("0.1")) == {"math": 12, "code": 6, "general": 10}
    # 24 / 7, 12 / 7 and 20 / 7 of a row: the largest remainders are rounded up
    assert rows_to_hold_out(rows, 8) == {"math": 3, "code": 2, "general": 3}


def test_a_fraction_is_rounded_up_to_whole_rows() -> None:
    assert rows_to_hold_out({"math": 101}, Fraction("0.1")) == {"math": 11}


def test_every_domain_has_a_held_out_row_and_a_row_to_train_on() -> None:
    assert rows_to_hold_out({"math": 1000, "code": 2}, 4) == {"math": 4, "code": 1}
    assert rows_to_hold_out({"math": 99, "code": 1}, 90) == {"math": 89, "code": 0}


@given(st.lists(st.integers(50, 5000), min_size=1, max_size=6), st.fractions("0.02", "0.9"))
def test_each_domain_is_less_than_a_row_from_its_share(rows: list[int], size: Fraction) -> None:
    held_out = rows_to_hold_out({str(i): count for i, count in enumerate(rows)}, size)
    total = -(-size * sum(rows) // 1)
    assert sum(held_out.values()) == total
    for count, domain in zip(rows, held_out.values(), strict=True):
        assert abs(domain - total * count / sum(rows)) < 1


def test_not_every_row_can_be_held_out() -> None:
    with pytest.raises(DMTError) as caught:
        rows_to_hold_out({"math": 3, "code": 2}, 5)
    assert_mistake(str(caught.value), "val_set_size", "5 rows", "of 5")


def digests(*rows: int) -> np.ndarray:
    return np.array(rows, np.uint64)


def test_rows_without_copies_are_drawn_by_the_seed_and_the_domains_name() -> None:
    chosen = choose_held_out({"math": digests(*range(50))}, {"math": 7}, seed=3)["math"]
    expected = Permutation(50, derive_key(3, "held out", "math")).range(0, 7)
    assert sorted(expected) == np.flatnonzero(chosen.rows).tolist()
    assert not chosen.copies.any()


@given(
    st.lists(st.integers(0, 30), min_size=5, max_size=60),
    st.lists(st.integers(0, 60), min_size=1, max_size=20),
    st.integers(1, 20),
    st.integers(0, 5),
)
def test_no_row_to_train_on_is_a_copy_of_a_held_out_one(
    math: list[int], code: list[int], count: int, seed: int
) -> None:
    rows = {"math": digests(*math), "code": digests(*code)}
    try:
        chosen = choose_held_out(rows, {"math": count}, seed)
    except DMTError:
        return  # no row would be left
    held_out = set(rows["math"][chosen["math"].rows].tolist())
    assert held_out
    for name, masks in chosen.items():
        assert not held_out & set(rows[name][~masks.rows & ~masks.copies].tolist())
    if max(np.unique(math, return_counts=True)[1]) == 1:
        assert chosen["math"].rows.sum() == count


def test_a_domain_of_copies_cannot_be_held_out() -> None:
    with expect_error("dmt.val_rows"):  # whichever of math's two rows is held out
        rows = {"math": digests(1, 2), "code": digests(1), "chat": digests(2)}
        choose_held_out(rows, {"math": 1}, seed=0)
    with expect_error("dmt.val_rows", "math"):
        choose_held_out({"math": digests(4, 4, 4)}, {"math": 1}, seed=0)
