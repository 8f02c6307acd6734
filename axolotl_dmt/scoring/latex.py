r"""Decide whether two mathematical answers, in LaTeX or plain text, are equal.

Answers come from a model, so no text is passed to `eval`, as sympy's own parsers do. A small
recursive-descent parser builds sympy expressions and rejects numbers that are too large to compute.
Expressions are compared by their values at a few points, without a proof. Text that the parser
cannot read is compared as text.

    equivalent(r"\frac{\sqrt{2}}{2}", "1/sqrt(2)")  # True
    equivalent("(1, 2]", r"\left(1,2\right]")       # True
    equivalent("3,-1", "-1, 3")                     # True: a bare list is a set of solutions
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

LONGEST = 300  # characters; a longer expression is not parsed
LARGEST_EXPONENT = 1000
LARGEST_BITS = 20_000

_DROPPED = re.compile(
    r"\\(?:left|right|displaystyle|limits|quad|qquad)\b|\\[,;:! ]|~|\\?[$%]"
    r"|\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degrees?\b|°"
)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|textit)\s*\{([^{}]*)\}")
_LEFT_SIDE = re.compile(r"^\s*(?:[a-zA-Z](?:_\w|_\{\w+\})?|[a-zA-Z]\([a-zA-Z]\))\s*(?:=|\\in\b)\s*")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<word>\\[a-zA-Z]+"
    r"|sqrt|pi|sin|cos|tan|log|ln|exp)|(?P<letter>[a-zA-Z])|(?P<mark>\*\*|[-+*/^_!|(){}\[\]]))"
)
_FUNCTIONS = {"sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "ln", "exp"}
_GREEK = {"alpha", "beta", "gamma", "theta", "lambda", "mu", "phi", "omega"}
_UNIT_AFTER_VALUE = re.compile(r"(?<=[\d})])\s*[a-zA-Z][a-zA-Z. ]{2,}$")


class _Unreadable(ValueError):
    """Raised for a text that this module cannot parse."""


def equivalent(answer: str, gold: str) -> bool:
    """Return whether an answer equals the correct one."""
    answer, gold = _clean(answer), _clean(gold)
    if _squeezed(answer) == _squeezed(gold):
        return True
    if max(len(answer), len(gold)) > LONGEST:
        return False
    try:
        return _same(_read(answer), _read(gold))
    except (_Unreadable, ArithmeticError, RecursionError, TypeError, ValueError):
        return False


def _clean(text: str) -> str:
    text = text.strip().rstrip(".").strip()
    text = text.replace("\u2212", "-").replace("{,}", "").replace(r"\{", "{{").replace(r"\}", "}}")
    text = re.sub(r"\\[dt]frac", r"\\frac", _DROPPED.sub("", text))
    if words := re.fullmatch(_TEXT, text.strip()) or re.fullmatch(r"(\([A-Z]\))", text.strip()):
        return words[1].strip("() ").casefold()  # a word, or the letter of a choice
    text = re.sub(_TEXT, lambda match: _joined(match[1]), text)
    text = _LEFT_SIDE.sub("", text)
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    if not re.search(r"\\(?![a-z]*frac|sqrt|pi)", text):
        text = _UNIT_AFTER_VALUE.sub("", text)
    return text.strip()


def _joined(words: str) -> str:
    """Return what replaces `\\text{...}` beside a value: a comma for `and`, nothing for a unit."""
    return "," if words.strip() in {"and", "or"} else " "


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


# Lists, intervals and sets


def _read(text: str) -> tuple[str, list[Any]]:
    """Return the brackets around a list and its parts; an expression is a list of one part."""
    if r"\pm" in text:
        return "", [_expression(text.replace(r"\pm", sign)) for sign in "+-"]
    if text.startswith("{{") and text.endswith("}}"):
        return "", [_expression(part) for part in _parts(text[2:-2])]
    if text[:1] in ("(", "[") and text[-1:] in (")", "]"):
        inside = _parts(text[1:-1])
        if len(inside) > 1:
            return text[0] + text[-1], [_expression(part) for part in inside]
    return "", [_expression(part) for part in _parts(text)]


def _parts(text: str) -> list[str]:
    """Split a text at the commas outside brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def _same(one: tuple[str, list[Any]], other: tuple[str, list[Any]]) -> bool:
    (kind, left), (other_kind, right) = one, other
    if kind != other_kind or len(left) != len(right):
        return False
    if kind:  # coordinates and intervals are ordered
        return all(map(_equal, left, right))
    unmatched = list(right)
    for part in left:
        match = next((i for i, value in enumerate(unmatched) if _equal(part, value)), None)
        if match is None:
            return False
        del unmatched[match]
    return True


def _points(symbols: Any) -> list[dict[Any, Any]]:
    """Return three assignments of values to the symbols, in (0, 1) so that powers stay small."""
    import sympy

    ordered = sorted(symbols, key=str)
    steps = [sympy.Rational(2 * index + 5, 61) for index in range(3 * len(ordered))]
    return [dict(zip(ordered, steps[number::3], strict=False)) for number in range(3)]


def _equal(left: Any, right: Any) -> bool:
    if left == right:
        return True
    if left.is_infinite or right.is_infinite:
        return False
    for point in _points(left.free_symbols | right.free_symbols):
        a, b = left.subs(point).evalf(30), right.subs(point).evalf(30)
        if not (a.is_number and b.is_number) or abs(a - b) > 1e-12 * max(1, abs(b)):
            return False
    return True


# Expressions


def _expression(text: str) -> Any:
    parser = _Parser(text)
    value = parser.sum()
    parser.expect(None)
    return value


