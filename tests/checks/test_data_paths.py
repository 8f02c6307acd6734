"""Files that are missing, empty or read as another format, and folders that lie in the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.checks.data_paths import READ_AS, by_products, misread_files, missing_files
from tests.mistakes import assert_mistake


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data/a.jsonl", "data/b.jsonl", "my.txt.export/m.jsonl", "table.csv"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("{}\n")


def missing(**entry: Any) -> list[str]:
    return [str(error) for error in missing_files({"datasets": [entry]})]


def misread(**entry: Any) -> list[str]:
    return [str(error) for error in misread_files({"test_datasets": [entry]})]


def in_the_data(path: str = "data", **cfg: Any) -> list[str]:
    entry = cfg.pop("entry", {})
    return [str(error) for error in by_products({"datasets": [{"path": path, **entry}], **cfg})]


@pytest.mark.parametrize(
    "files", ["data/a.jsonl", ["data/a.jsonl", "data/b.jsonl"], "data/*.jsonl", {"x": "data/**"}]
)
def test_data_files_start_from_the_working_folder(files: Any) -> None:
    assert missing(path="data", data_files=files) == []


def test_data_files_that_do_not_exist_are_named() -> None:
    (line,) = missing(path="data", data_files=["data/a.jsonl", "missing.jsonl"])
    assert_mistake(line, "datasets[0].data_files", "missing.jsonl", "folder in which axolotl runs")
    (line,) = missing(path="./data", data_files="a.jsonl")
    assert_mistake(line, "datasets[0].data_files", "a.jsonl", "write data/a.jsonl")
    assert missing(path="org/hub", data_files="a.jsonl") == []
    assert missing(path="data", data_files=["https://x/y.jsonl", 3]) == []


def test_a_format_is_not_a_path() -> None:
    (line,) = missing(path="json", data_files="data/a.jsonl")
    assert_mistake(line, "datasets[0].path", "json", "path: data/a.jsonl", "ds_type: json")
    (line,) = missing(path="json", data_files=["data/a.jsonl", "data/b.jsonl"])
    assert_mistake(line, "datasets[0].path", "json", "path: data ", "data_files")
    assert missing(path="json") == []  # the name of a dataset


def test_a_folder_without_data_is_named() -> None:
    Path("empty").mkdir()
    for name in ("README.md", ".gitattributes"):
        assert_mistake(missing(path="empty")[0], "datasets[0].path", "empty")
        Path("empty", name).write_text("x")
    assert_mistake(missing(path="empty")[0], "datasets[0].path", "empty")
    Path("empty/deep").mkdir()
    Path("empty/deep/a.jsonl").write_text("{}")
    assert missing(path="empty") == []


def test_a_file_that_is_read_as_another_format_is_named() -> None:
    (line,) = misread(path="my.txt.export/m.jsonl")
    assert_mistake(line, "test_datasets[0].ds_type", "m.jsonl as text", "ds_type: json")
    assert misread(path="my.txt.export/m.jsonl", ds_type="json") == []
    (line,) = misread(path=".", data_files=["table.csv"])
    assert_mistake(line, "test_datasets[0].ds_type", "table.csv as json", "ds_type: csv")
    Path("m.txt.jsonl.gz").touch()
    assert_mistake(misread(path="m.txt.jsonl.gz")[0], "test_datasets[0].ds_type", "as text")
    for path in ("data/a.jsonl", "table.csv", "data", "org/hub.csv", "nowhere.txt.jsonl"):
        assert misread(path=path) == []


def test_the_formats_are_those_of_axolotl() -> None:
    from axolotl.utils.data.shared import EXTENSIONS_TO_DATASET_TYPES

    assert list(READ_AS.items()) == list(EXTENSIONS_TO_DATASET_TYPES.items())


@pytest.mark.parametrize("folder", ["data", "./data/", "data/out", "data/a/b", "data/../data/x"])
def test_a_folder_of_the_run_in_the_data_is_refused(folder: str) -> None:
    for key in ("dataset_prepared_path", "output_dir"):
        (line,) = in_the_data(**{key: folder})
        assert_mistake(line, key, "datasets[0].path")


def test_the_default_folders_count_too() -> None:
    lines = in_the_data(".")
    assert [line.split(":")[0] for line in lines] == ["dataset_prepared_path", "output_dir"]


def test_folders_whose_files_are_named_and_files_may_hold_other_folders() -> None:
    out = {"output_dir": "data/out", "dataset_prepared_path": "data/prepared"}
    assert in_the_data(entry={"data_files": ["data/a.jsonl"]}, **out) == []
    assert in_the_data("data/a.jsonl", **out) == []
    assert in_the_data("other", **out) == []
    Path("data/README.md").write_text("---\nconfigs:\n- config_name: a\n---\n")
    assert in_the_data(**out) == []
    Path("data/README.md").write_text("# Data\n")
    assert len(in_the_data(**out)) == 2
    Path("data/state.json").write_text(json.dumps({}))
    assert in_the_data(**out) == []
