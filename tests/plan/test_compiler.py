from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.plan import BLANK, Packing, TrainingPlan, compile_plan, plan_size
from tests.mistakes import expect_error
from tests.pools import domain, rows_of, stage, stage_rows

POOLS = (domain("math", 1000), domain("code", 300), domain("general", 5000))
DMT = (
    stage({"math": "all", "code": "all"}, "specialise", epochs=3),
    stage({"general": "all", "math": "1/256", "code": "1/256"}, "generalise", epochs=3),
)
LAST = stage({"math": "all"}, "last")


def plan_of(*stages, domains=POOLS, seed=7, global_batch=16, **settings):
    return compile_plan(
        stages=stages, domains=domains, seed=seed, global_batch=global_batch, **settings
    )


def in_turn(lengths, capacity=128):
    """A packer that fills one pack after another."""
    packs, room = [], 0
    for position, length in enumerate(lengths):
        if length > room:
            packs.append([])
            room = capacity
        packs[-1].append(position)
        room -= length
    return packs


PACKING = Packing(capacity=128, packs_per_step=4, pack=in_turn)


def test_dual_stage_becomes_exact_rows_and_steps():
    plan = plan_of(*DMT)
    first, second = plan.stages
    assert (first.draws, first.steps) == (3900, 244)
    assert (second.draws, second.steps) == (3 * (5000 + 4 + 1), 939)
    assert (first.start_step, first.end_step, second.start_step) == (0, 244, 244)
    assert plan.total_steps == second.end_step == 1183
    assert plan.order.dtype == np.int32
    assert len(plan.order) == plan.total_steps * 16
    math = second.domains["math"]
    assert (math.available, math.rows, math.draws, math.max_repeats) == (1000, 4, 12, 3)


def test_trained_tokens_are_those_of_the_stages_own_masking():
    few, all_of_them = np.full(20, 3, np.int32), np.full(20, 8, np.int32)
    pool = domain("math", 20, lengths=all_of_them, trained=few, trained_when_remasked=all_of_them)
    masked = stage({"math": {"rows": 10}}, "masked")
    plan = plan_of(masked, replace(masked, name="all", train_on_inputs=True), domains=[pool])
    assert [part.domains["math"].trained_tokens for part in plan.stages] == [30, 80]


def test_the_order_and_the_fingerprint_are_the_ones_always_made():
    # Golden values: a change here changes every plan that anybody ever made.
    pools = [
        domain(name, rows, lengths=np.arange(rows, dtype=np.int32) % 50 + 1, trained=None)
        for name, rows in (("math", 1000), ("code", 300), ("general", 5000))
    ]
    plan = plan_of(*DMT, domains=pools)
    assert plan.order[:8].tolist() == [940, 461, 191, 984, 1083, 498, 1103, 853]
    assert plan.fingerprint == "2c5d6be769b91adb64c91289de57d4cd"
    robin = plan_of(stage({"math": 0.1, "code": 0.1}, order="round_robin"), domains=pools)
    assert robin.order[:8].tolist() == [927, 261, 164, 1141, 248, 448, 139, 1117]


def test_blanks_fill_the_last_step_of_each_stage_and_nothing_else():
    plan = plan_of(*DMT)
    for part in plan.stages:
        start, stop = plan.step_bounds(part)
        rows = plan.order[start:stop]
        assert (rows[: part.draws] >= 0).all()
        assert (rows[part.draws :] == BLANK).all()
        assert stop - start - part.draws < 16


def test_a_step_belongs_to_the_stage_that_trains_it():
    plan = plan_of(*DMT)
    assert [plan.stage_at(step) for step in (0, 243, 244, 1182, 1183)] == [0, 0, 1, 1, 1]


def test_every_epoch_has_the_same_rows_in_another_order():
    rows = stage_rows(plan_of(DMT[0])).reshape(3, 1300)
    assert np.array_equal(np.sort(rows[0]), np.sort(rows[1]))
    assert not np.array_equal(rows[0], rows[1])


def test_a_part_of_an_epoch_is_the_first_part_of_its_order():
    whole = stage_rows(plan_of(stage({"math": "all"}, epochs=2)))
    for epochs in (0.5, 1, 1.25):
        part = stage_rows(plan_of(stage({"math": "all"}, epochs=epochs)))
        assert np.array_equal(part, whole[: int(epochs * 1000)])