class _Parser:
    """A recursive-descent parser that builds one sympy expression."""

    def __init__(self, text: str) -> None:
        import sympy

        self.sympy = sympy
        self.tokens: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if not match:
                raise _Unreadable(text)
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind].lstrip("\\") if kind == "word" else match[kind]))
            position = match.end()
        self.at = 0

    @property
    def token(self) -> tuple[str, str] | tuple[None, None]:
        return self.tokens[self.at] if self.at < len(self.tokens) else (None, None)

    def take(self) -> tuple[str, str]:
        kind, text = self.token
        if kind is None or text is None:
            raise _Unreadable("it ends too early")
        self.at += 1
        return kind, text

    def expect(self, text: str | None) -> None:
        if self.token[1] != text:
            raise _Unreadable(f"{self.token[1]!r} where {text!r} should be")
        self.at += text is not None

    def sum(self) -> Any:
        value = self.product()
        while self.token[1] in ("+", "-"):
            sign = self.take()[1]
            right = self.product()
            value = value + right if sign == "+" else value - right
        return self.bounded(value)

    def product(self) -> Any:
        value = self.signed()
        while True:
            kind, text = self.token
            if text in ("*", "cdot", "times"):
                self.take()
                value = value * self.signed()
            elif text in ("/", "div"):
                self.take()
                value = self.divide(value, self.signed())
            elif kind in ("number", "letter", "word") or text in ("(", "{"):
                value = value * self.power()
            else:
                return self.bounded(value)

    def signed(self) -> Any:
        if self.token[1] in ("+", "-"):
            sign = self.take()[1]
            value = self.signed()
            return -value if sign == "-" else value
        return self.power()

    def power(self) -> Any:
        base = self.atom()
        while self.token[1] == "!":
            self.take()
            if not base.is_Integer or not 0 <= base <= 200:
                raise _Unreadable("a factorial of that")
            base = self.sympy.factorial(base)
        if self.token[1] in ("^", "**"):
            self.take()
            return self.raised(base, self.signed())
        return base

    def atom(self) -> Any:
        kind, text = self.take()
        sympy = self.sympy
        if kind == "number":
            value = sympy.Rational(text.rstrip("."))
            if value.is_Integer and self.token == ("word", "frac"):
                return value + self.atom()  # a mixed number
            return value
        if kind == "letter":
            return {"e": sympy.E, "i": sympy.I}.get(text) or sympy.Symbol(text + self.subscript())
        if text in ("(", "{", "[", "|"):
            value = self.sum()
            self.expect({"(": ")", "{": "}", "[": "]", "|": "|"}[text])
            return sympy.Abs(value) if text == "|" else value
        named: dict[str, Callable[[], Any]] = {
            "frac": lambda: self.divide(self.argument(), self.argument()),
            "sqrt": self.root,
            "pi": lambda: sympy.pi,
            "infty": lambda: sympy.oo,
            "log": self.logarithm,
        }
        if text in named:
            return named[text]()
        if text in _FUNCTIONS:
            function = getattr(sympy, text.replace("arc", "a"))
            if self.token[1] in ("^", "**"):
                self.take()
                return self.raised(function(self.signed_after_exponent()), sympy.Integer(2))
            return function(self.power())
        if text in _GREEK:
            return sympy.Symbol(text + self.subscript())
        raise _Unreadable(text)

    def signed_after_exponent(self) -> Any:
        """Parse the rest of `sin^2 x`; other exponents (such as an inverse) are not supported."""
        if self.argument() != 2:
            raise _Unreadable("an exponent on a function")
        return self.power()

    def subscript(self) -> str:
        if self.token[1] != "_":
            return ""
        self.take()
        return f"_{self.argument()}"

    def argument(self) -> Any:
        """Parse an argument as LaTeX does: a group, or one token, or one digit of a number."""
        kind, text = self.token
        if kind == "number" and text and len(text) > 1 and text.isdigit():
            self.tokens[self.at] = ("number", text[1:])
            return self.sympy.Integer(text[0])
        return self.atom()

    def root(self) -> Any:
        degree = self.sympy.Integer(2)
        if self.token[1] == "[":
            self.take()
            degree = self.sum()
            self.expect("]")
        return self.raised(self.argument(), self.divide(self.sympy.Integer(1), degree))

    def logarithm(self) -> Any:
        base = None
        if self.token[1] == "_":
            self.take()
            base = self.argument()
        value = self.sympy.log(self.power())
        return value if base is None else self.divide(value, self.sympy.log(base))

    def divide(self, numerator: Any, denominator: Any) -> Any:
        if denominator == 0:
            raise _Unreadable("a division by zero")
        return numerator / denominator

    def raised(self, base: Any, exponent: Any) -> Any:
        """Return the power, unless it would be too large to compute."""
        half = self.sympy.Rational(1, 2)
        size = exponent.subs(dict.fromkeys(exponent.free_symbols, half)).evalf(8)
        if (
            not size.is_finite
            or abs(size) > LARGEST_EXPONENT
            or (base == 0 and size.as_real_imag()[0] < 0)
        ):
            raise _Unreadable("a power of that size")
        if base.is_Rational and _bits(base) * abs(size) > LARGEST_BITS:
            raise _Unreadable("a power of that size")
        return self.bounded(base**exponent)

    def bounded(self, value: Any) -> Any:
        if value.is_Rational and _bits(value) > LARGEST_BITS:
            raise _Unreadable("a number of that size")
        return value


def _bits(value: Any) -> int:
    return max(int(value.p).bit_length(), int(value.q).bit_length())
