"""Find the part of a model's text that answers the question."""

from __future__ import annotations

import re

from axolotl_dmt.scoring.thinking import after_thinking

_NEXT_TURN = re.compile(
    r"\n[ \t]*(?:[#*>]+[ \t]*)?(?:Question|Problem|Human|User|Instruction|Q)(?:[ \t]*\d+)?[ \t]*:",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?(?:final[_ ]?)?(?:answer|solution|result|output)>", re.IGNORECASE)
_SOME_ANSWER = re.compile(r"\d|\\boxed|\banswer\b", re.IGNORECASE)


LONGEST_TEXT = 20_000
LONGEST_LINE = 3_000
"""Characters of an answer and of one line of it that are read, half of them from each end.

Models repeat themselves without end; an answer to a question stands near one of the ends.
"""


def without_next_turn(text: str) -> str:
    """Return a text up to a line such as `Question:` or `Human:`, where another question begins.

    A text that has no answer before such a line is returned unchanged.
    """
    turn = _NEXT_TURN.search(text)
    if turn and _SOME_ANSWER.search(text[: turn.start()]):
        return text[: turn.start()]
    return text


def answer_part(text: str) -> str:
    """Return the part of a text that can contain the answer to the question.

    That is the text after the reasoning and before the next turn, without the middle of what is
    longer than `LONGEST_TEXT`, and with at most one empty line or two spaces in a row.
    """
    text = re.sub(r"[ \t]{3,}", "  ", after_thinking(text).replace("\r\n", "\n"))
    text = _TAG.sub("", text)
    text = re.sub(r"\n(?:[ \t]*\n)+", "\n\n", text)
    lines = _shortened(text, LONGEST_TEXT).split("\n")
    return without_next_turn("\n".join(_shortened(line, LONGEST_LINE) for line in lines)).strip()


def _shortened(text: str, longest: int) -> str:
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"
