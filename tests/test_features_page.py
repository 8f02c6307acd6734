"""Every row of the page on Axolotl's features names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from generated_pages import with_linked_tests

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs/axolotl_features.md"
TEST = re.compile(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`")


def table() -> list[list[str]]:
    """Return the cells of each row of the page's first table."""
    first, *_ = re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    lines = first.splitlines()
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert rows[0] == ["feature", "state", "notes", "tests"]
    assert set(rows[1]) == {":--"}
    return rows[2:]


ROWS = table()


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_has_a_state_and_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 4, "a row has four cells; write \\\\| for a bar within a cell"
    _, state, _, tests = row
    assert state in ("works", "refused")
    named = [TEST.fullmatch(part) for part in tests.split(", ")]
    assert all(named), f"not written as `folder/test_file.py::test_name`: {tests}"
    for match in named:
        assert match and match[2] in functions(TESTS / match[1]), tests


def test_no_feature_has_two_rows() -> None:
    features = [row[0] for row in ROWS]
    assert len(set(features)) == len(features)


def test_the_site_links_each_test_to_its_file() -> None:
    link = with_linked_tests("see `plan/test_orders.py::test_every_order_gives_each_row_once`.")
    url = "https://github.com/axolotl-dmt/axolotl-dmt/blob/main/tests/plan/test_orders.py"
    name = "test_every_order_gives_each_row_once"
    assert link == f'see [plan/test_orders.py]({url} "{name}").'
