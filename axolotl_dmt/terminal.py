"""Prints lines to the terminal; `report.console` prints tables, and no other module prints.

Names, messages and scores may come from a stranger's recipe or data. A control character in them
could clear the screen, move the cursor or forge a line, so each is replaced before it is printed.
"""

from __future__ import annotations

import logging

import click


def printable(text: str, keep: str = "") -> str:
    """Return a text with each control character replaced by `�`, except those in `keep`.

    The characters that change the direction of writing count as control characters.
    """
    return "".join(c if c.isprintable() or c in keep else "�" for c in text)


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a text of one or more lines.

    Args:
        text: what to print.
        err: print to standard error.
    """
    click.echo(printable(str(text), keep="\n\t"), err=err)


def clean_records(logger: logging.Logger) -> None:
    """Make a logger replace the control characters in its messages."""
    if _clean not in logger.filters:
        logger.addFilter(_clean)


def _clean(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage(), keep="\n\t"), None
    return True
