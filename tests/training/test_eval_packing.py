"""Rows to evaluate: packed only where they fill a batch, and reported where they are trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.dict import DictDefault

from axolotl_dmt.training.eval_packing import choose_eval_packing, eval_packing_note
from axolotl_dmt.training.pool import RowPool
from tests.tiny_model import make_model
from tests.training.test_load_dataset import ALPACA, alpaca, load

LENGTH = 512


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RowPool]:
    """A pool whose test dataset has 8 rows, 3 of which are also trained on."""
    folder = tmp_path_factory.mktemp("eval")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        others = [{**row, "output": "nothing"} for row in ALPACA[3:]]
        tests = {**alpaca([*ALPACA[:3], *others], "t.jsonl"), "split": "train"}
        yield load(make_model(folder / "model"), alpaca(), test_datasets=[tests])


def settings(**changes: Any) -> DictDefault:
    # Axolotl's validation turns eval_sample_packing on beside sample_packing.
    defaults = {"sample_packing": True, "eval_sample_packing": True, "sequence_len": LENGTH}
    return DictDefault({**defaults, "micro_batch_size": 1, **changes})


def test_rows_are_not_packed_unless_the_yaml_asks_for_it(pool: RowPool) -> None:
    cfg = settings(sequence_len=16)
    choose_eval_packing(cfg, pool, {})
    assert (cfg.eval_sample_packing, cfg.dataloader_drop_last) == (False, False)
    assert cfg.remove_unused_columns is False  # else the second evaluation fails
    assert eval_packing_note(cfg, pool, {}) is None


def test_enough_rows_are_packed_as_the_yaml_asks(pool: RowPool) -> None:
    cfg, raw = settings(sequence_len=16), {"eval_sample_packing": True}
    choose_eval_packing(cfg, pool, raw)
    assert (cfg.eval_sample_packing, cfg.dataloader_drop_last) == (True, None)
    assert eval_packing_note(cfg, pool, raw) is None


def test_a_test_dataset_that_fills_no_batch_is_reported_and_not_packed(pool: RowPool) -> None:
    cfg, raw = settings(micro_batch_size=4), {"eval_sample_packing": True}
    note = eval_packing_note(cfg, pool, raw)
    assert note is not None
    assert "test_datasets" in note
    assert "eval_sample_packing: false" in note
    choose_eval_packing(cfg, pool, raw)
    assert (cfg.eval_sample_packing, cfg.dataloader_drop_last) == (False, False)


@pytest.mark.parametrize("changes", [{"sample_packing": False}, {"sample_packing": None}])
def test_nothing_changes_without_packed_training(pool: RowPool, changes: dict[str, Any]) -> None:
    cfg = settings(eval_sample_packing=None, **changes)
    choose_eval_packing(cfg, pool, {})
    assert cfg.eval_sample_packing is None
    assert eval_packing_note(cfg, pool, {"eval_sample_packing": True}) is None


def test_nothing_changes_without_rows_to_evaluate(pool: RowPool) -> None:
    cfg = settings()
    nothing = RowPool(dataset=pool.dataset, domains=pool.domains, held_out={})
    choose_eval_packing(cfg, nothing, {})
    assert cfg.eval_sample_packing is True


def test_test_rows_that_are_trained_on_are_counted(pool: RowPool) -> None:
    (note,) = pool.notes
    assert "3 of the 8 rows of test_datasets" in note


def test_no_note_where_no_test_row_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    others = [{**row, "output": "nothing"} for row in ALPACA]
    tests = {**alpaca(others, "t.jsonl"), "split": "train"}
    assert load(make_model(tmp_path / "model"), alpaca(), test_datasets=[tests]).notes == ()
