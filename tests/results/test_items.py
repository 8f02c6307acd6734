"""The ledger of items: written whole, appended without doubles, read back as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from axolotl_dmt.errors import DMTError
from axolotl_dmt.results.items import COLUMNS, Item, Point, items_of, read_items, record_items

ITEM = Item(
    ability="math",
    task="dmt_math",
    item="0123456789abcdef@1.0",
    doc=0,
    score=1.0,
    passed=True,
    metrics={"dmt_score": 1.0, "strict_match": 0.0},
    prompt="1+1?",
    target="2",
    answer="2 \ud83d",  # half a surrogate pair, as a model may generate
    prompt_digest="fedcba9876543210",
    tokens=2,
    cut_off=False,
    fewshot=0,
    generation='{"until": []}',
    lm_eval="0.4.11",
    suite="1.0",
)
STAGE = Point.stage("specialise", 40)


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "dmt/items.parquet"
    bare = Item(ability="mmlu", task="physics", item="a@0", doc=3, score=None, passed=None)
    record_items(path, STAGE, [ITEM, bare])
    assert items_of(path) == (replace(ITEM, answer="2 ?"), bare)
    table = read_items(path)
    assert tuple(table.column_names) == COLUMNS
    assert table.slice(0, 1).select(["kind", "point", "step"]).to_pylist() == [
        {"kind": "stage", "point": "specialise", "step": 40}
    ]


def test_a_point_that_is_scored_again_replaces_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    record_items(path, STAGE, [ITEM, replace(ITEM, doc=1, item="other@1.0")])
    record_items(path, Point.baseline(), [replace(ITEM, score=0.0, passed=False)])
    record_items(path, Point.at_step(20), [ITEM])
    record_items(path, STAGE, [replace(ITEM, score=0.0, passed=False)])
    record_items(path, STAGE, [])  # an evaluation that failed loses nothing
    rows = read_items(path).select(["point", "step", "score"]).to_pylist()
    assert rows == [
        {"point": "baseline", "step": 0, "score": 0.0},
        {"point": "step 20", "step": 20, "score": 1.0},
        {"point": "specialise", "step": 40, "score": 0.0},
    ]
    assert [each.score for each in items_of(path, "specialise")] == [0.0]
    assert [file.name for file in tmp_path.iterdir()] == ["items.parquet"]


def test_prompts_are_stored_once_for_all_points(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    items = [replace(ITEM, doc=i, prompt=f"{i} {i**9} " * 50, answer=str(i)) for i in range(500)]
    record_items(path, Point.baseline(), items)
    alone = path.stat().st_size
    for step in range(1, 10):
        record_items(path, Point.at_step(step), items)
    assert path.stat().st_size < 2 * alone


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet"])
def test_a_file_that_is_no_ledger_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "items.parquet"
    path.write_bytes(content)
    with pytest.raises(DMTError) as caught:
        record_items(path, STAGE, [ITEM])
    assert caught.value.key == str(path)
    assert path.read_bytes() == content


def test_a_parquet_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "items.parquet"
    parquet.write_table(pa.table({"item": ["a"]}), path)
    with pytest.raises(DMTError):
        read_items(path)
    with pytest.raises(DMTError):
        read_items(tmp_path / "missing.parquet")
