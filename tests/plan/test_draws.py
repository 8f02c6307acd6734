from __future__ import annotations

import numpy as np
import pyarrow.parquet as parquet
import pytest

from axolotl_dmt.plan import BLANK, compile_plan, write_rows
from axolotl_dmt.plan.draws import PlanDataset, draws, draws_until
from tests.mistakes import expect_error
from tests.plan.test_compiler import PACKING
from tests.pools import domain, stage

POOLS = [
    domain("math", 100, datasets=(("gsm8k", 70), ("maths.jsonl", 30))),
    domain("unused", 9),
    domain("general", 50, datasets=(("gsm8k", 50),)),
]
STAGES = [
    stage({"math": "all"}, "first", epochs=2.5),
    stage({"general": "all", "math": 0.1}, "second", epochs=2),
]


@pytest.mark.parametrize("packing", [None, PACKING])
def test_the_table_holds_every_draw_in_training_order(tmp_path, packing, monkeypatch):
    monkeypatch.setattr("axolotl_dmt.plan.draws._CHUNK", 64)
    plan = compile_plan(stages=STAGES, domains=POOLS, seed=1, global_batch=8, packing=packing)
    path = tmp_path / "rows.parquet"
    write_rows(plan, POOLS, path)
    table = parquet.read_table(path)
    assert table.column_names == ["stage", "epoch", "step", "domain", "dataset", "row"]
    draws = table.to_pylist()
    assert len(draws) == 250 + 2 * 60

    starts = {("math", "gsm8k"): 0, ("math", "maths.jsonl"): 70, ("general", "gsm8k"): 109}
    rows = [starts[draw["domain"], draw["dataset"]] + draw["row"] for draw in draws]
    order = np.asarray(plan.order)
    assert rows == order[order >= 0].tolist()

    assert [draw["stage"] for draw in draws] == ["first"] * 250 + ["second"] * 120
    epochs = [draw["epoch"] for draw in draws]
    assert epochs == [1] * 100 + [2] * 100 + [3] * 50 + [1] * 60 + [2] * 60

    steps = np.array([draw["step"] for draw in draws])
    if packing is None:
        blanks = 8 - 250 % 8
        assert steps.tolist() == [
            i // 8 + 1 for i in (*range(250), *range(250 + blanks, 370 + blanks))
        ]
    else:
        assert steps.min() == 1 and steps.max() == plan.total_steps
        assert (np.diff(steps) >= 0).all()
        assert steps[249] == plan.stages[0].end_step
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("packing", [None, PACKING])
def test_draws_are_the_order_with_steps_and_blanks(packing):
    plan = compile_plan(stages=STAGES, domains=POOLS, seed=1, global_batch=8, packing=packing)
    starts = {pool.name: start for pool, start in zip(POOLS, (0, 100, 109), strict=True)}
    listed = list(draws(plan))
    rows = [BLANK if d.domain is None else starts[d.domain] + d.row for d in listed]
    assert rows == plan.order.tolist()
    assert {d.row for d in listed if d.domain is None} == {-1}
    for part in plan.stages:
        start, stop = plan.step_bounds(part)
        assert {d.stage for d in listed[start:stop]} == {part.name}
    steps = [d.step for d in listed]
    if packing is None:
        assert steps == [position // 8 for position in range(len(steps))]
    else:
        sizes = np.diff(plan.pack_offsets).reshape(-1, 4).sum(axis=1)
        assert steps == np.repeat(np.arange(plan.total_steps), sizes).tolist()


def test_an_empty_domain_has_no_draws():
    pools = [domain("empty", 0), domain("math", 3), domain("none", 0), domain("code", 2)]
    mix = stage({"math": "all", "code": "all"}, order="sequential")
    plan = compile_plan(stages=[mix], domains=pools, seed=1, global_batch=5)
    found = [(d.domain, d.row) for d in draws(plan)]
    assert found == [("math", 0), ("math", 1), ("math", 2), ("code", 0), ("code", 1)]


def test_rows_that_the_pool_left_out_are_counted_in_the_table(tmp_path):
    pools = [
        domain("empty", 0),
        domain("math", 4, datasets=(("a", 1), ("b", 3)), numbers=np.array([5, 0, 7, 9])),
        domain("code", 3),
        domain("law", 2, numbers=np.array([3, 8])),
    ]
    mix = stage({"math": "all", "code": "all", "law": "all"}, order="sequential")
    plan = compile_plan(stages=[mix], domains=pools, seed=1, global_batch=9)
    write_rows(plan, pools, tmp_path / "rows.parquet")
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert table["row"].to_pylist() == [5, 0, 7, 9, 0, 1, 2, 3, 8]
    assert table["dataset"].to_pylist() == ["a", *"bbb", *["code"] * 3, "law", "law"]
    types = {field.name: str(field.type) for field in table.schema}
    text = "dictionary<values=string, indices=int32, ordered=0>"
    assert types["row"] == "int64" and types["step"] == types["epoch"] == "int32"
    assert types["stage"] == types["domain"] == types["dataset"] == text


def test_a_dataset_holds_the_rows_in_training_order():
    pools = {pool.name: [f"{pool.name} {row}" for row in range(pool.rows)] for pool in POOLS}
    plan = compile_plan(stages=STAGES, domains=POOLS, seed=1, global_batch=8)
    dataset = PlanDataset(plan=plan, pools=pools, blank="nothing")
    rows = [f"{d.domain} {d.row}" if d.domain else "nothing" for d in draws(plan)]
    assert list(dataset) == rows and len(dataset) == len(plan.order)
    assert dataset[-1] == rows[-1] and dataset[-len(rows)] == rows[0]
    assert dataset[3:9:2] == rows[3:9:2] and dataset[-4:] == rows[-4:]
    for index in (len(rows), -len(rows) - 1):
        with pytest.raises(IndexError, match=str(len(rows))):
            dataset[index]
    assert PlanDataset(plan, pools)[249 + 6] is None


def test_a_dataset_of_other_rows_is_refused():
    plan = compile_plan(stages=STAGES, domains=POOLS, seed=1, global_batch=8)
    pools = {pool.name: range(pool.rows) for pool in POOLS}
    with expect_error("pools['math']", "99 rows", "100"):
        PlanDataset(plan, {**pools, "math": range(99)})
    with expect_error("pools['general']", "has 0 rows", "50"):
        PlanDataset(plan, {"math": pools["math"], "unused": pools["unused"]})


@pytest.mark.parametrize("packing", [None, PACKING])
def test_rows_until_a_step_are_those_of_the_draws(packing):
    plan = compile_plan(stages=STAGES, domains=POOLS, seed=1, global_batch=8, packing=packing)
    for stage_plan in plan.stages:
        for step in (0, 1, stage_plan.steps // 2, stage_plan.steps):
            last = stage_plan.start_step + step
            expected = {pool.name: 0 for pool in POOLS}
            for draw in draws(plan):
                if draw.stage == stage_plan.name and draw.step < last and draw.domain:
                    expected[draw.domain] += 1
            assert draws_until(plan, stage_plan, step) == expected
