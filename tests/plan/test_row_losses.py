"""The file of row losses: written and read back, and never used for other rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from axolotl_dmt.plan.row_losses import COMMAND, KEY, RowLosses, read_header
from tests.mistakes import expect_error
from tests.pools import domain

POOLS = [
    domain("math", 3, datasets=(("a.jsonl", 2), ("b.jsonl", 1))),
    domain("code", 2, numbers=np.array([4, 9])),
]
LOSSES = RowLosses(
    model="outputs/run/stages/01",
    losses={
        "math": np.array([1.5, np.nan, 0.25], np.float32),
        "code": np.array([3.0, 2.0], np.float32),
    },
    digests={"math": "aa", "code": "bb"},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "folder" / "losses.parquet"
    LOSSES.save(path, POOLS)
    return path


def test_the_file_has_a_line_for_each_row(file: Path) -> None:
    assert [list(row.values()) for row in parquet.read_table(file).to_pylist()] == [
        ["math", "a.jsonl", 0, int(POOLS[0].trained[0]), 1.5],
        ["math", "a.jsonl", 1, int(POOLS[0].trained[1]), None],
        ["math", "b.jsonl", 0, int(POOLS[0].trained[2]), 0.25],
        ["code", "code", 4, int(POOLS[1].trained[0]), 3.0],
        ["code", "code", 9, int(POOLS[1].trained[1]), 2.0],
    ]
    assert read_header(file) == {
        "schema": 1,
        "model": "outputs/run/stages/01",
        "domains": [
            {"name": "math", "rows": 3, "digest": "aa"},
            {"name": "code", "rows": 2, "digest": "bb"},
        ],
    }
    assert list(file.parent.iterdir()) == [file]
    LOSSES.save(file, POOLS[1:])  # the folder is there already
    assert [entry["name"] for entry in read_header(file)["domains"]] == ["code"]


def test_losses_are_read_back(file: Path) -> None:
    loaded = RowLosses.load(file)
    assert (loaded.model, loaded.digests) == (LOSSES.model, LOSSES.digests)
    assert list(loaded.losses) == ["math", "code"]
    for name, losses in LOSSES.losses.items():
        assert loaded.losses[name].dtype == np.float32
        np.testing.assert_array_equal(loaded.losses[name], losses)
        assert loaded.of(name, len(losses), LOSSES.digests[name], file) is loaded.losses[name]
    assert loaded.digest == LOSSES.digest


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_domain_gets_its_own_losses_back(count: int, tmp_path: Path) -> None:
    pools = [domain(f"d{rows}", rows) for rows in range(1, count + 1)]
    losses = {pool.name: np.arange(pool.rows, dtype=np.float32) + pool.rows for pool in pools}
    digests = {pool.name: f"digest of {pool.name}" for pool in pools}
    RowLosses(model="m", losses=losses, digests=digests).save(tmp_path / "l.parquet", pools)
    loaded = RowLosses.load(tmp_path / "l.parquet")
    assert {name: part.tolist() for name, part in loaded.losses.items()} == {
        name: part.tolist() for name, part in losses.items()
    }
    assert loaded.digests == digests


def test_the_digest_depends_on_losses_and_rows() -> None:
    other = {**LOSSES.losses, "code": np.array([3.0, 2.5], np.float32)}
    fewer = {"math": LOSSES.losses["math"]}
    changed = [
        LOSSES,
        replace(LOSSES, losses=other),
        replace(LOSSES, losses=fewer),
        replace(LOSSES, digests={"math": "aa", "code": "cc"}),
    ]
    assert len({losses.digest for losses in changed}) == 4
    turned = dict(reversed(LOSSES.losses.items())), dict(reversed(LOSSES.digests.items()))
    same = RowLosses(model="elsewhere", losses=turned[0], digests=turned[1])
    assert same.digest == LOSSES.digest == "aa5bd31d15e4861281e14d9d2f305e6d"


def test_losses_of_other_rows_are_refused(file: Path) -> None:
    with expect_error(KEY, "losses.parquet", "law", f"{COMMAND} --domains law"):
        LOSSES.of("law", 3, "aa", file)
    with expect_error(KEY, "math", "other tokens or labels"):
        LOSSES.of("math", 3, "bb", file)
    with expect_error(KEY, "math", "3 in the file, 4 in the data"):
        LOSSES.of("math", 4, "bb", file)


def test_another_file_is_refused(tmp_path: Path, file: Path) -> None:
    with expect_error(KEY, "no file", "nothing.parquet"):
        RowLosses.load(tmp_path / "nothing.parquet")
    table = parquet.read_table(file)
    text, plain, broken, short = (tmp_path / name for name in ("t", "p", "b", "s"))
    text.write_text("no Parquet")
    parquet.write_table(table.replace_schema_metadata({}), plain)
    parquet.write_table(table.replace_schema_metadata({b"axolotl_dmt": b"{"}), broken)
    others = [tmp_path / f"schema {schema}" for schema in (0, 2)]
    for schema, path in zip((0, 2), others, strict=True):
        header = json.dumps({**read_header(file), "schema": schema})
        parquet.write_table(table.replace_schema_metadata({b"axolotl_dmt": header}), path)
    bare = pa.table({"loss": [1.0]})
    parquet.write_table(bare, tmp_path / "bare")
    for path in (text, plain, broken, *others, tmp_path / "bare"):
        with expect_error(KEY, f"{path} is not a file of row losses"):
            RowLosses.load(path)
    parquet.write_table(table.slice(0, 4), short)
    with expect_error(KEY, f"{short} is damaged"):
        RowLosses.load(short)
