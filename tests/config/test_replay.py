"""Which rows are replayed: by their loss, out of those that were learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.replay import domains_by_loss
from axolotl_dmt.plan import TrainingPlan, compile_plan
from axolotl_dmt.plan.ranking import BY_LOSS, Ranking
from tests.config.test_resolve import refusal, resolve
from tests.mistakes import assert_mistake, expect_error
from tests.pools import domain, rows_of, stage

relaxed = settings(max_examples=80, deadline=None)
losses = st.lists(
    st.one_of(st.floats(0, 9, width=32), st.sampled_from([0.5, 1.0, float("nan")])),
    min_size=1,
    max_size=120,
).map(lambda values: np.array(values, np.float32))


def ranked(values: np.ndarray, **fields: Any) -> list[int]:
    pool = domain("math", len(values), losses=values)
    return Ranking(pool, BY_LOSS, 1, "dmt.replay", **fields).rows(0, len(values)).tolist()


@given(losses)
@relaxed
def test_rows_are_taken_by_loss_then_by_number_and_those_without_a_loss_last(
    values: np.ndarray,
) -> None:
    numbered = [(bool(np.isnan(v)), 0 if np.isnan(v) else -v) for v in values]
    assert ranked(values) == sorted(range(len(values)), key=lambda i: (numbered[i], i))


@given(losses, st.data())
@relaxed
def test_rows_that_were_learned_come_before_all_others(
    values: np.ndarray, data: st.DataObject
) -> None:
    size = len(values)
    learned = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    rows = ranked(values, learned=learned)
    free = [row for row in ranked(values) if learned[row]]
    assert rows[: len(free)] == free
    assert sorted(rows) == list(range(size))


def plan_of(select: str, first: Any, k: Any, pool: Any, **settings: Any) -> TrainingPlan:
    return compile_plan(
        stages=[
            stage({"math": first}, name="one", **settings),
            stage({"general": "all", "math": k}, name="two", select={"math": select}),
        ],
        domains=[pool, domain("general", 30)],
        seed=3,
        global_batch=4,
    )


@given(
    st.integers(1, 200),
    st.fractions(0, 1, max_denominator=9),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.booleans(),
)
@relaxed
def test_a_smaller_replay_lies_inside_a_larger_one_and_inside_what_was_learned(
    rows: int, part: Any, counts: tuple[int, int], redraw: bool
) -> None:
    values = np.random.default_rng(rows).random(rows, np.float32)
    pool = domain("math", rows, losses=values)
    first = {"rows": max(1, int(part * rows))}
    small, large = sorted(min(count, rows) for count in counts)
    plans = [plan_of(BY_LOSS, first, {"rows": n}, pool, redraw=redraw) for n in (small, large)]
    replays = [set(rows_of(plan, "math", 1).tolist()) for plan in plans]
    assert replays[0] <= replays[1]
    learned = set(rows_of(plans[1], "math", 0).tolist())
    assert replays[1] <= learned or learned <= replays[1]


def test_the_fingerprint_changes_when_other_losses_choose_other_rows() -> None:
    def fingerprint(values: list[float]) -> str:
        pool = domain("math", 4, losses=np.array(values, np.float32))
        return plan_of(BY_LOSS, "all", {"rows": 2}, pool).fingerprint

    before = fingerprint([1, 2, 3, 4])
    assert fingerprint([0.1, 0.2, 0.3, 0.4]) == before
    assert fingerprint([4, 2, 3, 1]) != before


def test_a_replay_is_a_specialised_part_that_an_earlier_stage_took() -> None:
    block = {
        "replay": {"select": "hardest", "losses": "losses.parquet"},
        "select": "longest",
        "stages": [
            {"name": "a", "mix": {"math": "all", "general": "1/2"}},
            {"name": "b", "mix": {"math": "1/4", "code": "1/2", "general": "all"}},
            {"name": "c", "mix": {"math": 0, "code": "1/4"}},
            {"name": "d", "mix": {"math": "1/4", "code": "1/8"}, "select": {"math": "first"}},
            {"name": "e", "mix": {"math": "1/4"}, "select": "shortest"},
        ],
    }
    stages = resolve(block)
    assert [{name: part.method(name) for name in part.mix} for part in stages] == [
        {"math": "longest", "general": "longest"},
        {"math": "loss:hardest", "code": "longest", "general": "longest"},
        {"math": "longest", "code": "loss:hardest"},
        {"math": "first", "code": "loss:hardest"},
        {"math": "shortest"},
    ]
    assert domains_by_loss(stages) == ("math", "code")


@pytest.mark.parametrize("replay", [None, {}, {"select": "random"}])
def test_random_replay_is_what_there_is_without_the_key(replay: dict[str, str] | None) -> None:
    first, second = resolve({"strategy": "dmt", "replay": replay})
    assert [second.method(name) for name in second.mix] == 3 * ["random"]
    assert domains_by_loss((first, second)) == ()


def test_a_selection_by_loss_without_losses_is_refused() -> None:
    with expect_error("dmt.stages[1].select.math", "loss:hardest"):
        plan_of("loss:hardest", "all", "1/2", domain("math", 4))


def test_other_words_are_refused() -> None:
    with expect_error("dmt.replay.select", "'hard'"):
        read_config({"strategy": "dmt", "replay": {"select": "hard"}})
    said = refusal({"stages": [{"name": "a", "mix": {"math": "all"}}], "select": "loss:worst"})
    assert_mistake(said, "dmt.select", "'loss:worst'", "stage a")
