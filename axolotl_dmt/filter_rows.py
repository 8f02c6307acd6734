"""`axolotl dmt filter`: leave the rows of a file out that a regular expression finds.

Tokenising keeps no text, so rows are filtered in their file, once, before training:

    axolotl dmt filter sharegpt.json no_code_math.jsonl --drop 'def |solve'
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json_rows, replacing


def filter_rows(
    source: Path, target: Path, *, drop: str, column: str | None, overwrite: bool = False
) -> tuple[int, int]:
    """Copy the rows in which an expression finds nothing, as JSON lines.

    Args:
        source: a file of JSON lines, or of one array of objects.
        target: a new file.
        drop: a Python regular expression, searched for in all of a row's texts.
        column: look at this column alone; it may hold nested texts, such as messages.
        overwrite: `target` may be there already, though it is never `source`.

    Returns:
        Rows read and rows kept.

    Raises:
        DMTError: an expression, a file or a column that cannot be used.
    """
    try:
        pattern = re.compile(drop)
    except re.error as error:
        raise DMTError(
            "--drop", f"{drop!r} is no regular expression ({error})", "mend it"
        ) from None
    if source.resolve() == target.resolve():
        raise DMTError("TARGET", f"{target} is the source", "name another file")
    if target.exists() and not overwrite:
        fix = "name another file, or say --overwrite"
        raise DMTError("TARGET", f"{target} exists already", fix)
    rows = list(_rows(source))
    if column is not None and not any(column in row for row in rows):
        known = ", ".join(dict.fromkeys(name for row in rows[:100] for name in row))
        raise DMTError("--column", f"no row has {column!r}", f"columns: {known}")
    kept = [
        row
        for row in rows
        if not any(
            pattern.search(text) for text in _texts(row if column is None else row.get(column))
        )
    ]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    except OSError as error:
        problem = f"{target} cannot be written ({error.strerror})"
        raise DMTError("TARGET", problem, "name another file") from None
    return len(rows), len(kept)


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


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
