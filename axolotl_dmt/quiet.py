"""What is not worth a user's attention: progress bars nobody watches, and known noise."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

VARIABLE = "AXOLOTL_DMT_QUIET"

KNOWN_WARNINGS = (
    "Skipping publisher trust check for",  # kernels, as bitsandbytes is imported offline
    "You are importing from 'trl.experimental'",  # Axolotl does
)
"""How the warnings begin that imports of others give, whatever the user did."""

KNOWN_LOGS = {"lm_eval.api.task": "Custom kwargs can be passed to"}
"""What lm-eval says of each of our tasks: how to give settings, which `dmt.evaluate` has given."""


def silence_known_noise() -> None:
    """Leave out what is told whatever the user does and asks nothing of them, and only that."""
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in KNOWN_LOGS:
        logging.getLogger(name).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return KNOWN_LOGS[record.name] not in str(record.msg)


def is_quiet() -> bool:
    """Whether bars would only be noise: where asked for, and where nobody watches a terminal."""
    return os.environ.get(VARIABLE, "0") not in ("", "0") or not sys.stderr.isatty()


@contextlib.contextmanager
def bars_where_wanted() -> Iterator[None]:
    """Leave bars out where they are not wanted, whichever library draws them on standard error."""
    if not is_quiet():
        yield
        return
    with contextlib.redirect_stderr(_WithoutBars(sys.stderr)):  # type: ignore[type-var]
        yield


class _WithoutBars:
    """A stream that passes on all but what overwrites its own line, as tqdm's bars do."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._in_bar = stream, False

    def write(self, text: str) -> int:
        ends_bar = self._in_bar and text == "\n"
        self._in_bar = text.startswith("\r")
        return len(text) if self._in_bar or ends_bar else self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
