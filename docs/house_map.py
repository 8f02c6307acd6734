"""Writes the table of modules in CONTRIBUTING.md from their docstrings: `make docs-reference`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
_TABLE = re.compile(r"(?<=\| :-- \| :-- \|\n)(?:\|.*\n)*")


def house_map() -> str:
    """A line for each module of the package: its file and the first sentence of its docstring."""
    package = ROOT / "axolotl_dmt"
    # The package's own modules first, then one folder after another.
    files = sorted(package.rglob("*.py"), key=lambda file: (file.parent, file.name))
    return "".join(f"| `{file.relative_to(package)}` | {_says(file)} |\n" for file in files)


def page_with_map() -> str:
    """CONTRIBUTING.md with the table as it should be."""
    text, found = _TABLE.subn(lambda _: house_map(), PAGE.read_text(encoding="utf-8"))
    assert found == 1, f"{PAGE} holds {found} tables of modules"
    return text


def _says(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page_with_map(), encoding="utf-8")
