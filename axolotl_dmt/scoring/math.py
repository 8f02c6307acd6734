r"""Grade-school mathematics: the number an answer ends on, and whether it is the right one.

Two readings of an answer, as in lm-eval's gsm8k, but on exact values rather than on strings:

- *strict*: only a number marked `#### N`, as GSM8K's own answers are;
- *flexible*: that mark, else the last `\boxed{...}`, else the last number in the text.

So `1,000`, `$1000.00`, `\frac{2000}{2}` and `1000` are one number. `tests/test_scoring_math.py`
compares both readings with lm-eval's filters and lists every difference with its reason.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.scoring.sources import (
    Hub,
    Prompt,
    Row,
    load_rows,
    prompt_of,
    prompt_template,
    read_rows,
    set_generation,
    setting,
    splits,
    with_prompts,
)
from axolotl_dmt.scoring.worked_examples import WORKED_EXAMPLES

FIELDS = {"question": str, "answer": str}
GSM8K = Hub(path="openai/gsm8k", configs=("main",))

_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("[\u2212\u2010\u2011]", "-"),  # minus and hyphens that look like one
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

# A sign counts only where no operand stands before it: `10-5` ends on 5. Lengths are bounded, as
# Python refuses to read an integer of more than 4300 digits and models do repeat themselves.
_NUMBER = re.compile(
    r"""
    (?P<sign> (?<![\w)\].]) - )?
    (?: (?P<whole> \d{1,9} ) \s+ (?= \d+/ ) )?                  # the 1 of 1 1/2
    (?P<value>
        (?: \d{1,3} (?:,\d{3}){1,99} (?!\d) | \d{1,400} ) (?: \.\d{1,400} )? | \.\d{1,400}
    )
    (?: / (?P<over> 0{0,9}[1-9]\d{0,99} ) (?! \d | / | \.\d ) )?
    """,
    re.VERBOSE | re.ASCII,
)
_BRACE = re.compile(r"\\f?boxed\s*\{|\\fbox\s*\{|[{}]")
_MARK = re.compile(r"####[ \t]*")
# `#### 1. Count the apples` is a heading; `#### 18.` is an answer.
_HEADING = re.compile(r"[.):][ \t]*\S")


def numbers(text: str) -> list[tuple[Fraction, int, int]]:
    """Every number of a text already rewritten by `plain`, with where it starts and ends."""
    return [(_value(found), found.start(), found.end()) for found in _NUMBER.finditer(text)]


def plain(text: str) -> str:
    """The text without the marks that do not change a number's value: currency, LaTeX, per cent."""
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text


def _value(found: re.Match[str]) -> Fraction:
    value = Fraction(found["value"].replace(",", ""))
    if found["over"]:
        value /= int(found["over"])
    if found["whole"]:
        value += int(found["whole"])
    return -value if found["sign"] else value


def last_number(text: str) -> Fraction | None:
    """The last number of a text, or None where it has none."""
    found = numbers(plain(text))
    return found[-1][0] if found else None


def marked_number(text: str) -> Fraction | None:
    """The number of the first `#### N`: what follows it answers no longer this question."""
    text = plain(text)
    for mark in _MARK.finditer(text):
        number = _NUMBER.match(text, mark.end())
        if number and not _HEADING.match(text, number.end()):
            return _value(number)
    return None


def last_boxed(text: str) -> str | None:
    r"""What the last complete `\boxed{...}` or `\fbox{...}` holds."""
    opened: list[tuple[bool, int]] = []  # of each open brace: is it a box's, and where it ends
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
    r"""The number an answer gives: its `####`, else its last `\boxed`, else its last number."""
    marked = marked_number(text)
    if marked is not None:
        return marked
    boxed = last_boxed(text)
    if boxed is not None and (number := last_number(boxed)) is not None:
        return number
    return last_number(text)


def gold_number(answer: str) -> Fraction | None:
    """The right number of a row: after its `####`, or the whole answer where it has no mark."""
    marked = marked_number(answer)
    return last_number(answer) if marked is None else marked


# The lm-eval task


def dataset(generation: dict[str, Any] | None = None, **metadata: Any) -> Any:
    """The rows of `dmt_math`: GSM8K's test split, or the file that `dmt_math_data` names.

    The `train` split holds the few-shot examples: our own, or the file that `dmt_math_fewshot`
    names.
    """
    set_generation(generation, metadata)
    name = "dmt_math_data"
    rows = load_rows(name, metadata, fields=FIELDS, hub=GSM8K)
    for number, row in enumerate(rows, 1):
        if gold_number(row["answer"]) is None:
            raise DMTError(name, f"the answer of row {number} holds no number", "end it in #### N")
    shots_file = setting("dmt_math_fewshot", metadata)
    shots: list[Row] = (
        [{"question": question, "answer": answer} for question, answer in WORKED_EXAMPLES]
        if shots_file is None
        else read_rows("dmt_math_fewshot", shots_file, FIELDS)
    )
    template = prompt_template(metadata)
    return splits(
        test=with_prompts(rows, "question", template, answer="answer"),
        train=with_prompts(shots, "question", template, answer="answer"),
    )


def doc_to_text(doc: Row) -> Prompt:
    """The question in the training prompt."""
    return prompt_of(doc, "question")


def process_results(doc: Row, results: list[str]) -> dict[str, float]:
    """Score one answer: `dmt_score` is the flexible match, `strict_match` wants the `####`."""
    gold = gold_number(doc["answer"])
    return {
        "dmt_score": float(flexible_number(results[0]) == gold),
        "strict_match": float(marked_number(results[0]) == gold),
    }
