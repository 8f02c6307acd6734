"""Properties of every plan; the name of each test is the claim."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan import Packing, TrainingPlan, compile_plan, write_rows
from axolotl_dmt.plan.orders import ORDERS
from tests.plan.conftest import USUAL
from tests.pools import domain, rows_of, stage, stage_rows

relaxed = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**63)
NAMES = ("math", "code", "general", "law")
REPEATS = 3

amounts = st.one_of(
    st.just("all"),
    st.fractions(0, 1, max_denominator=300),
    st.fractions(0, REPEATS, max_denominator=7),
    st.integers(0, 60).map(lambda n: {"rows": n}),
    st.integers(0, 900).map(lambda n: {"tokens": n}),
    st.integers(0, 20).map(lambda n: {"share": Fraction(n, 100)}),
    st.integers(0, 20).map(lambda n: {"token_share": Fraction(n, 100)}),
)
stages = st.builds(
    lambda mix, **settings: stage({**mix, "general": "all"}, max_repeats=REPEATS, **settings),
    mix=st.dictionaries(st.sampled_from(NAMES), amounts, max_size=4),
    epochs=st.one_of(st.integers(1, 3), st.floats(0.05, 3)),
    max_steps=st.one_of(st.none(), st.integers(1, 30)),
    order=st.sampled_from(list(ORDERS)),
    select=st.sampled_from(["random", "first", "longest", "shortest"]),
    redraw=st.booleans(),
)
pools = st.tuples(*(st.integers(1, 200) for _ in NAMES)).map(
    lambda sizes: tuple(domain(name, size) for name, size in zip(NAMES, sizes, strict=True))
)


def two_by_two(lengths):
    return [list(range(i, min(i + 2, len(lengths)))) for i in range(0, len(lengths), 2)]


packings = st.one_of(
    st.none(), st.builds(Packing, st.just(120), st.integers(1, 5), st.just(two_by_two))
)


@st.composite
def plans(draw):
    """A plan of one to three stages over four domains, and what it was made of."""
    drawn = draw(st.lists(stages, min_size=1, max_size=3))
    given_stages = [replace(part, name=f"s{i}") for i, part in enumerate(drawn)]
    made_of = {
        "stages": given_stages,
        "domains": draw(pools),
        "seed": draw(seeds),
        "global_batch": draw(st.integers(1, 24)),
        "packing": draw(packings),
    }
    try:
        return compile_plan(**made_of), made_of
    except DMTError as error:  # an infeasible mix; its texts are tested elsewhere
        assume("max_repeats" not in str(error))
        raise


@given(plans())
@relaxed
def test_counts_are_those_of_the_rows_that_are_trained(plan_and_parts):
    plan, parts = plan_and_parts
    for part in plan.stages:
        assert part.draws == len(stage_rows(plan, part.index))
        for pool in parts["domains"]:
            rows = rows_of(plan, pool.name, part.index)
            draw = part.domains.get(pool.name)
            if draw is None:
                assert len(rows) == 0
                continue
            times = np.bincount(rows, minlength=pool.rows)
            assert draw.available == pool.rows
            assert draw.draws == len(rows)
            assert draw.rows == np.count_nonzero(times)
            assert draw.max_repeats == times.max()
            assert draw.tokens == pool.lengths[rows].sum()
            assert draw.trained_tokens == pool.trained[rows].sum()
        assert sum(draw.share for draw in part.domains.values()) == pytest.approx(1)


@given(plans())
@relaxed
def test_no_row_occurs_more_than_max_repeats_times_in_an_epoch(plan_and_parts):
    plan, _ = plan_and_parts
    for part in plan.stages:
        rows = stage_rows(plan, part.index)
        for start in range(0, len(rows), part.epoch_draws):
            assert np.bincount(rows[start : start + part.epoch_draws]).max() <= REPEATS


@given(plans())
@relaxed
def test_every_step_is_full_and_blanks_only_end_a_stage(plan_and_parts):
    plan, parts = plan_and_parts
    step = 0
    for part in plan.stages:
        assert part.start_step == step and part.end_step > step
        step = part.end_step
        start, stop = plan.step_bounds(part)
        rows = plan.order[start:stop]
        assert (rows[: part.draws] >= 0).all() and (rows[part.draws :] == -1).all()
        units = plan.packs_per_step or plan.global_batch
        assert len(rows) - part.draws < units
    assert plan.total_steps == step
    if parts["packing"] is None:
        assert len(plan.order) == step * plan.global_batch
    else:
        assert len(plan.pack_offsets) - 1 == step * plan.packs_per_step


@given(st.integers(1, 3000), seeds, st.fractions(0, 1), st.fractions(0, 1))
@relaxed
def test_a_smaller_part_of_a_domain_lies_within_a_larger_one(rows, seed, one, other):
    small, large = sorted((one, other))
    assume(small > 0)
    both = compile_plan(
        stages=[stage({"math": small}, "small"), stage({"math": large}, "large")],
        domains=[domain("math", rows)],
        seed=seed,
        global_batch=8,
    )
    within = set(rows_of(both, "math", 1).tolist())
    assert set(rows_of(both, "math", 0).tolist()) <= within
    assert len(within) == max(1, int(large * rows + Fraction(1, 2)))


def test_the_paper_s_fractions_are_nested_in_a_domain_of_its_size():
    fractions = ["1/256", "1/64", "1/16", "1/4", "1"]
    plan = compile_plan(
        stages=[stage({"math": part}, f"s{i}") for i, part in enumerate(fractions)],
        domains=[domain("math", 110_142)],
        seed=42,
        global_batch=128,
    )
    parts = [set(rows_of(plan, "math", i).tolist()) for i in range(5)]
    assert [len(part) for part in parts] == [430, 1721, 6884, 27_536, 110_142]
    assert all(small < large for small, large in pairwise(parts))


@given(plans(), st.integers(1, 50), st.booleans(), st.integers(1, 9))
@relaxed
def test_which_rows_a_domain_gives_depends_on_nothing_but_itself(
    plan_and_parts, rows, first, batch
):
    """Another domain, another place in the list, another batch size, packing or not."""
    plan, parts = plan_and_parts
    assume(all(part.max_steps is None and part.epochs >= 1 for part in parts["stages"]))
    added = domain("added", rows)
    domains = (added, *parts["domains"]) if first else (*parts["domains"], added)
    changed = compile_plan(
        stages=[
            replace(part, mix={"added": stage({"added": "all"}).mix["added"], **part.mix})
            if all(amount.unit not in ("share", "token_share") for amount in part.mix.values())
            else part
            for part in parts["stages"]
        ],
        domains=domains,
        seed=parts["seed"],
        global_batch=batch,
    )
    for index, part in enumerate(parts["stages"]):
        if part.epochs != int(part.epochs):
            continue
        for name in NAMES:
            before, after = (np.sort(rows_of(p, name, index)) for p in (plan, changed))
            assert np.array_equal(before, after)


@given(plans())
@relaxed
def test_compiling_again_gives_the_same_plan(plan_and_parts):
    plan, parts = plan_and_parts
    again = compile_plan(**parts)
    assert again.fingerprint == plan.fingerprint
    assert np.array_equal(again.order, plan.order)
    assert again.stages == plan.stages


def test_processes_with_other_hash_seeds_and_threads_compile_the_same_plan():
    code = """
