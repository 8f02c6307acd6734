r"""Read the number that a mathematical text gives as its answer.

There are two readings, as in lm-eval's gsm8k, but both give exact values, not strings:

- *strict* (`marked_number`): only a number after `####`, as in GSM8K's own answers;
- *flexible* (`flexible_number`): the number of the last box, else that after `####`, else that
  after `answer is`, else the last number of the answer.

`docs/scoring.md` lists the rules with an example each, and `tests/scoring/test_math.py` compares
both readings with lm-eval's two filters.
"""

from __future__ import annotations

import re
from fractions import Fraction

from axolotl_dmt.scoring.answer_text import answer_part
from axolotl_dmt.scoring.boxes import last_boxed
from axolotl_dmt.scoring.numbers import (
    Number,
    number_at,
    number_in_words,
    numbers_in,
    plain_text,
)

_CODE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_EMPHASIS = re.compile(r"\*\*|__|(?<![\w*\\\s])\*(?=\s|$)|(?<=[\s^])\*(?=[^\s*])", re.MULTILINE)
_MARK = re.compile(r"#{4,}[ \t]*")
_LABEL = re.compile(r"(?:(?:the|final)\s+)*answer\s*(?:is\b\s*)?[:=]?\s*", re.IGNORECASE)
_UNIT = re.compile(r"[*_$\\)\]]* (?:(?:per|a|an|each|every) )?[a-z]+[ .!*_)$\\]*$")
"""The rest of a line whose number has a unit of one word, such as `dollars` or `per day`."""
_STATED = re.compile(
    r"\banswers?\b(?:[^.:=\n\d]{0,60}?(?:\bis\b|\bare\b|[:=])|[ \t]*(?=\n))[ \t]*:?\s*",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"[*_>(\[ ]*(?:note|notes|p\.?s\.?|disclaimer|word count|remark|tip|source)\b|\([^()]*\)\s*\Z",
    re.IGNORECASE,
)
_RULE = re.compile(r"\s*(?:-{3,}|\*{3,}|_{3,})\s*")
_CORRECTION = re.compile(
    r"\b(?:wait|mistake|correct(?:ion|ed|ing)?|re-?do|re-?check|actually|oops|sorry|hmm|hold on"
    r"|instead|should be|error|wrong|let me)\b",
    re.IGNORECASE,
)
_BEFORE_VALUE = re.compile(
    r"(?:[\s:\[({|]|\\[(\[]|about|approximately|approx\.?|roughly|exactly|only|just|around|also"
    r"|equal to|=|[A-Za-z]\s*=|\(?[A-Ja-j][).:])*",
)
_WORD = re.compile(r"(?<!\\)\b[a-zA-Z]{2,}")
_REASON = re.compile(r"\b(?:because|since)\b", re.IGNORECASE)
_OPERATOR = re.compile(r"\d\s*(?:[+*×÷]|\\(?:times|cdot|div)|\bx\b|[-–]|/)\s*\(?\d")


def flexible_number(text: str) -> Fraction | None:
    r"""Return the number of an answer; None if it has none, or gives two different ones."""
    text = _answer_of(text)
    boxed = last_boxed(text)
    if boxed is not None:
        return _boxed_number(boxed)
    marked = _marked(text)
    return _unmarked(text) if marked is None else marked


def marked_number(text: str) -> Fraction | None:
    """Return the number of the answer that `####` marks; None if there is none."""
    return _marked(_answer_of(text))


def gold_number(answer: str) -> Fraction | None:
    """Return the correct number of a row: the one after its `####`, else its flexible number."""
    marked = marked_number(answer)
    return flexible_number(answer) if marked is None else marked


def last_number(text: str) -> Fraction | None:
    """Return the last number of a text; None if it contains no number."""
    numbers = numbers_in(plain_text(text))
    return numbers[-1].value if numbers else None


def _answer_of(text: str) -> str:
    """Return the part of a text in which its answer stands: without code, notes and later turns."""
    text = answer_part(text)
    shorter = _CODE.sub("", text)
    return _without_notes(shorter if re.search(r"\d", shorter) else text)


def _without_notes(text: str) -> str:
    """Return a text without the notes at its end, and without what a horizontal rule separates."""
    lines = text.split("\n")
    for index in range(len(lines) - 1, 0, -1):
        is_note = _NOTE.match(lines[index]) or _RULE.fullmatch(lines[index])
        if is_note and any(re.search(r"\d", line) for line in lines[:index]):
            lines = lines[:index]
    return "\n".join(lines)


# The mark `####`


def _marked(text: str) -> Fraction | None:
    """Return the number of the first `####`, or of a later one that corrects it."""
    answer: Fraction | None = None
    end = 0
    last_digit = max((match.start() for match in re.finditer(r"\d", text)), default=-1)
    marks = list(_MARK.finditer(text))
    for mark in marks[:50] + marks[50:][-50:]:
        if answer is not None and not _CORRECTION.search(text, end, mark.start()):
            continue
        value = _marked_value(text, mark.end(), last_digit)
        if value is not None:
            answer, end = value, mark.end()
    return answer


