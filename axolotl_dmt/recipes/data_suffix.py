"""The endings of data files, by which Axolotl chooses how to read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

_FORMATS: Final = (".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt")
_COMPRESSED: Final = (".gz", ".zst", ".zip", ".bz2", ".xz", ".lz4")


def data_suffix(path: Any, data_files: Any = None) -> str:
    """Return the ending of a data file, such as `.jsonl.gz`; empty if the name has none.

    The 5 in `teknium/OpenHermes-2.5` is not one.

    Args:
        path: the path of a file or folder, or a name on the Hub.
        data_files: for a folder, the names of its files as an entry of `datasets` lists them.
    """
    if isinstance(data_files, dict):
        data_files = list(data_files.values())
    if isinstance(data_files, list):
        suffixes = (data_suffix(None, name) for name in data_files)
        return next(filter(None, suffixes), "")
    *_, first, last = ("", "", *Path(str(data_files or path)).suffixes)
    if last in _COMPRESSED:
        return f"{first}{last}" if first in _FORMATS else last
    return last if last in _FORMATS else ""
