"""Recognises that an answer is decided before the model ends it: `dmt.evaluate.stop_early`.

A model may correct itself after the number that it marked as its answer, or define its function
again in a second code block, so stopping here can change a verdict.
"""

from __future__ import annotations

import re

_MARKED_NUMBER = re.compile(r"####[ \t]*[-+$€£¥(*\\]{0,4}[ \t]*\d[^\n]*\n")
_CLOSED_FENCE = re.compile(
    r"^[ \t]*(```|~~~)[^\n`]*\n"
    r"(?:(?![ \t]*\1)[^\n]*\n)*?"
    r"[ \t]*(?:async )?(?:def|class) [^\n]*\n"
    r"(?:(?![ \t]*\1)[^\n]*\n)*"
    r"[ \t]*\1[ \t]*\n",
    re.MULTILINE,
)

_DECIDED = {"dmt_math_hard": None, "dmt_math": _MARKED_NUMBER, "dmt_code": _CLOSED_FENCE}
"""{beginning of a task's name: what decides its answers}, the longest name first."""


def decides(task: str) -> re.Pattern[str] | None:
    """Return the pattern that a decided answer to a task contains; None where there is none.

    Answers in mathematics are decided by a complete line `#### N`, programs by a closed code fence
    in which something is defined.
    """
    return next((found for name, found in _DECIDED.items() if task.startswith(name)), None)