def _marked_value(text: str, start: int, last_digit: int) -> Fraction | None:
    """Return the number after one `####`; None if the mark begins a heading.

    Args:
        text: The answer.
        start: Where the mark ends.
        last_digit: Where the last digit of the text stands.
    """
    line, end = _line(text, start)
    if not line.strip(" \t*_:"):  # the number stands on a later line
        while end < len(text) and text[end].isspace():
            end += 1
        line, end = _line(text, end)
        if not re.fullmatch(r"\W*(?:[A-Za-z]\s*=\s*)?[-−–\d.,/ ]+\W*(?:[a-zA-Z]+\W*)?", line):
            return None
    line = _EMPHASIS.sub("", line)
    label = _LABEL.match(line)
    boxed = last_boxed(line)
    if boxed is not None:
        return _boxed_number(boxed)
    line = plain_text(line[label.end() :] if label else line)
    number = _number_first(line)
    if number is None:
        return _last_side(line) if label else None
    rest = line[number.end :].strip(" .*_)]$\\")
    has_unit = _UNIT.match(line, number.end) is not None
    if not label and rest and not has_unit and last_digit > end:
        return None  # a heading such as `1. Count the eggs`: what is worked out follows
    return _last_side(line) if "=" in rest else number.value


def _line(text: str, start: int) -> tuple[str, int]:
    """Return the rest of a line, of which no more than 300 characters, and where the line ends."""
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    return text[start : min(end, start + 300)], end


def _number_first(text: str) -> Number | None:
    """Return the number with which a text begins; None if words stand before it."""
    before = _BEFORE_VALUE.match(text)
    return number_at(text, before.end() if before else 0)


# A box


def _boxed_number(boxed: str) -> Fraction | None:
    """Return the number of a box: the first one, or that of the value in an equation."""
    plain = plain_text(boxed)
    parts = re.split(r",(?!\d{3}(?!\d))|\band\b|\bor\b", plain)
    if len(parts) > 1 and not any(_WORD.search(part) for part in parts):
        values = {_last_side(part) for part in parts if re.search(r"\d", part)}
        return values.pop() if len(values) == 1 else None
    value = _last_side(plain)
    return number_in_words(boxed) if value is None else value


def _last_side(text: str) -> Fraction | None:
    """Return the value of `x = 9 * 2 = 18` or `18 = 9 * 2`: the last side that is one number."""
    sides = [side for side in re.split(r"=|≈|\\approx", text) if re.search(r"\d", side)]
    for side in reversed(sides):
        numbers = numbers_in(side)
        if len(numbers) == 1 and not _OPERATOR.search(side):
            return numbers[0].value
    numbers = numbers_in(sides[-1]) if sides else []
    return numbers[0].value if numbers else None


# Words and sentences


def _unmarked(text: str) -> Fraction | None:
    """Return the number that the last `answer is` gives, else the last one of the text."""
    plain = _EMPHASIS.sub("", text)
    for statement in list(_STATED.finditer(plain))[:-4:-1]:
        segment = plain[statement.end() : statement.end() + 500].lstrip().split("\n", 1)[0]
        value = _stated_value(plain_text(segment))
        if value is None and not re.search(r"\d", plain[statement.end() :]):
            value = number_in_words(segment)
        if value is not None:
            return value
    return _last_value(text)


def _stated_value(segment: str) -> Fraction | None:
    """Return the value with which a text begins; None if words stand before it."""
    number = _number_first(segment)
    if number is None:
        return None
    sentence = re.split(r"(?<=[^.\s])[.!?;](?=\s|$)|\s\(", segment)[0]
    sentence = _REASON.split(sentence)[0]
    if "=" in sentence or "≈" in sentence:
        return _last_side(sentence)
    # 2 hours and 30 minutes, or 150 minutes; 1/3 of 54, or 18
    if re.match(r"\s*[a-zA-Z]+,?\s+and\s+\d|\s+of\s+\d", segment[number.end :]):
        return None
    return number.value


def _last_value(text: str) -> Fraction | None:
    """Return the last value of a text that does not say which number is its answer."""
    line, bold = _last_line_with_number(text)
    if line is None:
        return number_in_words(_EMPHASIS.sub("", text))
    if bold is not None:
        return bold
    plain = plain_text(line)
    if "=" in plain and not _WORD.search(plain):
        return _last_side(plain)
    numbers = _answers_in(plain)
    return numbers[-1].value if numbers else None


def _last_line_with_number(text: str) -> tuple[str | None, Fraction | None]:
    """Return the last line with a number, and the number that is bold in it."""
    lines = text.split("\n")
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        if not numbers_in(plain_text(line)):
            continue
        # `-18 dollars of fuel` under `Costs:` is an entry of a list, not a negative number.
        above = next((entry for entry in reversed(lines[:index]) if entry.strip()), "")
        if above.rstrip(" *").endswith(":") or re.match(r"\s*-", above):
            line = re.sub(r"^\s*-(?=[$\d].*[a-zA-Z])", "- ", line).replace("- ", "", 1)
        bolds = [b for b in re.findall(r"\*\*(.+?)\*\*", line) if numbers_in(plain_text(b))]
        bold = _last_side(plain_text(bolds[-1])) if bolds else None
        return _EMPHASIS.sub("", line), bold
    return None, None


def _answers_in(plain: str) -> list[Number]:
    """Return the numbers of a line that can be its answer: none in `(...)`, `out of N` or `3:2`."""
    masked = plain
    for pattern in (
        r"(?<=\S)\s\([^()]*\)",
        r"\b(?:out of|not|instead of|rather than)\s+[\d,.]*\d"
        r"|(?<=\d)\s?:\s?\d+(?:\s?:\s?\d+)*|\d+(?=\s?:\s?\d)",
    ):
        candidate = re.sub(pattern, lambda match: " " * len(match[0]), masked)
        if numbers_in(candidate):
            masked = candidate
    return numbers_in(masked)