import numpy as np, os
from axolotl_dmt.plan import permutation
permutation.os.cpu_count = lambda: int(os.environ["THREADS"])
from axolotl_dmt.plan import compile_plan
from tests.pools import domain, stage
mix = {"math": "1/3", "code": {"token_share": 0.1}, "general": {"share": 0.2}, "law": "all"}
stages = [stage(mix, order, order=order, epochs=1.5) for order in ("shuffle", "round_robin")]
pools = [domain(name, 70_000 + len(name)) for name in ("math", "code", "general", "law")]
plan = compile_plan(stages=stages, domains=pools, seed=5, global_batch=64)
print(plan.fingerprint, int(plan.order[::7].sum()))
"""
    root = Path(__file__).parents[2]
    printed = set()
    for hash_seed, threads in (("0", "1"), ("1", "2"), ("12345", "3")):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "THREADS": threads,
            "PYTHONPATH": str(root),
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        printed.add(done.stdout)
    assert len(printed) == 1


def test_the_size_of_the_chunks_changes_nothing(monkeypatch, tmp_path):
    mix = {"math": "1/3", "code": {"token_share": 0.1}, "general": {"share": 0.2}, "law": "all"}
    made = {
        "stages": [stage(mix, order, order=order, epochs=1.5) for order in ("shuffle", "blocks")],
        "domains": [domain(name, 700 + len(name)) for name in NAMES],
        "seed": 5,
        "global_batch": 64,
    }
    small = compile_plan(**made)
    write_rows(small, made["domains"], tmp_path / "small.parquet")
    for name, size in USUAL.items():
        assert size >= 1 << 16  # for speed
        monkeypatch.setattr(f"axolotl_dmt.plan.{name}", size)
    usual = compile_plan(**made)
    assert (usual.fingerprint, usual.stages) == (small.fingerprint, small.stages)
    write_rows(usual, made["domains"], tmp_path / "usual.parquet")
    tables = [parquet.read_table(tmp_path / f"{name}.parquet") for name in ("small", "usual")]
    assert tables[0].equals(tables[1])


@given(plans(), st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 2, 4]), st.sampled_from([1, 3]))
@relaxed
def test_any_number_of_devices_trains_the_same_rows_at_each_step(
    plan_and_parts, world, micro, accumulate
):
    """Micro batches are dealt to the devices in turn, as trainers do."""
    _, parts = plan_and_parts
    batch = world * micro * accumulate
    plan = compile_plan(**{**parts, "global_batch": batch, "packing": None})
    micro_batches = plan.order.reshape(-1, micro)
    by_device = [micro_batches[device::world] for device in range(world)]
    for step in range(plan.total_steps):
        dealt = [part[step * accumulate : (step + 1) * accumulate].ravel() for part in by_device]
        one_device = plan.order[step * batch : (step + 1) * batch]
        assert np.array_equal(np.sort(np.concatenate(dealt)), np.sort(one_device))


@given(plans())
@settings(max_examples=25, deadline=None)
def test_saving_and_loading_gives_the_same_plan(tmp_path_factory, plan_and_parts):
    plan, _ = plan_and_parts
    folder = tmp_path_factory.mktemp("plan")
    plan.save(folder)
    loaded = TrainingPlan.load(folder)
    assert isinstance(loaded.order, np.memmap)
    assert loaded.order.dtype == plan.order.dtype and np.array_equal(loaded.order, plan.order)
    assert (loaded.pack_offsets is None) == (plan.pack_offsets is None)
    if plan.pack_offsets is not None:
        assert np.array_equal(loaded.pack_offsets, plan.pack_offsets)
    assert loaded.stages == plan.stages
    assert loaded.to_json() == plan.to_json()
    assert loaded.changes(plan) == []
    json.dumps(loaded.to_json(), allow_nan=False)


# --- the fingerprint -----------------------------------------------------------------------------

MATH, GENERAL = domain("math", 400), domain("general", 300)
STAGE = stage({"math": "1/4", "general": "all"}, epochs=2, warmup_ratio=0.1)
BASE = {"stages": [STAGE], "domains": [MATH, GENERAL], "seed": 1, "global_batch": 16}


def fingerprint(**changes):
    return compile_plan(**{**BASE, **changes}).fingerprint


def with_stage(**changes):
    return {"stages": [replace(STAGE, **changes)]}


def with_math(**changes):
    return {"domains": [replace(MATH, **changes), GENERAL]}


longer = MATH.lengths.copy()
longer[17] += 1
half_steps = compile_plan(**BASE).total_steps // 2

MATTERS = {
    "seed": {"seed": 2},
    "global batch": {"global_batch": 8},
    "amount": with_stage(mix=stage({"math": "1/2", "general": "all"}).mix),
    "epochs": with_stage(epochs=3),
    "fewer steps": with_stage(max_steps=half_steps),
    "order": with_stage(order="blocks"),
    "selection": with_stage(select="first"),
    "redraw": with_stage(redraw=True),
    "learning rate": with_stage(learning_rate=1e-5),
    "scheduler": with_stage(lr_scheduler="linear"),
    "warm-up": with_stage(warmup_ratio=0.2),
    "weight decay": with_stage(weight_decay=0.1),
    "optimiser reset": with_stage(reset_optimizer=False),
    "frozen parameters": with_stage(freeze=("embed",)),
    "a fresh adapter": with_stage(new_adapter=True),
    "trained inputs": with_stage(train_on_inputs=True),
    "masked inputs": with_stage(train_on_inputs=False),
    "another stage": {"stages": [STAGE, replace(STAGE, name="second")]},
    "lengths of a row": with_math(lengths=longer),
    "trained tokens": with_math(trained=MATH.trained[::-1].copy()),
    "label of a dataset": with_math(datasets=(("other", 400),)),
    "rows of a domain": {"domains": [domain("math", 401), GENERAL]},
    "datasets of a domain": with_math(datasets=(("math", 399), ("more", 1))),
    "packing": {"packing": Packing(120, 4, two_by_two)},
}
unused = domain("law", 50)
DOES_NOT_MATTER = {
    "name of a stage": with_stage(name="other"),
    "rows and not a fraction": with_stage(mix=stage({"math": {"rows": 100}, "general": 1.0}).mix),
    "the mix in another order": with_stage(mix=stage({"general": "all", "math": "1/4"}).mix),
    "epochs as a float": with_stage(epochs=2.0),
    "warm-up as steps": with_stage(warmup_steps=STAGE.warmup(half_steps * 2), warmup_ratio=None),
    "more steps than there are": with_stage(max_steps=10_000),
    "repeats that nothing needs": with_stage(max_repeats=5),
    "a zero amount": {**with_stage(mix={**STAGE.mix, **stage({"law": 0}).mix})}
    | {"domains": [MATH, GENERAL, unused]},
    "an unused domain at the end": {"domains": [MATH, GENERAL, unused]},
    "an unused domain at the start": {"domains": [unused, MATH, GENERAL]},
    "an unused domain between": {"domains": [MATH, unused, GENERAL]},
    "a column that nothing selects by": with_math(scores={"quality": np.arange(400)}),
    "selection by domain": with_stage(select={"math": "random"}),
}


@pytest.mark.parametrize("change", MATTERS)
def test_the_fingerprint_changes_with(change):
    assert fingerprint(**MATTERS[change]) != fingerprint()


@pytest.mark.parametrize("change", DOES_NOT_MATTER)
def test_the_fingerprint_does_not_change_with(change):
    assert fingerprint(**DOES_NOT_MATTER[change]) == fingerprint()


def test_no_two_things_that_matter_give_the_same_fingerprint():
    fingerprints = [fingerprint(**changes) for changes in MATTERS.values()]
    assert len(set(fingerprints)) == len(fingerprints)
