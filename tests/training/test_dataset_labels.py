"""Every dataset has a label of its own, and labels that differ already do not change."""

from __future__ import annotations

from axolotl_dmt.training.dataset_labels import dataset_labels


def test_a_path_that_occurs_once_is_the_label() -> None:
    entries = [
        {"path": "a", "split": "train", "data_files": ["x"]},
        {"path": "b", "name": "en"},
        {"path": "b", "name": "de", "split": "train"},
        {"path": "c", "name": None},
    ]
    assert dataset_labels(entries) == ["a", "b:en", "b:de", "c"]


def test_entries_of_one_path_are_told_apart_by_what_they_read() -> None:
    entries = [
        {"path": "a", "data_files": ["x", "y"]},
        {"path": "a", "data_files": "z", "split": "train"},
        {"path": "a"},
        {"path": "b"},
    ]
    labels = dataset_labels(entries)
    assert labels == ["a (data_files: x y)", "a (data_files: z, split: train)", "a", "b"]


def test_entries_that_read_the_same_are_numbered() -> None:
    entries = [{"path": "a", "type": "x"}, {"path": "b"}, {"path": "a", "type": "y"}]
    assert dataset_labels(entries) == ["a (datasets[0])", "b", "a (datasets[2])"]
