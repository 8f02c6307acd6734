"""Writes files completely or not at all, and reads files of JSON rows.

A reader, or a process that starts after a crash, finds the old content or the new content of such a
file, never a part of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on exit, move what was written there to `path`.

    If the block raises, `path` stays as it was. The temporary file or folder is removed in either
    case. Its name is unique, so several threads, processes and hosts may replace the same
    path at the same time: the last one to finish wins.

    Args:
        path: a file, which may exist, or a folder, which must not exist unless it is empty. Its
            parent folder must exist.

    Yields:
        The path to write to. It has the permissions that the block gives it, which for a new file
        are those of the umask.
    """
    path = Path(path)
    # os.replace needs the same file system, so the temporary path lies in the same folder.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_text(
    path: str | os.PathLike[str], text: str, *, errors: str = "strict", sync: bool = False
) -> None:
    """Write a UTF-8 file completely or not at all.

    Args:
        path: the file; its folder must exist.
        text: its content.
        errors: how to encode half a surrogate pair, which UTF-8 cannot represent; one of the names
            that `str.encode` takes.
        sync: wait until the content is on the disk, so that it survives a power failure.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors=errors) as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as an indented JSON file, completely or not at all.

    Args:
        path: the file; its folder must exist.
        value: a value that `json.dumps` accepts.
    """
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json_rows(path: str | os.PathLike[str]) -> list[tuple[int, Any]]:
    """Read a file of JSON lines or of one JSON array; blank lines are skipped.

    Returns:
        Each value with its line number, or its place in the array, counted from 1.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not UTF-8 or not JSON.
    """
    text = Path(path).read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        return list(enumerate(json.loads(text), 1))
    # str.splitlines would also split at separators that a JSON string may hold, such as U+2028.
    lines = enumerate(text.split("\n"), 1)
    return [(number, json.loads(line)) for number, line in lines if line.strip()]
