"""What reaches the terminal: our own lines, without control characters, and no known noise.

Names, messages and scores may come from a stranger's recipe or data. A control character in them
could clear the screen, move the cursor or forge a line, so each is replaced before it is printed.
Only this module prints lines; `report.console` prints tables.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

import click

VARIABLE = "AXOLOTL_DMT_QUIET"
"""Environment variable that turns off progress bars, the losses of a training at each logging step,
and the messages of Axolotl's log that are neither warnings nor ours."""

KNOWN_WARNINGS = (
    "Skipping publisher trust check for",  # by kernels, when bitsandbytes is imported offline
    "You are importing from 'trl.experimental'",  # Axolotl does
)
"""The first words of warnings that other libraries emit on import, whatever the user does."""

LOGGED_BARS = ("Running generate_until requests", "Running loglikelihood requests")
"""The titles of lm-eval's bars over the requests to the model, which can take hours."""
BAR = re.compile(
    r"(?P<title>[^:]+): +\d+%.*?(?P<done>\d+)/(?P<total>\d+) "
    r"\[(?P<elapsed>[^<,\]]*)(?:<(?P<left>[^,\]]+))?"
)
"""What tqdm writes for a bar."""
SHORTEST_BAR = 10
"""The shortest duration of a bar that is worth a line, in seconds."""

KNOWN_LOGS = {
    # lm-eval explains for each of our tasks how to pass settings, which `dmt.evaluate` has passed
    "lm_eval.api.task": "Custom kwargs can be passed to",
    # when torchao and its types are imported with another build of torch than theirs
    "torchao": "Failed to load",
    "torch.utils._pytree": "is an Enum subclass",
}
"""{logger: words of its message}."""


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


def silence_known_noise() -> None:
    """Drop the warnings and log messages that are of no use to users, and only those."""
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in KNOWN_LOGS:
        logging.getLogger(name).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return KNOWN_LOGS[record.name] not in str(record.msg)


def wants_quiet() -> bool:
    """Return whether `VARIABLE` is set."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


def is_quiet() -> bool:
    """Return whether progress bars are unwanted: by `VARIABLE`, or because there is no terminal."""
    return wants_quiet() or not sys.stderr.isatty()


@contextlib.contextmanager
def bars_where_wanted() -> Iterator[None]:
    """Drop progress bars from standard error while the block runs, if `is_quiet()` on entry.

    This reaches the bars of every library, because it looks at what is written.
    """
    if not is_quiet():
        yield
        return
    with contextlib.redirect_stderr(_WithoutBars(sys.stderr)):  # type: ignore[type-var]
        yield


class _WithoutBars:
    """A stream that passes on all text except lines that overwrite themselves: tqdm's bars.

    A bar that asks for it by its title is replaced by a line at each tenth of its length.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._in_bar = stream, False
        self._tenths: dict[str, int] = {}

    def write(self, text: str) -> int:
        ends_bar = self._in_bar and text == "\n"
        self._in_bar = text.startswith("\r")
        if self._in_bar:
            self._log_tenth(text)
        return len(text) if self._in_bar or ends_bar else self._stream.write(text)

    def _log_tenth(self, bar: str) -> None:
        """Write a line if a bar that takes a while has reached a further tenth."""
        match = BAR.match(bar.strip())
        if match is None or not match["title"].startswith(LOGGED_BARS):
            return
        if _seconds(match["elapsed"]) + _seconds(match["left"]) < SHORTEST_BAR:
            return
        title, done, total = match["title"], int(match["done"]), int(match["total"])
        tenth = 10 * done // total if total else 10
        if tenth < self._tenths.get(title, 0):
            self._tenths[title] = 0  # the next bar with the same title
        if tenth > self._tenths.get(title, 0):
            self._tenths[title] = tenth
            left = match["left"] or "?"
            self._stream.write(f"{title}: {done} of {total}, {left} left\n")
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _seconds(clock: str | None) -> float:
    """Return what tqdm's `12:34` or `1:23:45` means; an unknown duration, `?`, is long."""
    parts = (clock or "?").split(":")
    if not all(part.isdigit() for part in parts):
        return float("inf")
    total = 0
    for part in parts:
        total = 60 * total + int(part)
    return total


@contextlib.contextmanager
def logging_from(level: int, name: str) -> Iterator[None]:
    """Drop what a logger says below a level while the block runs."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)


@contextlib.contextmanager
def quiet_axolotl(*, silent: bool = False) -> Iterator[None]:
    """Keep what Axolotl logs and prints out of a command's own output while the block runs.

    On entry, log messages up to the level WARNING are disabled, standard output goes to standard
    error, and tqdm's bars are disabled where tqdm is not imported yet. On exit, the log level and
    standard output are restored.

    Args:
        silent: disable all log messages and drop standard output. This is for Axolotl's checks,
            which print advice.
    """
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL if silent else logging.WARNING)
    if not silent:
        os.environ.setdefault("TQDM_DISABLE", "1")
    with contextlib.redirect_stdout(io.StringIO() if silent else sys.stderr):
        try:
            yield
        finally:
            logging.disable(level)
