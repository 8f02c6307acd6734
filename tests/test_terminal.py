"""Nothing from a stranger's file controls the terminal, and two modules alone print."""

from __future__ import annotations

import ast
import io
import logging
from pathlib import Path

import pytest
from rich.table import Table

from axolotl_dmt.console import clean_records, echo, printable
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.report.console import Console

PACKAGE = Path(__file__).parents[1] / "axolotl_dmt"
PRINTS = {"console.py", "report/console.py", "toy/__main__.py"}
"""The modules that print; the toy's print only what they made."""

EVIL = "a\x1b[2J\x1b]0;title\x07\rsound\u202e\x9b1m\x00"


def calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_only_these_modules_print() -> None:
    printing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if calls(path)
        & {"print", "click.echo", "click.secho", "rich.print", "rich.console.Console"}
    }
    assert printing <= PRINTS


def is_harmless(text: str) -> bool:
    return all(char.isprintable() or char in "\n\t" for char in text)


def test_a_line_is_printed_without_its_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    echo(EVIL)
    echo(f"{EVIL}\nsecond line", err=True)
    out, err = capsys.readouterr()
    assert is_harmless(out) and "sound" in out
    assert is_harmless(err) and err.endswith("\nsecond line\n")


def test_a_table_is_printed_without_control_characters_and_markup() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system=None, width=80)
    table = Table(EVIL, title=EVIL)
    table.add_row(f"[bold]{EVIL}[/bold]")
    console.print(table)
    console.print(f"[red]{EVIL}")
    assert is_harmless(stream.getvalue())
    assert "[bold]" in stream.getvalue() and "[red]" in stream.getvalue()


def test_the_message_of_a_mistake_is_one_line_without_control_characters() -> None:
    error = DMTError(f"datasets[0].{EVIL}", f"is {EVIL}\naxolotl-dmt: all is sound", "write x")
    assert is_harmless(str(error)) and "\n" not in str(error)
    assert len(str(DMTErrors([error, error])).splitlines()) == 2


def test_a_log_message_has_no_control_characters() -> None:
    logger, stream = logging.Logger("clean"), io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))
    clean_records(logger)
    clean_records(logger)
    assert len(logger.filters) == 1
    logger.warning("%s has %d rows", EVIL, 3)
    assert is_harmless(stream.getvalue()) and stream.getvalue().endswith("has 3 rows\n")


def test_ordinary_text_of_any_script_is_kept() -> None:
    assert printable("naïve 数学 – “π”") == "naïve 数学 – “π”"
