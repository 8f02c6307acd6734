from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.amounts import parse_amount
from axolotl_dmt.plan.ranking import Ranking
from axolotl_dmt.plan.solve import largest_remainder, solve_counts
from tests.mistakes import assert_mistake
from tests.pools import domain, stage

KEY = "dmt.stages[1]"
SIZES = {"math": 1000, "code": 300, "general": 5000}


def stage_of(mix, units=None, **settings):
    amounts = {name: parse_amount(value, name, units or ()) for name, value in mix.items()}
    return replace(stage({}, **settings), mix=amounts)


def solve(mix, sizes=SIZES, lengths=True, units=None, **settings):
    unknown = {} if lengths else {"lengths": None, "trained": None}
    rankings = {
        name: Ranking(domain(name, sizes[name], **unknown), "random", 7, "") for name in mix
    }
    return solve_counts(stage_of(mix, units, **settings), rankings, KEY, units), rankings


def refused(mix, **settings):
    with pytest.raises(DMTError) as raised:
        solve(mix, **settings)
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("mix", "counts"),
    [
        ({"math": "all", "code": "all"}, (1000, 300)),
        ({"general": "all", "math": "1/256", "code": "1/256"}, (5000, 4, 1)),
        ({"math": 0.1, "code": {"rows": 7}}, (100, 7)),
        ({"math": 1, "code": 1.0}, (1000, 300)),
        ({"general": {"rows": 900}, "math": {"share": 0.1}}, (900, 100)),
        (
            {"general": {"rows": 700}, "math": {"share": 0.1}, "code": {"share": 0.2}},
            (700, 100, 200),
        ),
        ({"general": {"rows": 100}, "math": {"share": "1/3"}}, (100, 50)),
        (
            {
                "general": {"rows": 2600},
                "math": {"joint_share": 1 / 8},
                "code": {"joint_share": 0.125},
            },
            (2600, 286, 85),
        ),
        ({"general": {"rows": 1000}, "math": {"share": 0.0001}}, (1000, 1)),
        ({"math": {"share": 0.5}, "code": {"share": 0.5}}, (300, 300)),
        ({"math": {"weight": 2}, "code": {"weight": 1}}, (600, 300)),
        (
            {"math": {"share": "1/2"}, "code": {"weight": 1}, "general": {"weight": 1}},
            (600, 300, 300),
        ),
        ({"math": {"weight": 5}}, (1000,)),
    ],
)
def test_amounts_become_exact_row_counts(mix, counts):
    assert tuple(solve(mix)[0].values()) == counts


def test_a_temperature_evens_out_the_weights():
    mix = {"math": {"weight": 4}, "code": {"weight": 1}}
    assert solve(mix)[0] == {"math": 1000, "code": 250}
    assert solve(mix, temperature=2.0)[0] == {"math": 600, "code": 300}
    assert solve(mix, temperature=1e9)[0] == {"math": 300, "code": 300}


def test_a_positive_amount_never_rounds_to_nothing():
    tiny = {"general": "all", "math": "1/5000", "code": {"tokens": 1}}
    counts, _ = solve(tiny)
    assert counts["math"] == counts["code"] == 1


def test_max_repeats_lets_a_domain_be_drawn_more_than_once():
    assert solve({"code": 2.5}, max_repeats=3)[0] == {"code": 750}
    mix = {"math": {"weight": 1}, "code": {"weight": 1}}
    assert solve(mix, max_repeats=2)[0] == {"math": 600, "code": 600}