def test_max_steps_cuts_the_stage_and_its_counts():
    plan = plan_of(stage({"math": "all"}, epochs=3, max_steps=70), *DMT[1:])
    part = plan.stages[0]
    assert (part.steps, part.draws) == (70, 1120)
    assert part.domains["math"].rows == 1000 and part.domains["math"].max_repeats == 2
    whole = stage_rows(plan_of(stage({"math": "all"}, epochs=3)))
    assert np.array_equal(stage_rows(plan), whole[:1120])
    assert plan_of(stage({"math": "all"}, max_steps=10_000)).total_steps == 63


def test_redraw_takes_rows_not_seen_before_until_all_were():
    plan = plan_of(stage({"math": 0.3}, epochs=4, redraw=True))
    epochs = rows_of(plan, "math").reshape(4, 300)
    assert len(set(epochs[:3].ravel().tolist())) == 900
    assert len(set(epochs[3].tolist())) == 300
    assert plan.stages[0].domains["math"].rows == 1000
    assert plan.stages[0].domains["math"].max_repeats == 2
    without = plan_of(stage({"math": 0.3}, epochs=4))
    assert set(rows_of(without, "math").tolist()) == set(epochs[0].tolist())


def test_oversampling_repeats_every_row_as_evenly_as_can_be():
    plan = plan_of(stage({"code": 2.5, "math": "all"}, max_repeats=3))
    times = np.bincount(rows_of(plan, "code"), minlength=300)
    assert sorted(set(times.tolist())) == [2, 3] and times.sum() == 750
    assert plan.stages[0].domains["code"].max_repeats == 3


def test_share_is_the_part_of_the_trained_tokens_or_of_the_draws_where_they_are_unknown():
    draws = plan_of(DMT[0]).stages[0].domains
    trained = {name: 3 * POOLS[i].trained.sum() for i, name in enumerate(("math", "code"))}
    assert draws["math"].trained_tokens == trained["math"]
    assert draws["math"].tokens == 3 * POOLS[0].lengths.sum()
    assert draws["math"].share == pytest.approx(trained["math"] / sum(trained.values()))
    bare = [domain(pool.name, pool.rows, trained=None) for pool in POOLS]
    unknown = plan_of(DMT[0], domains=bare).stages[0].domains["math"]
    assert unknown.trained_tokens is None
    assert unknown.share == pytest.approx(1000 / 1300)


def test_selection_may_differ_by_domain():
    plan = plan_of(stage({"math": 0.1, "code": 0.1}, select={"math": "first"}))
    assert set(rows_of(plan, "math").tolist()) == set(range(100))
    assert set(rows_of(plan, "code").tolist()) != set(range(30))


def test_blocks_follow_the_order_of_the_mix():
    rows = stage_rows(plan_of(stage({"code": "all", "math": "all"}, order="blocks")))
    assert (rows[:300] >= 1000).all() and (rows[300:] < 1000).all()


@pytest.mark.parametrize(
    ("epochs", "draws"), [(0.5, 2), (0.1, 1), (1, 3), (1.1, 3), (1.5, 5), (0.49, 1), (3, 9)]
)
def test_part_of_an_epoch_is_rounded_to_the_nearest_row(epochs, draws):
    plan = plan_of(stage({"math": {"rows": 3}}, epochs=epochs))
    assert plan.stages[0].draws == draws


def test_epochs_are_exact_as_typed():
    # The binary number next to 0.29 is a little less, and 50 times it less than 14.5.
    assert plan_of(stage({"math": {"rows": 50}}, epochs=0.29)).stages[0].draws == 15


@pytest.mark.parametrize(("redraw", "learned"), [(False, 300), (True, 600)])
def test_rows_by_loss_come_from_those_that_earlier_stages_chose(redraw, learned):
    losses = np.arange(1000, dtype=np.float32)
    pools = [domain("math", 1000, losses=losses), POOLS[2]]
    first = stage({"math": 0.3}, "first", epochs=1.5, redraw=redraw)
    between = stage({"general": {"rows": 9}}, "between")
    by_loss = {"select": {"math": "loss:hardest"}}
    plan = plan_of(
        first, between, stage({"math": {"rows": learned}}, "all", **by_loss), domains=pools
    )
    chosen = plan_of(replace(first, epochs=2), domains=pools)
    taken = set(rows_of(plan, "math", 2).tolist())
    assert taken == set(rows_of(chosen, "math").tolist())
    few = plan_of(first, between, stage({"math": {"rows": 7}}, "few", **by_loss), domains=pools)
    assert sorted(rows_of(few, "math", 2).tolist()) == sorted(taken)[-7:]


