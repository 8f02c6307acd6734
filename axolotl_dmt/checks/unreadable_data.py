"""Checks that local data files hold rows at all: that they are not empty, binary or broken."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.checks.data_paths import entries, files_of
from axolotl_dmt.config.advice import shown
from axolotl_dmt.errors import DMTError

MOST_BYTES: Final = 32 * 2**20
"""Of a larger file only the beginning is read, so that the check stays quick."""
_SPACE: Final = re.compile(r"[\s,]*")


def unreadable_data(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake for each local data file that holds no rows, or is no such file."""
    for key, entry in entries(cfg):
        path = entry.get("path")
        if not isinstance(path, str) or not path or "://" in path:
            continue
        for name in files_of(entry) or ([path] if Path(path).exists() else []):
            if problem := _problem(Path(name), entry.get("ds_type")):
                fix = "write one row to a line, or name another file"
                yield DMTError(f"{key}.path", f"{name} {problem}", fix)
                break


def _problem(file: Path, ds_type: Any) -> str | None:
    """Return what is wrong with a file; None if nothing is, or if it cannot be told."""
    if file.is_dir():
        return None
    if not file.is_file():
        return "is not a regular file"
    kind = ds_type or {".jsonl": "json"}.get(file.suffix, file.suffix[1:])
    try:
        if file.stat().st_size == 0:
            return "is empty"
        if kind == "json":
            return _json_problem(file)
        if kind == "csv":
            return _csv_problem(file)
        return _parquet_problem(file) if kind == "parquet" else None
    except (OSError, RecursionError):
        return None  # Axolotl reports what is wrong when it loads the file


def _json_problem(file: Path) -> str | None:
    with file.open("rb") as stream:
        content = stream.read(MOST_BYTES)
        is_whole = not stream.read(1)
    if b"\0" in content[:4096]:
        return "is not text"
    try:
        text = content.decode("utf-8-sig", errors="strict" if is_whole else "ignore")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"is not UTF-8 text: line {line} has the byte {content[error.start]:#04x}"
    decode = json.JSONDecoder().raw_decode
    start = re.match(r"\s*\[?\s*", text)
    at, rows, end = start.end() if start else 0, 0, len(text.rstrip("] \r\n\t"))
    while at < end:
        try:
            value, at = decode(text, at)
        except ValueError:
            line = text.count("\n", 0, at) + 1
            return f"is not JSON: line {line} cannot be read" if is_whole else None
        is_alone = isinstance(value, str) and not text.lstrip().startswith("[")
        if not rows and (is_alone or not isinstance(value, (dict, list, str))):
            return f"holds no rows, but {shown(value)}"
        rows += 1
        space = _SPACE.match(text, at)
        at = space.end() if space else at
    return None if rows else "holds no rows"


def _csv_problem(file: Path) -> str | None:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = (row for row in csv.reader(stream) if row)
            found = [row for _, row in zip(range(2), rows, strict=False)]
    except UnicodeDecodeError:
        return "is not UTF-8 text"
    except csv.Error as error:
        return f"is not CSV: {error}"
    return None if len(found) == 2 else "holds no rows"


def _parquet_problem(file: Path) -> str | None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        rows = parquet.read_metadata(file).num_rows
    except pa.ArrowException:
        return "is not a Parquet file"
    return None if rows else "holds no rows"
