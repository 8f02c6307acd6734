"""`axolotl dmt filter`: copy a data file without the rows that match a regular expression.

Tokenised rows have no text, so rows are filtered in their file, once, before training:

    axolotl dmt filter sharegpt.json no_code_math.jsonl --drop 'def |solve'
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt.checks.contamination import strings
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import half_pair, read_json_rows, replacing


def filter_rows(
    source: Path, target: Path, *, drop: str, column: str | None, overwrite: bool = False
) -> tuple[int, int]:
    """Copy the rows that do not match a regular expression, as JSON lines.

    Args:
        source: a file of JSON lines, or of one array of objects.
        target: the new file; it must not be `source`. Its folder is created.
        drop: a Python regular expression. A row matches where the expression is found in any of its
            texts.
        column: the only column to search, or None for all. It may hold nested texts, such as
            messages.
        overwrite: replace `target` where it exists.

    Returns:
        The number of rows read and the number of rows written.

    Raises:
        DMTError: the expression is not valid, a file cannot be read or written, or no row has the
            column.
    """
    pattern = _compiled(drop)
    if source.resolve() == target.resolve():
        raise DMTError("TARGET", f"{target} is the source", "name another file")
    if target.exists() and not overwrite:
        fix = "name another file, or add --overwrite"
        raise DMTError("TARGET", f"{target} exists already", fix)
    rows = list(_rows(source))
    if column is not None and not any(column in row for row in rows):
        columns = ", ".join(dict.fromkeys(name for row in rows[:100] for name in row))
        raise DMTError("--column", f"no row has {column!r}", f"columns: {columns}")
    kept = [row for row in rows if not _matches(pattern, row, column)]
    _write(kept, target)
    return len(rows), len(kept)


def _compiled(drop: str) -> re.Pattern[str]:
    try:
        return re.compile(drop)
    except re.error as error:
        problem = f"{drop!r} is not a valid regular expression ({error})"
        raise DMTError("--drop", problem, "correct it") from None


def _write(rows: Sequence[dict[str, Any]], target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(_line(row) + "\n" for row in rows)
    except OSError as error:
        problem = f"{target} cannot be written ({error.strerror})"
        raise DMTError("TARGET", problem, "name another file") from None


def _line(row: dict[str, Any]) -> str:
    """Return a row as JSON, in which half of a surrogate pair stays escaped."""
    return json.dumps(row, ensure_ascii=half_pair(row) is not None)


def _matches(pattern: re.Pattern[str], row: dict[str, Any], column: str | None) -> bool:
    return any(pattern.search(text) for text in strings(row if column is None else row.get(column)))


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    fix = "give a file of JSON lines, or of one array of objects"
    try:
        rows = read_json_rows(source)
    except (OSError, ValueError) as error:
        raise DMTError("SOURCE", f"{source} cannot be read ({error})", fix) from None
    for number, row in rows:
        if not isinstance(row, dict):
            raise DMTError("SOURCE", f"row {number} of {source} is not an object", fix)
        yield row
