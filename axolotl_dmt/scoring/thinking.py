"""Removes the reasoning that a thinking model writes before its answer.

lm-eval does so only for models that are given `think_end_token`. The tasks of dmt_suite do it in a
filter, before any scorer reads the answers, so a number in the reasoning never counts as an answer.
Each reader of answers does it again, so that it is right when it is called by itself; a second time
changes nothing in an answer without such marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

START, END = "<think>", "</think>"


def after_thinking(text: str) -> str:
    """Return an answer without the reasoning at its start.

    Reasoning that never ends leaves no answer, so the result is empty. Chat templates that open the
    reasoning themselves leave only its end in the answer.
    """
    if text.lstrip().startswith(START):
        _, end, answer = text.partition(END)
        return answer.lstrip() if end else ""
    before, end, answer = text.partition(END)
    return answer.lstrip() if end and START not in before else text


def without_thinking(resps: Sequence[Sequence[str]], docs: Sequence[Any]) -> list[list[str]]:
    """Return the answers to all rows without their reasoning; lm-eval calls this as a filter."""
    return [[after_thinking(answer) for answer in answers] for answers in resps]
