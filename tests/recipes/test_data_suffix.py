"""The placeholders of a recipe keep the endings by which data files are read."""

from __future__ import annotations

import pytest

from axolotl_dmt.recipes.data_suffix import data_suffix


@pytest.mark.parametrize(
    ("path", "data_files", "suffix"),
    [
        ("m.jsonl", None, ".jsonl"),
        ("m.jsonl.gz", None, ".jsonl.gz"),
        ("teknium/OpenHermes-2.5", None, ""),
        ("folder", ["a.parquet", "b.parquet"], ".parquet"),
        ("folder", "a.csv", ".csv"),
        ("folder", {"train": ["a.jsonl"]}, ".jsonl"),
    ],
)
def test_the_ending_of_a_data_file(path: str, data_files: object, suffix: str) -> None:
    assert data_suffix(path, data_files) == suffix
