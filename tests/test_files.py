"""A file is replaced completely or not at all, even if its writer is stopped."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from axolotl_dmt.files import (
    read_json,
    read_json_rows,
    read_text,
    readable_text,
    replacing,
    write_json,
    write_text,
)


def entries(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


def write_half(path: Path, stopped_by: BaseException) -> None:
    with replacing(path) as temporary, temporary.open("w") as file:
        file.write("half of the new")
        raise stopped_by


@pytest.mark.parametrize("stopped_by", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, stopped_by: BaseException
) -> None:
    (tmp_path / "a.json").write_text("old")
    (tmp_path / ".a.json.7.tmp").write_text("somebody else's")
    with pytest.raises(type(stopped_by)):
        write_half(tmp_path / "a.json", stopped_by)
    assert entries(tmp_path) == {".a.json.7.tmp": "somebody else's", "a.json": "old"}


def test_a_first_write_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"):
        write_half(tmp_path / "a.json", OSError("disk full"))
    assert entries(tmp_path) == {}


def test_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert entries(tmp_path) == {"a.txt": "old"}
    write_text(path, "new \ud800", errors="replace", sync=True)
    assert entries(tmp_path) == {"a.txt": "new ?"}


def test_json_ends_with_a_line_break(tmp_path: Path) -> None:
    write_json(str(tmp_path / "a.json"), {"name": "é"})
    assert entries(tmp_path) == {"a.json": '{\n "name": "\\u00e9"\n}\n'}


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_the_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_writers_of_one_file_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    path, together = tmp_path / "a.txt", threading.Barrier(2, timeout=30)

    def write(letter: str) -> None:
        with replacing(path) as temporary, temporary.open("w") as file:
            together.wait()
            file.write(letter * 100)
            together.wait()

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entries(tmp_path) in ({"a.txt": "a" * 100}, {"a.txt": "b" * 100})


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("half")
        raise KeyboardInterrupt
    assert entries(tmp_path) == {}
    with replacing(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("all")
    assert entries(tmp_path / "model") == {"weights": "all"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"a": 1}\n\n{"a": "\u2028"}\n', [(1, {"a": 1}), (3, {"a": "\u2028"})]),
        (' [{"a": 1}, 2]', [(1, {"a": 1}), (2, 2)]),
        ("", []),
    ],
)
def test_json_rows_are_lines_or_one_array(
    tmp_path: Path, text: str, rows: list[tuple[int, object]]
) -> None:
    (tmp_path / "rows").write_text(text, encoding="utf-8")
    assert read_json_rows(tmp_path / "rows") == rows


def test_json_rows_that_are_not_json_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text('{"a": 1}\n{"a"\n', encoding="utf-8")
    with pytest.raises(ValueError, match="delimiter"):
        read_json_rows(tmp_path / "rows")


@pytest.mark.parametrize("depth", [900, 100_000])
def test_json_nested_too_deeply_is_refused(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * depth + "]" * depth)
    with pytest.raises(ValueError, match="levels"):
        read_json(path)
    path.write_text('{"a":' * depth + "1" + "}" * depth + "\n")
    with pytest.raises(ValueError, match="levels"):
        read_json_rows(path)


def test_a_large_file_a_pipe_a_device_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="larger"):
        read_json(tmp_path / "large.json", most_bytes=3)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"regular file|directory"):
            read_text(path, most_bytes=9)


def test_a_text_that_cannot_be_read_is_empty_where_that_is_asked_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    paths = [tmp_path / "pipe", tmp_path / "missing", tmp_path, tmp_path / "latin"]
    assert [readable_text(path) for path in paths] == ["", "", "", "caf\ufffd"]
    assert readable_text(tmp_path / "latin", most_bytes=2) == ""


def test_what_was_written_is_read_through_a_link(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1]})
    (tmp_path / "link.json").symlink_to("a.json")
    assert read_json(tmp_path / "link.json") == {"a": [1]}
