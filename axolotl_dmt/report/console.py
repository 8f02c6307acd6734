"""The rich console of every command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rich.console
from rich.segment import Segment

from axolotl_dmt.console import printable


class Console(rich.console.Console):
    """A rich console that prints texts as they are: without markup and control characters."""

    def __init__(self, *, stderr: bool = False, **settings: Any) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, **settings)

    def render(self, *args: Any, **kwargs: Any) -> Iterable[Segment]:
        """Yield the segments of a renderable, with the control characters of texts replaced."""
        for segment in super().render(*args, **kwargs):
            if segment.control:  # of rich itself, to draw a progress bar
                yield segment
            else:
                yield Segment(printable(segment.text, keep="\n"), segment.style)
