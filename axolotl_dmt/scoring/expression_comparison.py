"""Compare two expressions with math-verify; imported only by the process of `expression_worker`."""

from __future__ import annotations

import logging
from typing import Any

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
    import sympy

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


def _same_value(gold: Any, answer: Any) -> bool:
    """Return whether two expressions have the same value at several points."""
    import sympy

    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return False
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    if gold.free_symbols != answer.free_symbols:
        return False
    for point in ("0.7310585", "-1.3178249", "2.2360731", "-0.2689414")[: 4 if symbols else 1]:
        values = {
            symbol: sympy.Float(point, 40) * (index + 1) for index, symbol in enumerate(symbols)
        }
        left, right = (side.doit().subs(values).evalf(30) for side in (gold, answer))
        if not (left.is_number and right.is_number) or left.has(sympy.nan, sympy.zoo):
            return False
        if abs(left - right) > sympy.Float("1e-20") * max(1, abs(right)):
            return False
    return True
