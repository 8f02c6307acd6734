r"""Read the final answer of a mathematical text: a number, or an expression.

There are two readings of a number, as in lm-eval's gsm8k, but both give exact values, not strings:

- *strict* (`marked_number`): only a number after `####`, as in GSM8K's own answers;
- *flexible* (`flexible_number`): that number, else the one in the last `\boxed{...}`, else the last
  number of the text.

So `1,000`, `$1000.00`, `\frac{2000}{2}` and `1000` are the same number.
`tests/scoring/test_math.py` compares both readings with lm-eval's filters, and gives a reason for
every difference.

`final_answer` reads an expression, as text.
"""

from __future__ import annotations

import re
from fractions import Fraction

_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("[\u2212\u2010\u2011]", "-"),  # the minus sign, and hyphens that look like it
        (r"\{,\}", ","),  # LaTeX's thousands comma
        (r"\\[,;:! ]", ""),  # LaTeX's thin spaces
        (r"\\(?:left|right|displaystyle)\b", ""),
        (r"\\(?:text|mathrm|mbox|textbf|mathbf)\s*\{([^{}]*)\}", r" \1 "),
        (r"\\[dt]?frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"(?<=\d)\s*(?=\\[dt]?frac)", " "),  # a mixed number
        (r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}", r"\1/\2"),
        (r"\\?[$%€£¥]", ""),
    )
)

# A sign counts only if no operand precedes it: `10-5` ends with 5. Lengths are bounded, because
# Python refuses to read an integer of more than 4300 digits and models do repeat themselves.
_NUMBER = re.compile(
    r"""
    (?P<sign> (?<![\w)\].]) - )?
    (?: (?P<whole> \d{1,9} ) \s+ (?= \d+/ ) )?                  # the 1 of 1 1/2
    (?P<value>
        (?: \d{1,3} (?:,\d{3}){1,99} (?!\d) | \d{1,400} ) (?: \.\d{1,400} )? | \.\d{1,400}
    )
    (?: / (?P<denominator> 0{0,9}[1-9]\d{0,99} ) (?! \d | / | \.\d ) )?
    """,
    re.VERBOSE | re.ASCII,
)
_BRACE = re.compile(r"\\f?boxed\s*\{|\\fbox\s*\{|[{}]")
_MARK = re.compile(r"####[ \t]*")
# `#### 1. Count the apples` is a heading; `#### 18.` is an answer.
_HEADING = re.compile(r"[.):][ \t]*\S")


def _plain(text: str) -> str:
    """Return a text without currency, percent and LaTeX marks that leave numbers unchanged."""
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text


def _value(number: re.Match[str]) -> Fraction:
    value = Fraction(number["value"].replace(",", ""))
    if number["denominator"]:
        value /= int(number["denominator"])
    if number["whole"]:
        value += int(number["whole"])
    return -value if number["sign"] else value


def last_number(text: str) -> Fraction | None:
    """Return the last number of a text; None if it contains no number."""
    numbers = list(_NUMBER.finditer(_plain(text)))
    return _value(numbers[-1]) if numbers else None


def marked_number(text: str) -> Fraction | None:
    """Return the number of the first `#### N`; None if there is none.

    The first one counts, because the text after it often answers another question.
    """
    text = _plain(text)
    for mark in _MARK.finditer(text):
        number = _NUMBER.match(text, mark.end())
        if number and not _HEADING.match(text, number.end()):
            return _value(number)
    return None


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last complete `\boxed{...}` or `\fbox{...}`; None without one."""
    opened: list[tuple[bool, int]] = []  # for each open brace: whether it opens a box, and its end
    box: tuple[int, int] | None = None
    for brace in _BRACE.finditer(text):
        if brace[0] != "}":
            opened.append((brace[0] != "{", brace.end()))
        elif opened:
            boxed, start = opened.pop()
            if boxed and (box is None or start > box[0]):
                box = start, brace.start()
    return None if box is None else text[slice(*box)]


def flexible_number(text: str) -> Fraction | None:
    r"""Return the number of an answer: its `####`, else its last `\boxed`, else its last number."""
    marked = marked_number(text)
    if marked is not None:
        return marked
    boxed = last_boxed(text)
    if boxed is not None and (number := last_number(boxed)) is not None:
        return number
    return last_number(text)


def gold_number(answer: str) -> Fraction | None:
    """Return the correct number of a row: the one after its `####`, else its last number."""
    marked = marked_number(answer)
    return last_number(answer) if marked is None else marked


# Expressions

_STATED = re.compile(r"answer\s+is:?\s*([^\n]+)", re.IGNORECASE)
_MARKED = re.compile(r"####\s*([^\n]+)")
_INLINE = re.compile(r"\$([^$\n]+)\$")


def final_answer(text: str) -> str:
    r"""Return the expression that a text gives as its final answer.

    It is the first of these that the text contains: the content of the last box, the text after
    `####`, the text after the last "answer is", the last formula between `$`, the last line.
    """
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    if marked := _MARKED.search(text):
        return marked[1].strip()
    if stated := _STATED.findall(text):
        # "The final answer is $5$. I hope it is correct."
        formula = _INLINE.search(stated[-1])
        return formula[1] if formula else re.split(r"\.(?:\s|$)", stated[-1])[0].strip()
    if formulas := _INLINE.findall(text):
        return str(formulas[-1])
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
