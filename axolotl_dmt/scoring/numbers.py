r"""Find the numbers in a text and read them by their value.

`1,000`, `1 000`, `$1000.00`, `\frac{2000}{2}`, `999 1/2 + 1/2` contain the same or equal numbers,
and so do `½` and `0.5`, `1.8 million` and `1800000`, `−3` and `negative 3`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

_CURRENCY = r"(?:US|USD|EUR|GBP|CAD|AUD|INR|CHF|Rs\.?|RM)"
_SPACES = "\u00a0\u2007\u2009\u202f"
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("[\u2212\u2010\u2011\ufe63]", "-"),  # the minus sign, and hyphens that look like it
        ("(?<![\\w.)\\]])\u2013(?=[$€£]?\\d)", "-"),  # an en dash that is no range
        ("[\u2013\u2014]", " - "),
        (r"\{,\}|(?<=\d),\\!\s*(?=\d)", ","),  # LaTeX's thousands comma
        (rf"(?<=\d)(?:\\[,;:! ]|~|[{_SPACES}])(?=\d{{3}}(?!\d))", ","),
        (r"\\[,;:! ]|\\\\|~", " "),
        (r"\\(?:left|right|displaystyle|quad|qquad)\b|&", " "),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"(?<=\d)\s*(?=\\frac)", " "),  # a mixed number
        (r"\\frac\s*\{\s*-\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}", r"-\1/\2"),
        (r"\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}", r"\1/\2"),
        (r"\\(?:text|mathrm|mbox|textbf|mathbf|textit|bf|rm)\b\s*\{([^{}]*)\}", r" \1 "),
        (r"(?<=[a-zA-Z\u00b5])\s*\^\s*(?:\{\s*-?\d+\s*\}|-?\d+)", ""),  # the square of a unit
        ("(?<=[a-zA-Z)])[\u00b2\u00b3]", ""),
        (rf"\b{_CURRENCY}\s?(?:\\?\$\s?)?(?=[-\d])|\\?[$€£¥₹]\s*(?=[-\d.])", ""),
        (r"(?<=-)\s*(?:\\?[$€£¥₹]\s?)(?=\d)", ""),
        (r"\\?[$%€£¥₹]", ""),
        (r"\b[Nn]egative\s+(?=\d)|(?:(?<=\bis )|(?<=^)|(?<=[=:] ))[Mm]inus\s+(?=\d)", "-"),
    )
)

# A sign counts only if no operand precedes it: `10-5` ends with 5. Lengths are bounded, because
# Python refuses to read an integer of more than 4300 digits and models do repeat themselves.
_NUMBER = re.compile(
    r"""
    (?<![A-Za-z\d.])
    (?P<sign> (?<![\w)\].]) (?<![\d)\]][ ]) - (?=[\d.]) )?
    (?: (?P<whole> \d{1,9} ) [ \t]+ (?= \d+/\d ) )?                  # the 1 of 1 1/2
    (?P<value>
        (?: \d{1,3} (?:,\d{3}){1,99} (?!\d) | \d{1,3} (?:[ ]\d{3}){1,9} (?![\d,/]) | \d{1,400} )
        (?: \.\d{1,400} )?
      | \.\d{1,400}
    )
    (?: [ ]?/[ ]? (?P<denominator> 0{0,9}[1-9]\d{0,99} ) (?! \d | / | \.\d ) )?
    (?: [ ]? (?P<scale> thousand | million | billion | trillion ) \b )?
    """,
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}

_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORD_VALUES = {
    **{word: value for value, word in enumerate(_ONES)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
}
_WORDS = re.compile(
    r"\b(?:(?P<minus>negative|minus)\s+)?(?P<words>(?:{0})(?:(?:[\s-]+|\s+and\s+)(?:{0}))*)\b".format(
        "|".join(_WORD_VALUES)
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """A number in a plain text: its value, and where it stands."""

    value: Fraction
    start: int
    end: int


def plain_text(text: str) -> str:
    """Return a text in ASCII digits, without signs and LaTeX that leave numbers unchanged."""
    text = "".join(map(_ascii_digit, text))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text


def _ascii_digit(character: str) -> str:
    if character.isascii() or character in "²³":
        return character
    if character.isdecimal():
        return str(unicodedata.digit(character))
    if unicodedata.category(character) == "No":  # 18½ is 18 1/2
        decomposed = unicodedata.normalize("NFKC", character)
        return f" {decomposed.replace('⁄', '/')}" if "⁄" in decomposed else character
    return character


def numbers_in(text: str) -> list[Number]:
    """Return the numbers of a text that `plain_text` returned, in order."""
    return [Number(_value(match), match.start(), match.end()) for match in _NUMBER.finditer(text)]


def number_at(text: str, position: int) -> Number | None:
    """Return the number that begins at a position of a plain text; None if there is none."""
    match = _NUMBER.match(text, position)
    return Number(_value(match), match.start(), match.end()) if match else None


def _value(number: re.Match[str]) -> Fraction:
    value = Fraction(number["value"].replace(",", "").replace(" ", ""))
    if number["denominator"]:
        value /= int(number["denominator"])
    if number["whole"]:
        value += int(number["whole"])
    if number["scale"]:
        value *= _SCALES[number["scale"].lower()]
    return -value if number["sign"] else value


def number_in_words(text: str) -> Fraction | None:
    """Return the last number that a text spells, such as `twenty-one`; None without one."""
    matches = list(_WORDS.finditer(text))
    if not matches:
        return None
    total = part = 0
    for word in re.findall(r"[a-z]+", matches[-1]["words"].lower()):
        value = _WORD_VALUES.get(word, 0)
        if value == 100:
            part = max(part, 1) * 100
        elif value > 100:
            total, part = total + max(part, 1) * value, 0
        else:
            part += value
    return Fraction(-(total + part) if matches[-1]["minus"] else total + part)
