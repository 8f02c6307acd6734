"""The file of row losses records its rows, and is rejected for other rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axolotl_dmt.plan.row_losses import RowLosses, read_header
from tests.checks.test_schedule import in_a_folder_of_its_own, raw, refusal  # noqa: F401
from tests.mistakes import assert_mistake, expect_error
from tests.pools import domain

DOMAINS = (
    domain("math", 5, datasets=(("a.jsonl", 2), ("b.jsonl", 3))),
    domain("code", 3, numbers=np.array([0, 2, 5])),
)
LOSSES = {
    "math": np.array([0.5, np.nan, 2, 3, 0.25], np.float32),
    "code": np.array([1, 2, 3], np.float32),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "losses.parquet"
    digests = {"math": "m", "code": "c"}
    RowLosses(model="stages/01-a", losses=LOSSES, digests=digests).save(path, DOMAINS)
    return path


def test_what_is_saved_is_what_is_loaded(path: Path) -> None:
    loaded = RowLosses.load(path)
    assert loaded.model == "stages/01-a"
    for pool in DOMAINS:
        losses = loaded.of(pool.name, pool.rows, pool.name[0], path)
        np.testing.assert_array_equal(losses, LOSSES[pool.name])
    assert loaded.digest == RowLosses.load(path).digest
    assert [file.name for file in path.parent.iterdir()] == ["losses.parquet"]


def test_each_line_names_the_row_within_its_dataset(path: Path) -> None:
    from pyarrow import parquet

    lines = parquet.read_table(path).to_pylist()
    assert [(line["domain"], line["dataset"], line["row"]) for line in lines] == [
        ("math", "a.jsonl", 0),
        ("math", "a.jsonl", 1),
        ("math", "b.jsonl", 0),
        ("math", "b.jsonl", 1),
        ("math", "b.jsonl", 2),
        ("code", "code", 0),
        ("code", "code", 2),
        ("code", "code", 5),
    ]
    assert [line["loss"] for line in lines] == [0.5, None, 2, 3, 0.25, 1, 2, 3]
    assert [line["trained_tokens"] for line in lines[:5]] == DOMAINS[0].trained.tolist()


@pytest.mark.parametrize(
    ("asked", "values"),
    [
        (("law", 3, "l"), ["law"]),
        (("math", 6, "x"), ["math", 5, 6]),
        (("math", 5, "x"), ["math"]),
    ],
)
def test_losses_of_other_rows_are_refused(path: Path, asked: Any, values: list[object]) -> None:
    with expect_error("dmt.replay.losses", path, *values):
        RowLosses.load(path).of(*asked, path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    other = tmp_path / "other.parquet"
    for write in (
        lambda: other.write_text("no parquet"),
        lambda: parquet.write_table(pa.table({"loss": [1.0]}), other),
    ):
        write()
        with expect_error("dmt.replay.losses", other):
            read_header(other)


def replaying(path: Any, select: str = "hardest") -> Any:
    replay = {"select": select, **({"losses": str(path)} if path else {})}
    return raw(dmt={"strategy": "dmt", "k": "1/16", "replay": replay})


def test_a_yaml_names_its_losses_and_they_hold_every_replayed_domain(
    path: Path, tmp_path: Path
) -> None:
    key, command = "dmt.replay.losses", "axolotl dmt row-losses CONFIG --model STAGE_FOLDER"
    assert_mistake(refusal(replaying(None)), key, command)
    assert_mistake(refusal(replaying("nowhere.parquet")), key, "nowhere.parquet", command)
    math = tmp_path / "math.parquet"
    losses = {"math": LOSSES["math"]}
    RowLosses(model="m", losses=losses, digests={"math": "m"}).save(math, DOMAINS[:1])
    assert_mistake(refusal(replaying(math)), key, math, "code")


def test_random_replay_looks_at_no_losses() -> None:
    from axolotl_dmt.training.run import Run

    Run.from_raw(replaying("nowhere.parquet", select="random"))


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        ({"output": Path("there.parquet")}, "--output", "there.parquet"),
        ({}, "--model", "stage"),
    ],
)
def test_an_existing_file_and_a_missing_model_are_refused(
    arguments: dict[str, Any], key: str, value: str
) -> None:
    import yaml

    from axolotl_dmt.cli.row_losses import write_row_losses

    Path("there.parquet").touch()
    Path("stage").mkdir()
    Path("dmt.yaml").write_text(yaml.safe_dump({"dmt": {"strategy": "dmt"}}))
    with expect_error(key, value):
        write_row_losses(Path("dmt.yaml"), Path("stage"), batch_tokens=1, **arguments)
