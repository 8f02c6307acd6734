"""Compare two expressions with math-verify; imported only by the process of `expression_worker`."""

from __future__ import annotations

import logging
import random
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

# Units are removed before (see `notation`): math-verify's own list contains letters such as `c` and
# `t`, which are variables in `5c`.
_LATEX = LatexExtractionConfig(
    normalization_config=NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
    )
)
DECIMALS = 10
"""How many decimals of two numbers must agree, if one of them is a decimal."""

logging.getLogger("math_verify").setLevel(logging.CRITICAL)


def equal(answer: str, gold: str) -> bool:
    """Return whether two expressions in plain LaTeX are equal."""
    try:
        parsed, gold_parsed = _parse(answer), _parse(gold)
        if parsed is None or gold_parsed is None:
            return False
        # math-verify rounds differences of tiny numbers to 0.
        if _differ(gold_parsed, parsed):
            return False
        return _verified(gold_parsed, parsed) or _same_value(gold_parsed, parsed)
    except (Exception, MemoryError):
        return False


def _parse(text: str) -> Any:
    results = parse(
        f"${text}$",
        [_LATEX],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return _with_imaginary_unit(results[0]) if results else None


def _with_imaginary_unit(expression: Any) -> Any:
    """Replace the letter i, which math-verify reads as a variable, by the imaginary unit."""
    letters = [s for s in getattr(expression, "free_symbols", ()) if s.name == "i"]
    return expression.subs(dict.fromkeys(letters, sympy.I)) if letters else expression


def _verified(gold: Any, answer: Any) -> bool:
    return bool(
        verify(
            gold,
            answer,
            float_rounding=DECIMALS,
            allow_set_relation_comp=True,
            timeout_seconds=None,
        )
    )


def _differ(gold: Any, answer: Any) -> bool:
    """Return whether two numbers differ by more than a billionth of the larger one."""
    if not all(isinstance(e, sympy.Expr) and not e.free_symbols for e in (gold, answer)):
        return False
    if any(e.has(sympy.Rational(1, 100)) for e in (gold, answer)):
        return False  # a percentage, which may equal its number without the sign
    distance = _distance(gold.doit().evalf(30), answer.doit().evalf(30))
    return distance is not None and distance > 1e-9


def _distance(left: Any, right: Any) -> Any:
    """Return the relative distance of two numbers; None where it cannot be computed."""
    if not (left.is_finite and right.is_finite):
        return None
    size = max(abs(left), abs(right))
    return sympy.Integer(0) if size == 0 else abs(left - right) / size


def _same_value(gold: Any, answer: Any) -> bool:
    """Return whether two expressions have the same value at several points."""
    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return False
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    if gold.free_symbols != answer.free_symbols:
        return False
    draw = random.Random(0)  # of both signs and several sizes, so that |x + 2| is not x + 2
    for _ in range(8 if symbols else 1):
        values = {symbol: sympy.Float(str(draw.uniform(-9, 9)), 40) for symbol in symbols}
        left, right = (side.doit().subs(values).evalf(30) for side in (gold, answer))
        distance = _distance(left, right)
        if distance is None or distance > 1e-20:
            return False
    return True
