from __future__ import annotations

import numpy as np
import pyarrow.parquet as parquet
import pytest

from axolotl_dmt.plan import compile_plan, write_rows
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
