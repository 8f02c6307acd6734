from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axolotl_dmt.plan.ranking import Ranking
from tests.mistakes import expect_error
from tests.pools import domain

METHODS = ("random", "first", "longest", "shortest", "score:quality")
KEY = "dmt.stages[0].select"


def ranking(rows, method="random", seed=1, name="math", **fields):
    scores = {"quality": np.random.default_rng(rows).normal(size=rows)}
    return Ranking(domain(name, rows, scores=scores, **fields), method, seed, KEY)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [1, 2, 97, 70_001])
def test_a_ranking_holds_every_row_once(method, rows):
    assert np.array_equal(np.sort(ranking(rows, method).rows(0, rows)), np.arange(rows))


def test_each_method_takes_the_rows_it_says():
    pool = ranking(500, "longest").domain
    lengths, quality = pool.lengths, pool.scores["quality"]

    def taken(method):
        return Ranking(pool, method, 1, KEY).rows(0, 50)

    assert taken("first").tolist() == list(range(50))
    assert lengths[taken("longest")].tolist() == sorted(lengths)[::-1][:50]
    assert lengths[taken("shortest")].tolist() == sorted(lengths)[:50]
    assert quality[taken("score:quality")].tolist() == sorted(quality)[::-1][:50]


def test_rows_without_a_score_come_last():
    scores = {"quality": np.array([np.nan, 1.0, np.nan, 3.0])}
    order = Ranking(domain("math", 4, scores=scores), "score:quality", 1, KEY).rows(0, 4)
    assert order.tolist() == [3, 1, 0, 2]


def test_a_hook_may_rank_the_rows():
    def odd_first(pool, key):
        return np.argsort(np.arange(pool.rows) % 2 == 0, kind="stable")

    order = Ranking(domain("math", 6), "odd_first", 1, KEY, {"odd_first": odd_first}).rows(0, 6)
    assert order.tolist() == [1, 3, 5, 0, 2, 4]


def test_a_hook_that_forgets_a_row_is_caught():
    with pytest.raises(ValueError, match="'math'"):
        Ranking(domain("math", 6), "bad", 1, KEY, {"bad": lambda pool, key: np.zeros(6, int)})


@pytest.mark.parametrize(
    ("method", "value"),
    [("best", "'best'"), ("score:taste", "'taste'"), ("longest", "lengths")],
)
def test_an_impossible_selection_names_its_key(method, value):
    with expect_error(KEY, value):
        Ranking(domain("math", 6, lengths=None, trained=None), method, 1, KEY)


def test_the_random_ranking_depends_on_seed_name_and_size_alone():
    whole = ranking(1000).rows(0, 1000)
    other_lengths = ranking(1000, lengths=np.ones(1000, np.int32)).rows(0, 1000)
    assert np.array_equal(whole, other_lengths)
    assert not np.array_equal(whole, ranking(1000, seed=2).rows(0, 1000))
    assert not np.array_equal(whole, ranking(1000, name="code").rows(0, 1000))


@given(st.integers(1, 300), st.integers(0, 700), st.integers(0, 900), st.sampled_from(METHODS))
@settings(max_examples=60, deadline=None)
def test_draws_go_round_the_ranking(rows, start, count, method):
    ranked = ranking(rows, method)
    out = np.full(count, -9, np.int32)
    ranked.fill(out, start, 1000)
    expected = ranked.rows(0, rows)[np.arange(start, start + count) % rows] + 1000
    assert sorted(out.tolist()) == sorted(expected.tolist())
    assert out.dtype == np.int32


@given(st.integers(1, 2000), st.integers(0, 5000), st.sampled_from(METHODS))
@settings(max_examples=60, deadline=None)
def test_tokens_are_those_of_the_draws(rows, count, method):
    ranked = ranking(rows, method)
    out = np.empty(count, np.int32)
    ranked.fill(out, 0, 0)
    assert ranked.tokens(count) == ranked.domain.lengths[out].sum()


@given(st.integers(1, 500), st.floats(0, 40_000))
@settings(max_examples=100, deadline=None)
def test_no_other_count_comes_nearer_to_a_token_budget(rows, budget):
    ranked = ranking(rows)
    count = ranked.count_for(budget)
    miss = abs(ranked.tokens(count) - budget)
    for other in (count - 1, count + 1):
        if other >= 0:
            assert miss <= abs(ranked.tokens(other) - budget)