@given(st.integers(1, 40_000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_token_budget_is_met_to_within_one_row(tokens, often):
    counts, rankings = solve({"math": {"tokens": tokens}}, max_repeats=3 if often else 2)
    got = rankings["math"].tokens(counts["math"])
    assert abs(got - tokens) <= 60  # the longest row


@given(
    st.integers(1, 5000),
    st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any),
)
@settings(max_examples=100, deadline=None)
def test_shares_of_rows_are_met_to_within_one_row(rows, percents):
    sizes = {f"d{i}": 100_000 for i in range(len(percents))} | {"general": 5000}
    shares = {f"d{i}": Fraction(p, 250) for i, p in enumerate(percents) if p}
    mix = {"general": {"rows": rows}} | {name: {"share": s} for name, s in shares.items()}
    counts, _ = solve(mix, sizes)
    total = Fraction(rows) / (1 - sum(shares.values()))
    for name, share in shares.items():
        assert counts[name] == 1 or abs(counts[name] - share * total) < 1
    if all(share * total >= 1 for share in shares.values()):
        assert abs(sum(counts.values()) - total) <= Fraction(1, 2)


@given(st.integers(1, 70), st.integers(0, 25))
@settings(max_examples=60, deadline=None)
def test_shares_of_tokens_and_of_rows_hold_at_once(token_percent, row_percent):
    mix = {"general": {"rows": 100}, "math": {"token_share": Fraction(token_percent, 100)}}
    if row_percent:
        mix["code"] = {"share": Fraction(row_percent, 100)}
    counts, rankings = solve(mix, max_repeats=1000)
    tokens = {name: rankings[name].tokens(count) for name, count in counts.items()}
    wanted = token_percent / 100 * sum(tokens.values())
    assert abs(tokens["math"] - wanted) <= 61 or counts["math"] == 1
    if row_percent:
        rows = row_percent / 100 * sum(counts.values())
        assert abs(counts["code"] - rows) <= 1.5


def test_token_shares_alone_take_as_much_as_the_scarcest_domain_has():
    counts, rankings = solve({"math": {"token_share": 0.5}, "code": {"token_share": 0.5}})
    assert counts["code"] == 300
    difference = rankings["math"].tokens(counts["math"]) - rankings["code"].tokens(300)
    assert abs(difference) <= 60


@pytest.mark.parametrize(
    ("mix", "key", "said"),
    [
        ({"general": "all", "math": {"share": 1}}, "", "sum to 1 and leave no room for general"),
        ({"math": {"share": 0.6}, "code": {"share": 0.5}}, "", "sum to 1.1"),
        ({"math": {"share": 0.6}, "code": {"share": 0.3}}, "", "sum to 0.9"),
        ({"math": {"token_share": 0.6}, "code": {"token_share": 0.3}}, "", "sum to 0.9"),
        ({"math": {"token_share": 0.5}, "code": {"share": 0.5}}, "", "how large the stage is"),
        ({"general": "all", "math": {"weight": 1}}, ".general", "all cannot"),
        ({"code": {"weight": 1}, "math": {"share": 1}}, "", "nothing to divide"),
        ({"code": {"rows": 301}}, ".code", "301 rows"),
        ({"code": 1.5}, ".code", "needs 450 rows and the domain has 300"),
        ({"code": {"tokens": 10**7}}, ".code", "10,000,000 tokens"),
        (
            {"general": "all", "math": {"token_share": "3/5"}, "code": {"share": "3/5"}},
            "",
            "together leave no room",
        ),
    ],
)
def test_amounts_that_contradict_each_other_are_refused(mix, key, said):
    error = refused(mix)
    assert error.key == f"{KEY}.mix{key}"
    assert said in error.problem
    assert error.fix


def test_an_infeasible_share_names_worst_domain_best_size_and_factor():
    mix = {"general": {"rows": 4000}, "math": {"share": "1/10"}, "code": {"share": "1/2"}}
    error = refused(mix)
    assert error.key == f"{KEY}.mix.code"
    for value in ("5,000 rows", "300", "10,000 rows", "600"):
        assert value in error.problem
    assert "max_repeats: 17" in error.fix and "16.7" in error.fix
    counts, _ = solve(mix, max_repeats=17)
    assert counts == {"general": 4000, "math": 1000, "code": 5000}


def test_an_infeasible_token_share_names_worst_domain_and_factor():
    error = refused({"general": "all", "code": {"token_share": 0.5}})
    assert error.key == f"{KEY}.mix.code"
    assert "tokens" in error.problem and "max_repeats" in error.fix
    passes = int(error.fix.split("max_repeats: ")[1].split()[0])
    assert solve({"general": "all", "code": {"token_share": 0.5}}, max_repeats=passes)


def test_token_amounts_need_lengths():
    for unit in ("tokens", "token_share"):
        error = refused({"math": {unit: 1}}, lengths=False)
        assert error.key == f"{KEY}.mix.math"
        assert "lengths" in error.problem


def test_a_temperature_without_weights_is_refused():
    assert refused({"math": "all"}, temperature=2.0).key == f"{KEY}.temperature"
    assert refused({"math": {"weight": 1}}, temperature=0.0).key == f"{KEY}.temperature"


@given(st.lists(st.fractions(0, 50), min_size=1, max_size=20))
def test_largest_remainder_keeps_the_sum_and_stays_next_to_each_quota(quotas):
    counts = largest_remainder(quotas)
    for count, quota in zip(counts, quotas, strict=True):
        assert abs(count - quota) < 1 or (count == 1 and quota > 0)
        assert (count > 0) == (quota > 0)
    if all(quota == 0 or quota >= 1 for quota in quotas):
        assert abs(sum(counts) - sum(quotas)) <= Fraction(1, 2)


def test_a_hundred_domains_share_a_stage_exactly():
    sizes = {f"d{i}": 1000 + i for i in range(100)}
    counts, _ = solve({name: {"share": Fraction(1, 100)} for name in sizes}, sizes)
    assert set(counts.values()) == {1000}
    assert np.sum(list(counts.values())) == 100_000


def test_joint_shares_are_one_number():
    mix = {"general": "all", "math": {"joint_share": 0.1}, "code": {"joint_share": 0.2}}
    assert_mistake(str(refused(mix)), f"{KEY}.mix", "0.1", "0.2")


@pytest.mark.parametrize(
    ("fraction", "rows"), [(0.0014, 1), (0.0015, 2), (0.0016, 2), (0.0024, 2), (0.0025, 3)]
)
def test_a_fraction_is_rounded_to_the_nearest_row(fraction, rows):
    assert solve({"math": fraction})[0] == {"math": rows}


def test_a_temperature_below_one_sharpens_the_weights():
    mix = {"math": {"weight": 4}, "general": {"weight": 1}}
    assert solve(mix, temperature=0.5)[0] == {"math": 1000, "general": 62}
    assert solve(mix, temperature=4.0)[0] == {"math": 1000, "general": 707}
    for temperature in (-0.5, 0.001, float("inf"), float("nan")):
        error = refused(mix, temperature=temperature)
        assert_mistake(str(error), f"{KEY}.temperature", temperature)


def documents(pool, value):
    return np.int64(3 * value)


def test_a_hook_counts_the_rows_of_its_unit():
    mix = {"general": "all", "math": {"documents": 2}, "code": {"documents": 1}}
    counts, _ = solve(mix, units={"documents": documents})
    assert counts == {"general": 5000, "math": 6, "code": 3}
    assert_mistake(
        str(refused({"code": {"documents": 101}}, units={"documents": documents})),
        f"{KEY}.mix.code",
        "303 rows",
    )


@pytest.mark.parametrize("rows", [0, -1, True, 2.5, "3", None])
def test_a_hook_must_return_a_whole_number_of_rows(rows):
    error = refused({"math": {"documents": 2}}, units={"documents": lambda *_: rows})
    assert_mistake(str(error), f"{KEY}.mix.math", "documents", repr(rows))
    assert solve({"math": {"documents": 2}}, units={"documents": lambda *_: 1})[0] == {"math": 1}


def test_a_unit_of_a_missing_hook_is_a_mistake():
    mix = stage_of({"math": {"documents": 2}}, units=("documents",))
    rankings = {"math": Ranking(domain("math", 10), "random", 7, "")}
    with pytest.raises(DMTError) as raised:
        solve_counts(mix, rankings, KEY)
    assert_mistake(str(raised.value), f"{KEY}.mix.math", "'documents'", "dmt.hooks")


def test_all_tokens_of_a_domain_are_all_of_its_rows():
    total = int(domain("code", 300).lengths.sum())
    assert solve({"code": {"tokens": total}})[0] == {"code": 300}
    assert solve({"code": {"tokens": 2 * total}}, max_repeats=2)[0] == {"code": 600}
    error = refused({"code": {"tokens": 3 * total}}, max_repeats=2)
    assert f"hold {2 * total:,} tokens within max_repeats 2" in error.problem
    assert "1.5 times" in error.problem
    assert error.fix == "set max_repeats: 3 (a factor of 1.5), or take less"


def test_a_domain_without_tokens_cannot_give_any():
    empty = domain("empty", 4, lengths=np.zeros(4, np.int32), trained=None)
    rankings = {"empty": Ranking(empty, "random", 7, "")}
    with pytest.raises(DMTError) as raised:
        solve_counts(stage({"empty": {"tokens": 5}}), rankings, KEY)
    assert_mistake(str(raised.value), f"{KEY}.mix.empty", "inf times", "take another amount")
    general = domain("general", 10, lengths=np.full(10, 6, np.int32))
    rankings = {"general": Ranking(general, "random", 7, "")} | rankings
    with pytest.raises(DMTError) as raised:
        solve_counts(stage({"general": "all", "empty": {"token_share": 0.5}}), rankings, KEY)
    assert_mistake(
        str(raised.value), f"{KEY}.mix.empty", "needs 60 tokens", "has 0", "a factor of 60"
    )


def even(**rows):
    """Return rankings of domains whose rows have ten tokens each."""
    pools = {n: domain(n, count, lengths=np.full(count, 10, np.int32)) for n, count in rows.items()}
    return {name: Ranking(pool, "random", 7, "") for name, pool in pools.items()}


def test_token_shares_and_shares_of_even_rows_are_exact():
    mix = {"general": "all", "math": {"token_share": 0.3}, "code": {"share": 0.2}}
    counts = solve_counts(stage(mix), even(general=50, math=100, code=100), KEY)
    assert counts == {"general": 50, "math": 30, "code": 20}
    tiny = {"general": "all", "math": {"token_share": 1e-6}, "code": {"share": 1e-6}}
    counts = solve_counts(stage(tiny), even(general=50, math=100, code=100), KEY)
    assert counts == {"general": 50, "math": 1, "code": 1}
    halves = {"math": {"token_share": 0.25}, "code": {"token_share": 0.75}}
    counts = solve_counts(stage(halves), even(math=100, code=60), KEY)
    assert counts == {"math": 20, "code": 60}


def test_rounding_that_takes_a_row_away_ends_the_search_for_the_size():
    # At the size that the first counts give, rounding gives fewer tokens than at the size before.
    shares = {"a": (4, 97), "b": (11, 60), "c": (1, 15), "d": (3, 97)}
    mix = {"fixed": {"rows": 18}, "tokens": {"token_share": Fraction(13, 100)}}
    mix |= {name: {"share": Fraction(*share)} for name, share in shares.items()}
    lengths = {"fixed": 1, "tokens": 5, "a": 60, "b": 2, "c": 30, "d": 1}
    pools = [domain(n, 300, lengths=np.full(300, each, np.int32)) for n, each in lengths.items()]
    rankings = {pool.name: Ranking(pool, "random", 7, "") for pool in pools}
    counts = solve_counts(stage(mix), rankings, KEY)
    assert counts == {"fixed": 18, "tokens": 6, "a": 1, "b": 7, "c": 2, "d": 1}
    for name, share in shares.items():
        assert abs(counts[name] - Fraction(*share) * sum(counts.values())) < 1


@pytest.mark.parametrize(
    ("code", "values", "fix"),
    [
        (40, ("needs 500 tokens", "has 400", "stage of 1,000 tokens", "at most 800"), (2, "1.25")),
        (20, ("needs 500 tokens", "has 200", "stage of 1,000 tokens", "at most 400"), (3, "2.5")),
    ],
)
def test_an_infeasible_token_share_has_exact_numbers(code, values, fix):
    mix = {"general": "all", "code": {"token_share": 0.5}}
    with pytest.raises(DMTError) as raised:
        solve_counts(stage(mix), even(general=50, code=code), KEY)
    assert_mistake(str(raised.value), f"{KEY}.mix.code", *values)
    assert raised.value.fix == f"set max_repeats: {fix[0]} (a factor of {fix[1]}), or take less"


def test_too_many_rows_have_the_factor_as_their_fix():
    error = refused({"code": 1.5})
    assert "needs 450 rows and the domain has 300" in error.problem
    assert error.fix == "set max_repeats: 2 (a factor of 1.5), or take less"
    error = refused({"code": 5, "math": 2}, max_repeats=2)
    assert "needs 1,500 rows and the domain has 300 within max_repeats 2" in error.problem
    assert error.fix == "set max_repeats: 5 (a factor of 2.5), or take less"
    error = refused({"code": {"rows": 700}, "math": {"rows": 1001}})
    assert_mistake(str(error), f"{KEY}.mix.code", "700 rows are requested", "300")


def test_token_shares_that_fill_the_stage_leave_no_room_for_shares():
    error = refused({"math": {"token_share": 1}, "code": {"share": 0.5}})
    assert "leave no room for the other shares" in error.problem
    error = refused({"math": {"share": 1}, "code": {"rows": 5}, "general": "all"})
    assert "leave no room for code, general" in error.problem


def test_a_token_share_needs_the_lengths_of_every_domain():
    pools = [domain("math", 9), domain("code", 9, lengths=None, trained=None)]
    rankings = {pool.name: Ranking(pool, "random", 7, "") for pool in pools}
    mix = stage({"math": {"token_share": 0.5}, "code": "all"})
    with pytest.raises(DMTError) as raised:
        solve_counts(mix, rankings, KEY)
    assert_mistake(str(raised.value), f"{KEY}.mix.code", "lengths")


def test_earlier_quotas_are_rounded_up_first_at_a_tie():
    half = Fraction(1, 2)
    assert largest_remainder([half + 1, half + 1, half + 1, half + 1]) == [2, 2, 1, 1]
    assert largest_remainder([Fraction(7, 5), Fraction(8, 5)]) == [1, 2]
    assert largest_remainder([Fraction(1, 9)] * 3) == [1, 1, 1]
    assert largest_remainder([Fraction(3), Fraction(0)]) == [3, 0]
