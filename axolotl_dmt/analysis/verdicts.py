"""The verdicts on a claim, and the rules by which a measured difference leads to one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from axolotl_dmt.analysis.intervals import Difference

SHOWN, NOT_SHOWN, CONTRADICTED = "shown", "not shown", "contradicted"
NOT_MEASURED = "not measured"
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Part:
    """One ability's part of a claim.

    Attributes:
        ability: the ability.
        quantity: what is measured, such as `dmt, k = 1/16 minus sequential`.
        verdict: one of the four verdicts.
        difference: the quantity by seed; None where not measured.
        note: a remark for the reader, or empty.
    """

    ability: str
    quantity: str
    verdict: str
    difference: Difference | None = None
    note: str = ""


def overall(verdicts: Sequence[str]) -> str:
    """Return the verdict on a claim from those on its parts."""
    if CONTRADICTED in verdicts:
        return CONTRADICTED
    if NOT_MEASURED in verdicts or not verdicts:
        return NOT_MEASURED
    return SHOWN if all(verdict == SHOWN for verdict in verdicts) else NOT_SHOWN


def above_zero(ability: str, quantity: str, difference: Difference | None) -> Part:
    """Judge whether a quantity is above 0 by more than the variation over seeds explains.

    Args:
        ability: the ability.
        quantity: what is measured, for the report.
        difference: the quantity by seed; None where not measured.
    """
    if difference is None:
        return Part(ability=ability, quantity=quantity, verdict=NOT_MEASURED)
    interval, note = difference.interval, ""
    if interval.low is None or interval.high is None:
        verdict, note = NOT_SHOWN, "one seed gives no interval"
    elif interval.low > 0 and difference.p_greater <= ALPHA:
        verdict = SHOWN
    elif interval.high < 0 and difference.p_less <= ALPHA:
        verdict = CONTRADICTED
    else:
        verdict = NOT_SHOWN
        if 2.0**-interval.n > ALPHA:
            note = f"{interval.n} seeds cannot give p <= {ALPHA}: at least 5 are needed"
    return Part(
        ability=ability, quantity=quantity, verdict=verdict, difference=difference, note=note
    )


def within(ability: str, quantity: str, difference: Difference | None, margin: float) -> Part:
    """Judge whether a quantity is within a margin of 0; the arguments are as in `above_zero`."""
    return _bounded(ability, quantity, difference, -margin, margin, f"margin +-{margin:g}")


def not_above(ability: str, quantity: str, difference: Difference | None, margin: float) -> Part:
    """Judge whether a quantity is at most a margin; the arguments are as in `above_zero`."""
    return _bounded(ability, quantity, difference, -math.inf, margin, f"margin +{margin:g}")


def _bounded(
    ability: str, quantity: str, difference: Difference | None, low: float, high: float, note: str
) -> Part:
    """Judge whether a quantity lies between two bounds; `note` is added to the part."""
    if difference is None:
        return Part(ability=ability, quantity=quantity, verdict=NOT_MEASURED)
    interval = difference.interval
    if interval.low is None or interval.high is None:
        verdict, note = NOT_SHOWN, f"one seed gives no interval; {note}"
    elif low < interval.low and interval.high < high:
        verdict = SHOWN
    elif interval.low > high or interval.high < low:
        verdict = CONTRADICTED
    else:
        verdict = NOT_SHOWN
    return Part(
        ability=ability, quantity=quantity, verdict=verdict, difference=difference, note=note
    )