def test_token_counts_hold_across_blocks(monkeypatch):
    monkeypatch.setattr("axolotl_dmt.plan.ranking._BLOCK", 16)
    ranked = ranking(100)
    sums = np.cumsum(ranked.domain.lengths[ranked.rows(0, 100)])
    for count in (0, 1, 15, 16, 17, 99, 100, 133):
        whole, rest = divmod(count, 100)
        expected = whole * sums[-1] + (sums[rest - 1] if rest else 0)
        assert ranked.tokens(count) == expected
        assert ranked.count_for(float(expected)) == count


@pytest.mark.parametrize("block", [1, 3, 7, 64])
def test_a_budget_is_met_as_closely_as_whole_draws_can(block, monkeypatch):
    monkeypatch.setattr("axolotl_dmt.plan.ranking._BLOCK", block)
    ranked = ranking(7)
    total = int(ranked.domain.lengths.sum())
    reached = np.array([ranked.tokens(count) for count in range(3 * 7 + 1)])
    for budget in np.arange(0, 2.5 * total, 0.5):
        nearest = int(np.argmin(np.abs(reached - budget)))  # the first, which is the smaller number
        assert ranked.count_for(float(budget)) == nearest, budget


def test_rows_without_tokens_fill_no_budget():
    assert ranking(5, lengths=np.zeros(5, np.int32)).count_for(10.0) == 0


def test_tokens_do_not_overflow():
    ranked = ranking(3, lengths=np.full(3, 2**30, np.int32))
    assert ranked.tokens(7) == 7 * 2**30
    assert ranked.count_for(5 * 2.0**30) == 5


@pytest.mark.parametrize(("learned", "order"), [(None, [3, 0, 4, 1, 2]), ([1, 2], [1, 2, 3, 0, 4])])
def test_rows_are_ranked_by_loss_after_those_that_were_learned(learned, order):
    losses = np.array([2.0, 1.0, np.nan, 3.0, 2.0], np.float32)
    chosen = None if learned is None else np.isin(np.arange(5), learned)
    ranked = Ranking(domain("math", 5, losses=losses), "loss:hardest", 1, KEY, learned=chosen)
    assert ranked.rows(0, 5).tolist() == order


def test_losses_that_are_missing_are_a_mistake():
    with expect_error(KEY, "loss:hardest"):
        Ranking(domain("math", 5), "loss:hardest", 1, KEY)


def test_an_unknown_selection_lists_the_known_ones():
    scores = {"taste": np.zeros(3), "quality": np.zeros(3)}
    pool = domain("math", 3, scores=scores)
    with expect_error(KEY, "'best'", "random, first", "mine, yours"):
        Ranking(pool, "best", 1, KEY, {"yours": lambda *_: None, "mine": lambda *_: None})
    with expect_error(KEY, "'length:taste'", "score:<column>"):
        Ranking(pool, "length:taste", 1, KEY)
    with expect_error(KEY, "'size'", "quality, taste"):
        Ranking(pool, "score:size", 1, KEY)
    with expect_error(KEY, "'size'", "none"):
        Ranking(domain("math", 3), "score:size", 1, KEY)
    for method in ("longest", "shortest"):
        with expect_error(KEY, method):
            Ranking(domain("math", 3, lengths=None, trained=None), method, 1, KEY)


@pytest.mark.parametrize("table", [[0, 1], [0, 1, 1], [1, 2, 3], [[0, 1, 2]], [0, 1, 2, 3], None])
def test_a_hook_must_rank_every_row_once(table):
    with expect_error(KEY, "'bad'", "3 rows", "'math'"):
        Ranking(domain("math", 3), "bad", 1, KEY, {"bad": lambda *_: np.array(table)})


def test_whole_passes_are_written_in_pool_order():
    ranked = ranking(10)
    out = np.empty(25, np.int32)
    ranked.fill(out, 10, 100)
    assert out[:20].tolist() == [*range(100, 110)] * 2
    assert out[20:].tolist() == (ranked.rows(0, 5) + 100).tolist()
    ranked.fill(out, 13, 100)
    assert out[:7].tolist() == (ranked.rows(3, 10) + 100).tolist()
    assert out[7:17].tolist() == [*range(100, 110)]
    assert out[17:].tolist() == (ranked.rows(0, 8) + 100).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_chunks_do_not_change_what_is_drawn(method):
    ranked = ranking(1000, method)
    out = np.empty(800, np.int32)
    ranked.fill(out, 150, 7)
    assert out.tolist() == (ranked.rows(150, 950) + 7).tolist()
