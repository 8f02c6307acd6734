"""The compiled plan: what it answers, how it is saved, and how it differs from another one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axolotl_dmt.plan import Domain, Packing, TrainingPlan, compile_plan
from axolotl_dmt.plan.row_counts import RowCounts
from axolotl_dmt.plan.training_plan import row_dtype
from tests.mistakes import expect_error
from tests.pools import domain, stage

POOLS = (domain("math", 20), domain("law", 9), domain("code", 13))
LEARNED = (("math", 20), ("code", 13))
FIRST = stage({"math": "all"}, "first", epochs=1.5)
SECOND = stage({"code": "all", "math": {"rows": 2}}, "second", max_steps=3)
PACKING = Packing(120, 3, lambda lengths: [[i] for i in range(len(lengths))])


def plan_of(*stages: Any, domains: Any = POOLS, **settings: Any) -> TrainingPlan:
    made = {"seed": 1, "global_batch": 4, "packing": None} | settings
    return compile_plan(stages=stages or (FIRST, SECOND), domains=domains, **made)


def test_steps_and_rows_of_each_stage() -> None:
    plan = plan_of()
    assert [(part.steps, part.draws) for part in plan.stages] == [(8, 30), (3, 12)]
    assert plan.total_steps == 11
    assert [plan.stage_at(step) for step in (0, 7, 8, 10, 11, 99)] == [0, 0, 1, 1, 1, 1]
    assert [plan.step_bounds(part) for part in plan.stages] == [(0, 32), (32, 44)]
    assert len(plan.order) == 44


def test_the_tokens_of_a_stage_are_known_where_those_of_all_its_domains_are() -> None:
    first, second = plan_of().stages
    assert first.tokens == first.domains["math"].tokens
    assert second.tokens == sum(draw.tokens or 0 for draw in second.domains.values())
    bare = [replace(POOLS[0], lengths=None, trained=None), *POOLS[1:]]
    assert [part.tokens for part in plan_of(domains=bare).stages] == [None, None]


def test_steps_of_packs() -> None:
    plan = plan_of(packing=PACKING)
    assert [(part.steps, part.draws) for part in plan.stages] == [(10, 30), (3, 9)]
    assert [plan.step_bounds(part) for part in plan.stages] == [(0, 30), (30, 39)]
    two = Packing(120, 3, lambda n: [[i, i + 1] for i in range(0, len(n) - 1, 2)])
    plan = plan_of(stage({"math": "all"}, "a"), stage({"math": {"rows": 4}}, "b"), packing=two)
    assert [plan.step_bounds(part) for part in plan.stages] == [(0, 22), (22, 27)]


@pytest.mark.parametrize("packing", [None, PACKING])
def test_the_summary_and_the_saved_plan(tmp_path: Path, packing: Packing | None) -> None:
    counts = RowCounts(domain="math", dataset="math", read=21, too_long=1, kept=20)
    pools = [replace(POOLS[0], counts=(counts,)), *POOLS[1:]]
    plan = plan_of(domains=pools, packing=packing)
    plain = plan.to_json()
    assert plain["data"][0]["too_long"] == 1 and "data" not in plan_of().to_json()
    assert [part["name"] for part in plain["stages"]] == ["first", "second"]
    assert [part["steps"] for part in plain["stages"]] == [part.steps for part in plan.stages]
    assert plain["stages"][0]["epochs"] == 1.5
    plan.save(tmp_path / "new" / "plan")
    plan.save(tmp_path / "new" / "plan")
    saved = json.loads((tmp_path / "new/plan/plan.json").read_text())
    assert saved["packs_per_step"] == (3 if packing else None)
    assert [pool["name"] for pool in saved["pools"]] == ["math", "law", "code"]
    second = saved["stages"][1]
    assert (second["start_step"], second["end_step"]) == (
        8 if packing is None else 10,
        plan.total_steps,
    )
    assert (second["warmup_steps"], second["epoch_draws"]) == (0, 15)
    loaded = TrainingPlan.load(tmp_path / "new" / "plan")
    assert loaded.stages == plan.stages and loaded.pools == plan.pools
    assert loaded.data == (counts,) and loaded.fingerprint == plan.fingerprint
    assert (loaded.seed, loaded.global_batch) == (1, 4)


def test_files_that_are_no_plan_are_refused(tmp_path: Path) -> None:
    plan_of(packing=PACKING).save(tmp_path)
    good = json.loads((tmp_path / "plan.json").read_text())
    for key in ("packs_per_step", "pools", "stages", "seed", "fingerprint"):
        broken = {name: value for name, value in good.items() if name != key}
        (tmp_path / "plan.json").write_text(json.dumps(broken))
        said = ("do not belong together",) if key == "fingerprint" else ("no complete plan", key)
        with expect_error(tmp_path, *said):
            TrainingPlan.load(tmp_path)
    for content in ({**good, "stages": 7}, {**good, "seed": 2}, {**good, "schema": 2}):
        (tmp_path / "plan.json").write_text(json.dumps(content))
        with expect_error(tmp_path):
            TrainingPlan.load(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps(good))
    assert TrainingPlan.load(tmp_path).total_steps == 13
    (tmp_path / "pack_offsets.npy").write_bytes(b"nothing")
    with expect_error(tmp_path, "no complete plan"):
        TrainingPlan.load(tmp_path)
    (tmp_path / "pack_offsets.npy").unlink()
    with expect_error(tmp_path, "no complete plan", "FileNotFoundError"):
        TrainingPlan.load(tmp_path)


def test_each_change_is_a_line() -> None:
    former = plan_of()
    assert plan_of(global_batch=2).changes(former)[0] == "global_batch: was 4, is 2"
    assert plan_of(packing=PACKING).changes(former)[0] == "packs_per_step: was None, is 3"
    for rows in (19, 21):
        other_rows = plan_of(domains=[domain("math", rows), *POOLS[1:]]).changes(former)
        assert other_rows[0] == f"domain math: rows: was 20, is {rows}"
        assert not any("lengths" in line for line in other_rows)
    other = replace(POOLS[0], datasets=(("other", 20),))
    named = plan_of(domains=[other, *POOLS[1:]]).changes(former)
    assert named == ["domain math: datasets: was (('math', 20),), is (('other', 20),)"]
    steps = plan_of(FIRST, replace(SECOND, max_steps=2)).changes(former)
    assert steps == [
        "stage 2 (second): steps: was 3, is 2",
        f"stage 2 (second): draws of math: was {former.stages[1].domains['math'].draws}, is "
        f"{8 - plan_of(FIRST, replace(SECOND, max_steps=2)).stages[1].domains['code'].draws}",
        f"stage 2 (second): draws of code: was {former.stages[1].domains['code'].draws}, is "
        f"{plan_of(FIRST, replace(SECOND, max_steps=2)).stages[1].domains['code'].draws}",
    ]
    warmer = plan_of(replace(FIRST, warmup_steps=5), SECOND).changes(former)
    assert warmer == ["stage 1 (first): warmup_steps: was 0, is 5"]
    adapter = plan_of(FIRST, replace(SECOND, new_adapter=True)).changes(former)
    assert adapter == ["stage 2 (second): new_adapter: was None, is True"]


def test_a_change_of_an_unused_domain_is_none() -> None:
    former = plan_of()
    assert plan_of(domains=[POOLS[0], domain("law", 8), POOLS[2]]).changes(former) == []
    # A domain that only the former plan used counts, and so does one that is new.
    both = plan_of(FIRST, stage({"law": "all"}, "second"))
    lines = plan_of(domains=[POOLS[0], domain("law", 8), POOLS[2]]).changes(both)
    assert "domain law: rows: was 9, is 8" in lines
    assert "stage 2 (second): draws of law: was 9, is 0" in lines
    added = plan_of(FIRST, stage({"new": "all"}, "second"), domains=[*POOLS, domain("new", 5)])
    assert "stage 2 (second): draws of new: was 0, is 5" in added.changes(former)
    # Neither hides the change of a domain that comes after it.
    pools = [domain("new", 5), domain("law", 8), *(domain(n, r, seed=5) for n, r in LEARNED)]
    lengths = [f"domain {name}: the lengths of its rows changed" for name, _ in LEARNED]
    assert plan_of(domains=pools).changes(former)[:2] == lengths


def test_rows_of_unused_domains_do_not_count_in_the_fingerprint() -> None:
    blanks = replace(FIRST, epochs=1.3)
    one = plan_of(blanks, SECOND).fingerprint
    for law in (1, 8, 10, 70_000):
        pools = [domain("first", law), POOLS[0], domain("law", law), POOLS[2], domain("end", law)]
        assert plan_of(blanks, SECOND, domains=pools).fingerprint == one
    assert plan_of(blanks, SECOND, domains=[POOLS[0], POOLS[2]]).fingerprint == one
    many = Domain(name="law", rows=2**31)  # the row ids of the plan then have 64 bits
    assert plan_of(blanks, SECOND, domains=[POOLS[0], many, POOLS[2]]).fingerprint == one
    assert one == "ad37b60a416eda056f4e7533c278bcdb"


def test_row_ids_have_32_bits_where_they_fit() -> None:
    assert row_dtype(2**31 - 1) is np.int32
    assert row_dtype(2**31) is np.int64