def test_more_rows_than_fit_into_memory_are_refused(monkeypatch):
    machine = {"SC_PAGE_SIZE": 8, "SC_PHYS_PAGES": 100}  # half of it holds 100 row ids
    monkeypatch.setattr(plan_size.os, "sysconf", machine.__getitem__)
    half = stage({"code": "1/3"})
    assert plan_of(half).stages[0].draws == 100
    with expect_error("dmt.stages[0].epochs", "200 rows"):
        plan_of(replace(half, epochs=2))
    assert plan_of(replace(half, epochs=2, max_steps=6)).total_steps == 6
    with expect_error("dmt.stages[0].epochs", "112 rows"):
        plan_of(replace(half, epochs=2, max_steps=7))
    assert plan_of(replace(half, max_steps=99)).stages[0].draws == 100
    # Packs are laid out step by step, so a limit on steps is enough.
    assert plan_of(replace(half, epochs=2, max_steps=7), packing=PACKING).total_steps == 7
    with expect_error("dmt.stages[0].epochs", "200 rows"):
        plan_of(replace(half, epochs=2), packing=PACKING)


def test_a_limit_of_one_is_a_limit():
    plan = plan_of(stage({"math": "all"}, max_steps=1, max_repeats=1))
    assert (plan.total_steps, plan.stages[0].draws) == (1, 16)


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mix", "settings", "key", "said"),
    [
        ({"maths": "all"}, {}, ".mix.maths", "no dataset"),
        ({"math": 0}, {}, ".mix", "no rows"),
        ({}, {}, ".mix", "no rows"),
        ({"empty": "all"}, {}, ".mix.empty", "no rows"),
        ({"math": "all"}, {"epochs": 0}, ".epochs", "0"),
        ({"math": "all"}, {"epochs": float("nan")}, ".epochs", "nan"),
        ({"math": "all"}, {"epochs": float("inf")}, ".epochs", "inf"),
        ({"math": "all"}, {"epochs": -1}, ".epochs", "-1"),
        ({"math": "all"}, {"epochs": "3"}, ".epochs", "'3'"),
        ({"math": "all"}, {"max_steps": 0}, ".max_steps", "0"),
        ({"math": "all"}, {"max_repeats": 0}, ".max_repeats", "0"),
        ({"math": "all"}, {"order": "zigzag"}, ".order", "zigzag"),
        ({"math": "all"}, {"select": "best"}, ".select", "best"),
        ({"math": "all"}, {"select": {"math": "best"}}, ".select.math", "best"),
        ({"math": 2}, {}, ".mix.math", "needs 2,000 rows"),
    ],
)
def test_a_mistake_in_a_stage_names_its_key_in_one_line(mix, settings, key, said):
    pools = [*POOLS, domain("empty", 0)]
    with pytest.raises(DMTError) as raised:
        plan_of(DMT[0], stage(mix, "wrong", **settings), domains=pools)
    assert raised.value.key == f"dmt.stages[1]{key}"
    assert said in raised.value.problem
    assert raised.value.fix
    assert "\n" not in str(raised.value)


def test_mistakes_of_several_stages_are_reported_together():
    with pytest.raises(DMTErrors) as raised:
        plan_of(stage({"maths": "all"}, "a"), stage({"math": "all"}, "b"), stage({"code": 9}, "c"))
    keys = [error.key for error in raised.value.errors]
    assert keys == ["dmt.stages[0].mix.maths", "dmt.stages[2].mix.code"]


@pytest.mark.parametrize(
    ("stages", "domains", "key"),
    [
        ((), POOLS, "dmt.stages"),
        ((DMT[0], DMT[0]), POOLS, "dmt.stages[1].name"),
        ((DMT[0], DMT[1], DMT[0]), POOLS, "dmt.stages[2].name"),
        ((DMT[0], DMT[0], DMT[1]), POOLS, "dmt.stages[1].name"),
        ((DMT[0], DMT[0], DMT[1], LAST), POOLS, "dmt.stages[1].name"),
        (DMT, (*POOLS, POOLS[0]), "datasets"),
    ],
)
def test_names_must_be_there_and_differ(stages, domains, key):
    with pytest.raises(DMTError) as raised:
        plan_of(*stages, domains=domains)
    assert raised.value.key == key


def test_orders_and_packs_by_length_need_lengths():
    bare = [domain(pool.name, pool.rows, lengths=None, trained=None) for pool in POOLS]
    assert plan_of(*DMT, domains=bare).stages[0].domains["math"].tokens is None
    with expect_error("dmt.stages[0].order", "lengths"):
        plan_of(stage({"math": "all"}, order="length_grouped"), domains=bare)
    with expect_error("sample_packing", "lengths"):
        plan_of(*DMT, domains=bare, packing=PACKING)


