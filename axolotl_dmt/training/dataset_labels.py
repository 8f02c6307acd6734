"""The names of datasets in results, reports and the table of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

DETAILS = ("data_files", "split", "revision", "shards_idx")
"""The keys that tell entries with the same path and name apart."""


def dataset_labels(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a label for each entry of `datasets`: its path, with its `name` if it has one.

    Labels that several entries share get the entries' `data_files` and `split`, and their
    positions in the YAML where these are the same, too. The fingerprint of a plan depends on the
    labels, so labels that differ already stay as they are.
    """
    labels = [_path_and_name(entry) for entry in entries]
    shared = _repeated(labels)
    detailed = [
        label + _details(entry) if label in shared else label
        for label, entry in zip(labels, entries, strict=True)
    ]
    shared = _repeated(detailed)
    return [
        f"{label} (datasets[{index}])" if label in shared else label
        for index, label in enumerate(detailed)
    ]


def _path_and_name(entry: Mapping[str, Any]) -> str:
    name = entry.get("name")
    path = str(entry["path"])
    return f"{path}:{name}" if isinstance(name, str) else path


def _details(entry: Mapping[str, Any]) -> str:
    details = [f"{key}: {_text(entry[key])}" for key in DETAILS if entry.get(key) is not None]
    return f" ({', '.join(details)})" if details else ""


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _repeated(labels: Sequence[str]) -> set[str]:
    return {label for label, count in Counter(labels).items() if count > 1}
