"""Prepared rows are used while they fit their sources, and prepared again where they do not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from axolotl.utils.data.shared import generate_dataset_hash_from_config
from axolotl.utils.dict import DictDefault
from datasets import Dataset

from axolotl_dmt.training.prepared_data import LOCK_FILE, SOURCES_FILE, current_rows
from tests.mistakes import expect_error

MODEL = "tiny"


def config(folder: Path, **changes: object) -> DictDefault:
    entry = {"path": str(folder / "m.jsonl"), "ds_type": "json", "type": "alpaca"}
    settings = {"dataset_prepared_path": str(folder / "prepared"), "sequence_len": 64}
    return DictDefault({**settings, "datasets": [entry], **changes})


def rows_folder(cfg: DictDefault) -> Path:
    digest = generate_dataset_hash_from_config(cfg, cfg.datasets, MODEL)
    return Path(cfg.dataset_prepared_path) / digest


def prepare(cfg: DictDefault) -> str:
    """Do as Axolotl does: take the prepared rows, else read the source and save its rows."""
    folder = rows_folder(cfg)
    with current_rows(cfg, MODEL):
        if folder.exists():
            return Dataset.load_from_disk(str(folder))["text"][0]
        source = Path(cfg.datasets[0].path)
        files = sorted(source.rglob("*.jsonl")) if source.is_dir() else [source]
        text = "".join(file.read_text() for file in files) + str(cfg.excess_length_strategy or "")
        Dataset.from_dict({"text": [text]}).save_to_disk(folder)
        return text


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "m.jsonl"
    path.write_text("18")
    assert prepare(config(tmp_path)) == "18"
    return path


def later(path: Path) -> None:
    """Give a file a modification time after that of its prepared rows."""
    now = path.stat().st_mtime + 60
    os.utime(path, (now, now))


def test_an_edited_file_is_prepared_again(tmp_path: Path, source: Path) -> None:
    source.write_text("19")
    later(source)
    assert prepare(config(tmp_path)) == "19"
    assert prepare(config(tmp_path)) == "19"


def test_a_copy_with_the_same_content_is_not(tmp_path: Path, source: Path) -> None:
    later(source)
    rows_file = rows_folder(config(tmp_path)) / "state.json"
    before = rows_file.stat().st_ino
    assert prepare(config(tmp_path)) == "18"
    assert rows_file.stat().st_ino == before


@pytest.mark.parametrize(
    "change", [{"excess_length_strategy": "truncate"}, {"min_sample_len": 5}, {"tokens": ["<a>"]}]
)
def test_a_setting_that_the_key_leaves_out_counts(
    tmp_path: Path, source: Path, change: dict[str, object]
) -> None:
    changed = config(tmp_path, **change)
    assert rows_folder(changed) == rows_folder(config(tmp_path))
    expected = "18" + str(change.get("excess_length_strategy", ""))
    assert prepare(changed) == expected
    record = json.loads((rows_folder(changed) / SOURCES_FILE).read_text())
    assert record["settings"].items() >= change.items()


def test_the_default_may_be_written_out(tmp_path: Path, source: Path) -> None:
    assert prepare(config(tmp_path, excess_length_strategy="drop")) == "18"


def test_a_file_that_is_gone_leaves_its_rows(tmp_path: Path, source: Path) -> None:
    source.unlink()
    assert prepare(config(tmp_path, excess_length_strategy="truncate")) == "18"


def test_rows_without_a_record_are_used(tmp_path: Path, source: Path) -> None:
    (rows_folder(config(tmp_path)) / SOURCES_FILE).unlink()
    source.write_text("19")
    later(source)
    assert prepare(config(tmp_path)) == "18"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": {}, "files": []}'])
def test_a_record_that_cannot_be_read_counts_as_none(
    tmp_path: Path, source: Path, content: str
) -> None:
    (rows_folder(config(tmp_path)) / SOURCES_FILE).write_text(content)
    assert prepare(config(tmp_path)) == "18"


def test_a_folder_changes_with_its_data_files_only(tmp_path: Path) -> None:
    data = tmp_path / "m.jsonl"
    data.mkdir()
    (data / "a.jsonl").write_text("a")
    assert prepare(config(tmp_path)) == "a"
    (data / "README.md").write_text("about")
    assert prepare(config(tmp_path)) == "a"
    (data / "b.jsonl").write_text("b")
    assert prepare(config(tmp_path)) == "ab"


def test_rows_come_back_where_the_new_ones_cannot_be_prepared(tmp_path: Path, source: Path) -> None:
    source.write_text("not json")
    cfg = config(tmp_path)
    with pytest.raises(ValueError, match="not json"), current_rows(cfg, MODEL):
        assert not rows_folder(cfg).exists()
        raise ValueError(source.read_text())
    assert Dataset.load_from_disk(str(rows_folder(cfg)))["text"][0] == "18"


def test_outdated_rows_that_cannot_be_replaced_are_refused(tmp_path: Path, source: Path) -> None:
    source.write_text("nineteen")
    cfg = config(tmp_path)
    (tmp_path / "prepared" / LOCK_FILE).mkdir()  # as in a folder that is read-only
    with expect_error("dataset_prepared_path", str(rows_folder(cfg)), str(source)):
        prepare(cfg)