def test_an_empty_domain_and_a_zero_amount_may_stand_beside_others():
    pools = [domain("empty", 0), *POOLS]
    plan = plan_of(stage({"math": "all", "empty": 0, "code": {"rows": 0}}), domains=pools)
    assert list(plan.stages[0].domains) == ["math"]
    assert plan.stages[0].draws == 1000


def test_one_row_makes_a_plan():
    plan = plan_of(stage({"math": "all"}, epochs=2), domains=[domain("math", 1)], global_batch=4)
    assert plan.order.tolist() == [0, 0, BLANK, BLANK]


# --- what others build on ------------------------------------------------------------------------


def test_the_json_keeps_its_contract():
    plan = plan_of(*DMT)
    plain = json.loads(json.dumps(plan.to_json()))
    assert list(plain) == ["schema", "fingerprint", "seed", "global_batch", "total_steps", "stages"]
    assert plain["schema"] == 1 and plain["fingerprint"] == plan.fingerprint
    first = plain["stages"][0]
    assert list(first) == ["name", "steps", "epochs", "learning_rate", "domains"]
    assert first["domains"]["code"] == {
        "available": 300,
        "rows": 300,
        "draws": 900,
        "tokens": 3 * int(POOLS[1].lengths.sum()),
        "trained_tokens": 3 * int(POOLS[1].trained.sum()),
        "max_repeats": 3,
        "share": pytest.approx(first["domains"]["code"]["share"]),
    }


def test_a_broken_or_missing_plan_does_not_load(tmp_path):
    with pytest.raises(DMTError, match=r"plan\.json"):
        TrainingPlan.load(tmp_path / "nothing")
    plan_of(*DMT).save(tmp_path)
    order = np.load(tmp_path / "order.npy")
    order[0], order[1] = order[1], order[0]
    np.save(tmp_path / "order.npy", order)
    with expect_error(tmp_path):
        TrainingPlan.load(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with expect_error(tmp_path, "schema"):
        TrainingPlan.load(tmp_path)


def test_a_saved_plan_replaces_the_former_one(tmp_path):
    plan_of(*DMT, packing=PACKING).save(tmp_path)
    loaded = TrainingPlan.load(tmp_path)
    plain = plan_of(*DMT)
    plain.save(tmp_path)
    assert TrainingPlan.load(tmp_path).fingerprint == plain.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["order.npy", "plan.json"]
    assert loaded.pack_offsets[-1] == len(loaded.order)  # still mapped


@pytest.mark.parametrize(
    ("steps", "settings", "warmup"),
    [
        (1000, {"warmup_steps": 5, "warmup_ratio": 0.5}, 5),
        (1000, {"warmup_steps": 0}, 0),
        (1000, {"warmup_ratio": 0.03}, 30),
        (1000, {}, 30),
        (10_000, {}, 100),
        (40, {}, 2),
        (10, {}, 0),
        (100, {"warmup_steps": 1}, 2),
    ],
)
def test_warm_up_follows_axolotls_rule(steps, settings, warmup):
    assert stage({"math": "all"}, **settings).warmup(steps) == warmup


def test_changes_are_described_in_words():
    former = plan_of(*DMT)
    assert plan_of(*DMT).changes(former) == []
    now = plan_of(DMT[0], stage({"general": "all", "math": "1/64"}, "generalise", epochs=3), seed=8)
    changes = "\n".join(now.changes(former))
    assert "seed: was 7, is 8" in changes
    assert "stage 2 (generalise): draws of math: was 12, is 48" in changes
    assert "draws of code: was 3, is 0" in changes
    rate = plan_of(DMT[0], stage(DMT[1].mix, "generalise", epochs=3, learning_rate=1.0))
    assert rate.changes(former) == ["stage 2 (generalise): learning_rate: was 2e-05, is 1.0"]
    order = plan_of(DMT[0], stage(DMT[1].mix, "generalise", epochs=3, order="blocks"))
    assert order.changes(former) == ["the selection or the order of the rows"]
    longer = plan_of(*DMT, domains=[domain("math", 1000, seed=5), *POOLS[1:]])
    assert "domain math: the lengths of its rows changed" in longer.changes(former)
    assert plan_of(DMT[0]).changes(former) == ["stages: was 2, is 1"]


def test_a_plan_needs_neither_torch_nor_axolotl():
    code = (
        "import sys, axolotl_dmt.plan.compiler; "
        "print([name for name in ('torch', 'axolotl', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
