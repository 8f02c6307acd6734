r"""Bring an expression into plain LaTeX: without typography, units and other ways to write it.

    plain_latex("x²+1")                        # x^{2}+1
    plain_latex(r"10\,\mathrm{cm}^2")          # 10
    plain_latex(r"\textbf{(C)}\ 12")           # (C) 12
    plain_latex(r"0.\overline{3}")             # \frac{3}{9}

Nothing here changes a value. What is removed is listed in `docs/scoring.md`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_CHARACTERS = {
    "−": "-", "–": "-", "‐": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "÷": r"\div ", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ",
    "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ",
    "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "°": r"^\circ ",
    "±": r"\pm ", "⟨": r"\langle ", "⟩": r"\rangle ", "’": "'", "“": '"', "”": '"',
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2007": " ",
}  # fmt: skip
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\w+))")
_SPACE = r"(?:\\[,;:! ]|~|\\thinspace\b|\s)"
_GROUPED_OR_BRACKET = re.compile(
    rf"(?<![\d.,])\d{{1,3}}(?:{_SPACE}\d{{3}})+(?![\d,])"
    rf"|(?<![\d.,])\d{{1,3}}(?:(?:,|\{{,\}})(?:\s*\\!\s*)?\d{{3}})+(?![\d,])"
    r"|\\?[(\[{}\])]|\\[lr]angle\b"
)
_PERHAPS_LIST = re.compile(r"\d+(?:,[1-9]\d\d)+")
_LIST_BRACKETS = ("(", "[", r"\{", r"\langle")
_BARE_FRACTION = re.compile(r"\\frac\s*(\\[a-zA-Z]+|\w)\s*(\\[a-zA-Z]+|\w)(?![{\[])")
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mbox|hbox|mathrm|mathbf|mathit|mathsf|operatorname|bold"
    r"|boldsymbol|bm|rm|bf)\b\s*\{([^{}]*)\}"
)
_DROPPED = re.compile(
    r"\\(?:displaystyle|textstyle|limits|quad|qquad|large|Large|bf|rm|it|thinspace)\b"
    r"|(?<!\\)\\[,;:! ]|~|(?<!\\)\$|\\\$|[€£¥₹]"
)
_DEGREES = re.compile(r"\^\s*(?:\\circ\b|\{\s*\\circ\s*\})|\\degrees?\b")
_ANGLE = re.compile(
    r"(\\(?:sin|cos|tan|cot|sec|csc))\s*[({]?\s*(\d+(?:\.\d+)?)\s*"
    r"(?:\^\s*(?:\\circ\b|\{\s*\\circ\s*\}))\s*[)}]?"
)
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{?\s*(\d+)\s*\}?")
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?\d{1,3})(?![\w.])")
_NOT_A_UNIT = re.compile(r"^[ap]\.?\s*m\.?$|^i$|^e$|^\W*$", re.IGNORECASE)
_FUNCTION_NAME = re.compile(
    "(?:arc)?(?:sin|cos|tan)|(?:sin|cos|tan)h|cot|sec|csc|log|ln|exp|det|gcd|lcm|max|min"
)
_SHORT_UNITS = (
    "cm|mm|km|dm|nm|ft|in|yd|mi|kg|mg|lbs?|oz|ml|mL|cc|hrs?|mins?|secs?|ms|mph|kph|kmh|rad|deg|rpm"
    "|Hz|kHz|kPa|Pa|kJ|cal|kcal|mol|sq|cu"
)
_BARE_UNIT = re.compile(
    r"(?<=[\d}%)])(?:\s*(?:" + _SHORT_UNITS + r")\b|\s+[mgshLNJWVKC]\b(?!\s*[({^]\s*[a-z])"
    r"|\s+(?=[a-zA-Z]*[aeiouy])[a-zA-Z]{4,}(?:\s+[a-zA-Z]+)*)"
    r"(?:\s*(?:/|per)\s*[a-zA-Z]+)?\.?(?:\s*\^\s*\{?\d\}?)?\s*$"
)
# `\text{Area} = ` or `P(\text{red}) = `
_NAMED_IN_WORDS = re.compile(r"^[^=<>]*\\text\s*\{[^{}=]*[a-zA-Z]{2}[^{}=]*\}[^=<>]*=\s*(?=[^=\s])")
_LETTERS = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]")


def plain_latex(text: str, lists: bool = False) -> str:
    """Return an expression in plain LaTeX; see the module for examples.

    Args:
        text: The expression.
        lists: Whether `1,200` is the list of 1 and 200, and not the number 1200. In brackets, as in
            `(1,200)`, it is always a list.
    """
    text = _ascii(text.strip())
    text = re.sub(r"\\[dtc]frac\b", r"\\frac", text)
    text = _BARE_FRACTION.sub(r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\(?:left|right|[bB]igg?[lr]?|middle)\b\s*(?=[^a-zA-Z\s]|\\)", "", text)
    text = re.sub(r"(?:\\left|\\right)\s*\.", "", text)
    text = _with_joined_digits(text, lists)
    text = re.sub(r"\{,\}|\{\s*,\s*\}", ",", text)
    text = re.sub(r"\\!", "", text)
    text = re.sub(r"\\varnothing\b|\\\{\s*\\\}|\\empty\b", r"\\emptyset ", text)
    text = re.sub(
        r"\\(?:geq|geqslant)\b", r"\\ge ", re.sub(r"\\(?:leq|leqslant)\b", r"\\le ", text)
    )
    text = re.sub(r"^\s*\\(?:approx|sim|therefore|implies|Rightarrow)\b\s*", "", text)
    text = _ANGLE.sub(r"\1(\\frac{\2 \\pi}{180})", text)
    text = _DEGREES.sub("", text)
    text = _REPEATING.sub(lambda match: _as_fraction(*match.groups()), text)
    text = _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text)
    text = re.sub(r"\\(?:overline|overrightarrow|vec|hat)\s*\{\s*([A-Za-z]+)\s*\}", r"\1", text)
    text = _DROPPED.sub(" ", text)
    text = re.sub(
        r"\\text\s*\{\s*all real(?: number)?s\s*\}|^all real(?: number)?s$", r"\\mathbb{R}", text
    )
    text = _NAMED_IN_WORDS.sub("", text)
    text = _without_text(text)
    text = _without_bare_unit(text)
    text = re.sub(r"\s+", " ", text).strip().rstrip(".,;: ")
    return re.sub(r"^\[\s*([^,;()\[\]]+)\s*\]$", r"\1", text)


def _with_joined_digits(text: str, lists: bool) -> str:
    r"""Join the digits of each number with separators of thousands: `1,200`, `1{,}200`, `1\,200`.

    A comma of a list gets a space instead, so that math-verify does not join the digits either.
    `0,200` is always a list, and `1,000` never.
    """
    brackets: list[str] = []

    def joined(match: re.Match[str]) -> str:
        token = match[0]
        if token.endswith(("(", "[", "{", "langle")):
            brackets.append(token)
            return token
        if token.endswith((")", "]", "}", "rangle")):
            del brackets[-1:]
            return token
        is_list = brackets[-1] in _LIST_BRACKETS if brackets else lists
        if (is_list or token.startswith("0,")) and _PERHAPS_LIST.fullmatch(token):
            return token.replace(",", ", ")
        return re.sub(r"\D", "", token)

    return _GROUPED_OR_BRACKET.sub(joined, text)


def _ascii(text: str) -> str:
    """Replace characters outside ASCII by the LaTeX for them."""
    text = re.sub(
        "[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda match: "^{" + match[0].translate(_SUPERSCRIPTS) + "}", text
    )
    text = _ROOT.sub(lambda match: rf"\sqrt{{{match[1] or match[2] or match[3]}}}", text)
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if character.isascii():
        return character
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    if character.isdigit():
        return str(unicodedata.digit(character))
    if unicodedata.category(character) == "No":  # ½
        numerator, _, denominator = unicodedata.normalize("NFKC", character).partition("⁄")
        return rf"\frac{{{numerator}}}{{{denominator}}}" if denominator else numerator
    return character


def _as_fraction(whole: str, start: str, repeated: str) -> str:
    r"""Return a repeating decimal such as `0.1\overline{6}` as a fraction."""
    if len(whole + start + repeated) > 60:
        return f"{whole}.{start}{repeated}"
    scale = 10 ** len(start) * (10 ** len(repeated) - 1)
    value = int(whole + start + repeated) - int((whole + start) or "0")
    return rf"\frac{{{value}}}{{{scale}}}"


def _without_text(text: str) -> str:
    r"""Replace `\text{...}`: `and` and `or` by a comma, a unit by nothing, a letter by itself.

    A text without anything else is the answer, such as a name, and is returned as words.
    """
    content: Callable[[re.Match[str]], str] = lambda match: f" {match[1]} "  # noqa: E731
    words = _TEXT.sub(content, text)
    rest = re.sub(r"\\[a-zA-Z]+|[{}\s^_]", "", _TEXT.sub("", text))
    if not re.search(r"[\w]", rest):
        return re.sub(r"\s+", " ", words).strip() if not re.search(r"\w", rest) else text
    text = re.sub(r",?\s*\\(?:text|mbox|mathrm)\s*\{\s*,?\s*(?:and|or)\s*\}\s*", ", ", text)
    text = re.sub(rf"\\frac\s*\{{\s*{_TEXT.pattern}\s*\}}\s*\{{\s*{_TEXT.pattern}\s*\}}", "", text)
    text = re.sub(_TEXT.pattern + r"(\s*\^\s*(?:\{\s*-?\d+\s*\}|-?\d))?", _kept_text, text)
    text = re.sub(r"[\^_]\s*\{\s*\}", "", text)
    return re.sub(r"(\d)\s*/\s*$", r"\1", text.strip())


def _kept_text(match: re.Match[str]) -> str:
    words = match[1].strip()
    if _FUNCTION_NAME.fullmatch(words):
        return rf"\{words} "
    if len(words) == 1 or _NOT_A_UNIT.match(words) or not re.search(r"[a-zA-Z]", words):
        return f" {match[1]} " + (match[2] or "")
    if re.fullmatch(r"\(?[A-J]\)?", words):
        return f" {words} "
    numbers = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
    if words in numbers and re.search(r"_\s*\{?\s*$", match.string[: match.start()]):
        return str(numbers[words])
    return " "


def _without_bare_unit(text: str) -> str:
    """Remove a unit that is not marked as text, if nothing but numbers stands before it."""
    unit = _BARE_UNIT.search(text)
    if unit is None or _LETTERS.search(text[: unit.start()]):
        return text
    return text[: unit.start()]
