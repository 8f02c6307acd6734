"""`axolotl dmt filter` keeps the rows that do not match, and reports mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from axolotl_dmt.cli.filter import filter_rows
from axolotl_dmt.cli.main import dmt
from tests.mistakes import assert_mistake, expect_error

ROWS = [
    {"tag": "chat", "messages": [{"role": "user", "content": "Hello"}]},
    {"tag": "code", "messages": [{"role": "user", "content": "Héllo\u2028there"}]},
    {"tag": "chat", "messages": [{"role": "user", "content": "def f():"}]},
]


@pytest.fixture(params=["lines", "array"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "rows.json"
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    whole = "\n".join(lines) if request.param == "lines" else json.dumps(ROWS, indent=1)
    path.write_text(whole, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("drop", "column", "kept"),
    [
        (r"def \w+\(", None, [0, 1]),
        ("code", "tag", [0, 2]),
        ("code", "messages", [0, 1, 2]),
        ("(?i)HELLO|def ", "messages", [1]),
    ],
)
def test_rows_that_match_are_dropped(
    source: Path, tmp_path: Path, drop: str, column: str | None, kept: list[int]
) -> None:
    target = tmp_path / "new" / "kept.jsonl"
    assert filter_rows(source, target, drop=drop, column=column) == (3, len(kept))
    lines = target.read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == [ROWS[index] for index in kept]


def test_mistakes_are_named(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"a": "x"}\n')
    with expect_error("--drop", "("):
        filter_rows(source, tmp_path / "out", drop="(", column=None)
    with expect_error("--column", "'b'", "columns: a"):
        filter_rows(source, tmp_path / "out", drop="x", column="b")
    with expect_error("TARGET", source):
        filter_rows(source, source, drop="x", column=None)
    source.write_text("[1]")
    with expect_error("SOURCE", "row 1", source):
        filter_rows(source, tmp_path / "out", drop="x", column=None)


def test_an_existing_file_is_overwritten_only_with_the_option(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept.jsonl"
    target.write_text("mine")
    command = ["filter", str(source), str(target), "--drop", "def "]
    done = CliRunner().invoke(dmt, command)
    assert (done.exit_code, target.read_text()) == (2, "mine")
    assert_mistake(done.output.strip(), "axolotl-dmt: TARGET", target, "--overwrite")
    assert CliRunner().invoke(dmt, [*command, "--overwrite"]).exit_code == 0
    assert len(target.read_text(encoding="utf-8").strip().split("\n")) == 2
    assert {path.name for path in tmp_path.iterdir()} == {source.name, target.name}


def test_the_source_is_never_the_target(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    link = tmp_path / "link.jsonl"
    link.symlink_to(source)
    for target in (source, link):
        done = CliRunner().invoke(
            dmt, ["filter", str(source), str(target), "--drop", "def ", "--overwrite"]
        )
        assert (done.exit_code, source.read_bytes()) == (2, before)
        assert_mistake(done.output.strip(), "axolotl-dmt: TARGET", target)


def test_a_target_that_cannot_be_written_is_named(source: Path) -> None:
    done = CliRunner().invoke(dmt, ["filter", str(source), str(source / "x"), "--drop", "def "])
    assert done.exit_code == 2
    assert_mistake(done.output.strip(), "axolotl-dmt: TARGET", source / "x")


def test_the_command_says_how_many_rows_are_left(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept.jsonl"
    done = CliRunner().invoke(dmt, ["filter", str(source), str(target), "--drop", "def "])
    assert done.output == f"{target}: 2 of 3 rows\n"


def test_half_of_a_surrogate_pair_is_kept(tmp_path: Path) -> None:
    row = json.dumps({"a": "hi \ud83d", "b": "für"})
    (tmp_path / "rows.jsonl").write_text(f"{row}\n" + json.dumps({"a": "für"}) + "\n")
    kept = filter_rows(tmp_path / "rows.jsonl", tmp_path / "kept.jsonl", drop="never", column=None)
    assert kept == (2, 2)
    first, second = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert json.loads(first) == json.loads(row)
    assert second == '{"a": "für"}'
