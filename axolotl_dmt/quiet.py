"""Whether progress bars are wanted, and how to do without them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

VARIABLE = "AXOLOTL_DMT_QUIET"


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
