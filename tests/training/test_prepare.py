"""What a run's preparation changes in Axolotl's validated configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from axolotl.utils.dict import DictDefault
from datasets import Dataset

from axolotl_dmt.training.prepare import _choose_eval_packing


@pytest.mark.parametrize(
    ("asked", "rows", "packed", "warnings"),
    [(True, 64, True, 0), (True, 4, False, 1), (False, 64, False, 0), (False, 4, False, 0)],
)
def test_held_out_rows_are_packed_only_where_the_yaml_asks_and_they_fill_a_batch(
    asked: bool, rows: int, packed: bool, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    # Axolotl's validation turns `eval_sample_packing` on with `sample_packing`.
    cfg = DictDefault(sequence_len=32, micro_batch_size=2, eval_sample_packing=True)
    columns = {"input_ids": [[1] * 8] * rows, "labels": [[1] * 8] * rows}
    pool: Any = SimpleNamespace(held_out={"math": Dataset.from_dict(columns)})
    _choose_eval_packing(cfg, pool, asked=asked)
    assert cfg.eval_sample_packing is packed
    assert cfg.dataloader_drop_last is cfg.remove_unused_columns is (None if packed else False)
    assert len(caplog.records) == warnings
