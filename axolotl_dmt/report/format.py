"""Formats numbers for reports, the same way in a terminal, in Markdown and in HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from axolotl_dmt.results import metrics

MISSING = "–"
"""The text for an unknown value."""


def number(value: float | None, *, sign: bool = False) -> str:
    """Return a score with three decimals up to 1 and two above (a judge's 1 to 10)."""
    if metrics.finite(value) is None or value is None:
        return MISSING
    decimals = 3 if abs(value) <= 1 else 2
    return f"{value:{'+' if sign else ''}.{decimals}f}"


def with_error(value: float | None, stderr: float | None) -> str:
    """Return `0.912 ± 0.008`, or the value alone where the error is unknown."""
    if metrics.finite(stderr) is None or metrics.finite(value) is None:
        return number(value)
    return f"{number(value)} ± {number(stderr)}"


def percent(value: float | None) -> str:
    """Return a ratio as a percentage with one decimal."""
    return MISSING if value is None else f"{100 * value:.1f}%"


def kept(retention: float | None, forgetting: float | None, *, short: bool = False) -> str:
    """Return what became of an ability: the percentage that was retained, or the gain in score.

    Args:
        retention: last score divided by the best earlier one, or None.
        forgetting: best earlier score minus the last one, or None.
        short: write a gain as `+0.300`, as the changes in a terminal table, not as `gained 0.300`.
    """
    if forgetting is None or forgetting >= 0:
        return percent(retention)
    gain = number(-forgetting, sign=short)
    return gain if short else f"gained {gain}"


def count(value: float | int | None) -> str:
    """Return a count in groups of three digits: `110,142`."""
    return MISSING if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Return a duration in suitable units: `0.4 s`, `42 s`, `3 min 05 s`, `2 h 07 min`."""
    if metrics.finite(seconds) is None or seconds is None:
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted key, value as text).

    Args:
        settings: plain values, lists and mappings.
        prefix: put before each key.
    """
    pairs = []
    for key, item in settings.items():
        if isinstance(item, Mapping) and item:
            pairs += flat(item, f"{prefix}{key}.")
        else:
            text = item if isinstance(item, str) else json.dumps(item, default=str)
            pairs.append((f"{prefix}{key}", text))
    return pairs
