"""Keeps progress bars that nobody watches, and known noise of other libraries, off the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

VARIABLE = "AXOLOTL_DMT_QUIET"
"""Environment variable that turns progress bars off."""

KNOWN_WARNINGS = (
    "Skipping publisher trust check for",  # by kernels, when bitsandbytes is imported offline
    "You are importing from 'trl.experimental'",  # Axolotl does
)
"""The first words of warnings that other libraries emit on import, whatever the user does."""

KNOWN_LOGS = {"lm_eval.api.task": "Custom kwargs can be passed to"}
"""{logger: words of its message}. For each of our tasks lm-eval explains how to pass settings, and
`dmt.evaluate` has already passed them."""


def silence_known_noise() -> None:
    """Drop the warnings and log messages that are of no use to users, and only those."""
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in KNOWN_LOGS:
        logging.getLogger(name).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return KNOWN_LOGS[record.name] not in str(record.msg)


def is_quiet() -> bool:
    """Return whether progress bars are unwanted: by `VARIABLE`, or because there is no terminal."""
    return os.environ.get(VARIABLE, "0") not in ("", "0") or not sys.stderr.isatty()


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
    """A stream that passes on all text except lines that overwrite themselves: tqdm's bars."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._in_bar = stream, False

    def write(self, text: str) -> int:
        ends_bar = self._in_bar and text == "\n"
        self._in_bar = text.startswith("\r")
        return len(text) if self._in_bar or ends_bar else self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


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
