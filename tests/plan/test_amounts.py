from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.amounts import ALL, FORMS, UNITS, WHOLE, Amount, parse_amount, parse_fraction

KEY = "dmt.stages[0].mix.math"


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ("1/256", Fraction(1, 256)),
        (" 3 / 4 ".replace(" ", ""), Fraction(3, 4)),
        (0.1, Fraction(1, 10)),
        ("0.25", Fraction(1, 4)),
        (1, Fraction(1)),
        (0, Fraction(0)),
        (1e-05, Fraction(1, 100_000)),
        ("2e3", Fraction(2000)),
        (Fraction(2, 3), Fraction(2, 3)),
    ],
)
def test_fractions_mean_what_was_typed(written, exact):
    assert parse_fraction(written, KEY) == exact


@pytest.mark.parametrize(
    "written",
    [
        *("1/0", "1/256x", "", "half", "-1/4", "1/2/3", "nan", "1e999999999"),
        *(float("nan"), float("inf"), -1, True, None, [1], {"rows": 1}),
    ],
)
def test_malformed_fractions_name_the_key_and_what_was_written(written):
    with pytest.raises(DMTError) as raised:
        parse_fraction(written, KEY)
    assert raised.value.key == KEY
    assert repr(written) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("all", ALL),
        ("ALL", ALL),
        ("1/256", Amount("fraction", Fraction(1, 256))),
        (1, Amount("fraction", Fraction(1))),
        (1.0, Amount("fraction", Fraction(1))),
        (2, Amount("fraction", Fraction(2))),
        ({"fraction": "1/4"}, Amount("fraction", Fraction(1, 4))),
        ({"rows": 500}, Amount("rows", Fraction(500))),
        ({"tokens": 2.0e5}, Amount("tokens", Fraction(200_000))),
        ({"share": 0.01}, Amount("share", Fraction(1, 100))),
        ({"token_share": "1/100"}, Amount("token_share", Fraction(1, 100))),
        ({"weight": 2.5}, Amount("weight", Fraction(5, 2))),
    ],
)
def test_amounts_have_the_unit_that_was_named(written, amount):
    assert parse_amount(written, KEY) == amount


@pytest.mark.parametrize(
    ("written", "key", "said"),
    [
        ({"row": 5}, KEY, "unknown unit 'row'"),
        ({}, KEY, "one unit"),
        ({"rows": 5, "tokens": 5}, KEY, "rows, tokens"),
        ({"rows": 1.5}, f"{KEY}.rows", "whole number"),
        ({"rows": -1}, f"{KEY}.rows", "negative"),
        ({"rows": True}, f"{KEY}.rows", "not a fraction"),
        ({"share": 1.01}, f"{KEY}.share", "more than the whole stage"),
        ({"token_share": 2}, f"{KEY}.token_share", "more than the whole stage"),
        ("everything", KEY, "'everything'"),
        (None, KEY, "None"),
        ([0.5], KEY, "[0.5]"),
    ],
)
def test_malformed_amounts_name_their_key(written, key, said):
    with pytest.raises(DMTError) as raised:
        parse_amount(written, KEY)
    assert raised.value.key == key
    assert said in raised.value.problem
    assert raised.value.fix


def test_an_unknown_unit_lists_those_that_hooks_registered():
    for units, registered in (((), ""), (("books", "pages"), "; registered: books, pages")):
        with pytest.raises(DMTError) as raised:
            parse_amount({"row": 5}, KEY, units)
        assert raised.value.fix == f"{FORMS}{registered}"


@pytest.mark.parametrize(
    ("amount", "plain"),
    [
        (ALL, "all"),
        (Amount("fraction", Fraction(1, 2)), "1/2"),
        (Amount("rows", Fraction(500)), {"rows": 500}),
        (Amount("share", Fraction(1, 2)), {"share": "1/2"}),
        (Amount("Books", Fraction(2)), {"Books": 2}),
        (Amount("pages", Fraction(3)), {"pages": 3}),
    ],
)
def test_an_amount_is_written_in_its_unit(amount, plain):
    assert amount.to_plain() == plain
    assert parse_amount(plain, KEY, units=None) == amount


@given(
    st.sampled_from([unit for unit in UNITS if unit not in WHOLE]),
    st.fractions(min_value=0, max_value=1),
)
def test_an_amount_survives_being_written_and_read(unit, value):
    amount = Amount(unit, value)
    assert parse_amount(amount.to_plain(), KEY) == amount


@given(st.sampled_from(WHOLE), st.integers(0, 10**12))
def test_a_whole_amount_survives_being_written_and_read(unit, value):
    amount = Amount(unit, Fraction(value))
    assert parse_amount(amount.to_plain(), KEY) == amount


def test_amounts_read_well_in_a_sentence():
    assert str(parse_amount({"rows": 5000}, KEY)) == "5,000 rows"
    assert str(parse_amount("1/256", KEY)) == "1/256"
    assert str(parse_amount({"token_share": 0.01}, KEY)) == "token share 0.01"
