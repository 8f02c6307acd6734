"""`val_set_size` takes the same part of every domain."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.errors import DMTError
from axolotl_dmt.training.held_out import rows_to_hold_out
from tests.mistakes import assert_mistake


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
