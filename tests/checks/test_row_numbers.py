"""`axolotl dmt check` counts the rows of local files and warns of a handful that is replayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from axolotl_dmt.checks.row_numbers import row_remarks, rows_of
from axolotl_dmt.config.reading import read_schedule


def remarks(folder: Path, k: str, math: list[dict[str, Any]]) -> list[str]:
    entries = []
    for domain, rows in (("math", math), ("general", [{"text": i} for i in range(8)])):
        path = folder / f"{domain}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
        entries.append({"path": str(path), "type": "alpaca", "domain": domain})
    block = {"strategy": "dmt", "k": k}
    config = {"learning_rate": 1e-4, "datasets": entries, "dmt": block}
    return [str(remark) for remark in row_remarks(config, read_schedule(config))]


def test_rows_copies_and_a_handful_are_named(tmp_path: Path) -> None:
    rows = [{"text": i % 510} for i in range(512)]
    math, general, handful = remarks(tmp_path, "1/256", rows)
    assert "math.jsonl has 512 rows, 2 of them exact copies" in math
    assert "general.jsonl has 8 rows" in general
    assert "2 rows of math" in handful
    assert "write 1/8 to replay 64" in handful


def test_enough_rows_have_no_warning(tmp_path: Path) -> None:
    assert len(remarks(tmp_path, "1/8", [{"text": i} for i in range(512)])) == 2


def test_csv_and_parquet_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('q,a\n"two\nlines",1\n\nx,2\nx,2\n')
    assert rows_of({"path": str(tmp_path / "a.csv")}) == (3, 1)
    (tmp_path / "a.json").write_text('[\n {"q": 1},\n {"q": 2},\n {"q": 1}\n]')
    assert rows_of({"path": str(tmp_path / "a.json")}) == (3, 1)
    (tmp_path / "b.json").write_text('{\n "q": [1]\n}')
    assert rows_of({"path": str(tmp_path / "b.json")}) is None
    parquet.write_table(pa.table({"q": [1, 2]}), tmp_path / "a.parquet")
    assert rows_of({"path": str(tmp_path / "a.parquet")}) == (2, None)


@pytest.mark.parametrize("entry", [None, {"path": "org/name"}, {"path": "no.jsonl"}, {"path": 3}])
def test_what_is_no_local_file_is_not_counted(entry: Any) -> None:
    assert rows_of(entry) is None


def test_a_part_of_a_file_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n{}\n")
    path = str(tmp_path / "a.jsonl")
    assert rows_of({"path": path}) == (2, 1)
    assert rows_of({"path": path, "split": "train[:1]"}) is None
    assert rows_of({"path": path, "shards": 2}) is None
