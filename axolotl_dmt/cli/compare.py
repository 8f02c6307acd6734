"""`axolotl dmt compare`: print the tables that compare runs, and write them to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError
from axolotl_dmt.report.compare import load_runs, tables, write_html, write_markdown
from axolotl_dmt.report.console import Console


def compare_runs(folders: Sequence[Path], *, markdown: Path | None, html: Path | None) -> None:
    """Print the tables that compare several runs, and write them to files if asked.

    Args:
        folders: the runs' output folders; the others are compared with the first.
        markdown: a Markdown file to write.
        html: an HTML page to write.

    Raises:
        DMTError: fewer than two runs, a folder without results, or a file that cannot be written.
    """
    runs = load_runs(folders)
    console = Console()
    for table in tables(runs):
        console.print(table.terminal())
    try:
        written = write_markdown(runs, markdown) if markdown else []
        written += write_html(runs, html) if html else []
    except OSError as error:
        problem = f"{error.filename} cannot be written ({error.strerror})"
        raise DMTError("--markdown or --html", problem, "name another file") from None
    for path in written:
        echo(f"  {path}")
