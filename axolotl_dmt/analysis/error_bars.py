"""Draws means with their intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from axolotl_dmt.analysis.intervals import Interval

PANEL = (3.5, 2.7)
"""Width and height of a panel in inches; a phone's screen is about as wide."""


def error_lengths(intervals: Sequence[Interval]) -> list[list[float]]:
    """Return the lengths of error bars below and above the means."""
    below = [0.0 if i.low is None else i.mean - i.low for i in intervals]
    above = [0.0 if i.high is None else i.high - i.mean for i in intervals]
    return [below, above]


def error_bars(axes: Any, x: Sequence[float], intervals: Sequence[Interval], **style: Any) -> None:
    """Draw means with their intervals."""
    axes.errorbar(
        x,
        [i.mean for i in intervals],
        yerr=error_lengths(intervals),
        markersize=5,
        elinewidth=1.1,
        capsize=2.5,
        **style,
    )
