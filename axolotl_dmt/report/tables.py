"""Tables of text cells, for a terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table as TerminalTable


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose cells are text.

    Attributes:
        title: its heading.
        header: the names of the columns.
        rows: each with one cell for each column.
        note: a sentence on how to read the table, or empty.
        left: indices of the columns that are aligned to the left.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    left: tuple[int, ...] = (0,)

    def markdown(self) -> str:
        """Return the table alone, without title and note, as Markdown."""
        return markdown_table(self.header, self.rows, left=self.left)

    def terminal(self) -> TerminalTable:
        """Return the table with its title for a terminal."""
        from rich.table import Table as TerminalTable
        from rich.text import Text

        table = TerminalTable(title=self.title, title_justify="left", title_style="bold")
        for index, name in enumerate(self.header):
            side: Any = "left" if index in self.left else "right"
            table.add_column(Text(name), justify=side, overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def markdown_table(
    header: Sequence[str], body: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)
) -> str:
    """Return a GitHub-flavoured table.

    Args:
        header: the names of the columns.
        body: rows of text; it is escaped here.
        left: indices of the columns that are aligned to the left, the others to the right.
    """
    rule = [":--" if i in left else "--:" for i in range(len(header))]
    rows = [[escaped(c) for c in header], rule, *([escaped(c) for c in row] for row in body)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def escaped(text: str) -> str:
    """Return a text as one line that Markdown shows literally, whatever characters it holds."""
    text = " ".join(text.split())
    for special in ("\\", "|", "<", "`", "*", "["):
        text = text.replace(special, f"\\{special}")
    return text
