"""Writes files completely or not at all, and reads small text and JSON files with limits.

A reader, or a process that starts after a crash, finds the old content or the new content of such a
file, never a part of it. A file that is read must be a regular file of limited size, so that no
device, pipe or huge file blocks the program or fills its memory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

LARGEST: Final = 256 * 2**20
"""The size limit of a JSON file, in bytes."""
LARGEST_YAML: Final = 2**20
"""The size limit of a YAML file, in bytes."""
DEEPEST: Final = 64
"""The limit on levels of nesting in a JSON file."""


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
        ValueError: the file is too large, not UTF-8, not JSON, or nested too deeply; the message
            names the line.
    """
    text = read_text(path, most_bytes=LARGEST)
    if text.lstrip().startswith("["):
        return list(enumerate(parse_json(text), 1))
    # str.splitlines would also split at separators that a JSON string may hold, such as U+2028.
    lines = enumerate(text.split("\n"), 1)
    return [(number, _parse_line(line, number)) for number, line in lines if line.strip()]


def _parse_line(line: str, number: int) -> Any:
    try:
        return parse_json(line)
    except json.JSONDecodeError as error:  # its message would call every line the first one
        raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from error
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def read_text(path: str | os.PathLike[str], *, most_bytes: int, errors: str = "strict") -> str:
    """Read a regular UTF-8 file of limited size.

    Args:
        path: the file, or a link to one.
        most_bytes: the largest size that is read.
        errors: how to decode what is not UTF-8; one of the names that `bytes.decode` takes.

    Raises:
        OSError: the file cannot be read, or is a device, a pipe or a socket.
        ValueError: it is too large, or not UTF-8.
    """
    # A pipe without a writer would block when it is opened.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            reason = os.strerror(kind) if stat.S_ISDIR(mode) else "not a regular file"
            raise OSError(kind, reason, str(path))
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"larger than {most_bytes / 2**20:g} MiB")
    return data.decode("utf-8", errors)


def readable_text(path: str | os.PathLike[str], *, most_bytes: int = LARGEST_YAML) -> str:
    """Return the text of a file; an empty text if `read_text` cannot read it.

    Args:
        path: the file, or a link to one; bytes that are not UTF-8 are replaced.
        most_bytes: the largest size that is read.
    """
    try:
        return read_text(path, most_bytes=most_bytes, errors="replace")
    except (OSError, ValueError):
        return ""


def read_json(path: str | os.PathLike[str], *, most_bytes: int = LARGEST) -> Any:
    """Read a JSON file of limited size and nesting.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        ValueError: it is too large, not UTF-8, not JSON, or nested too deeply.
    """
    return parse_json(read_text(path, most_bytes=most_bytes))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON of limited nesting.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} levels deep") from None
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} levels deep")
        level = [item for part in level for item in _items(part)]
        depth += 1
    return value


def half_pair(value: Any) -> str | None:
    """Return half a surrogate pair that a JSON value holds, escaped; None if it holds none.

    JSON can hold it as an escape, but UTF-8 and Arrow cannot.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return ascii(error.object[error.start])
    return None


def _items(value: Any) -> Iterator[Any]:
    """Yield the lists and mappings directly within a value."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return
    yield from (item for item in value if isinstance(item, (dict, list)))
