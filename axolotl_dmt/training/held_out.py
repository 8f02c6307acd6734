"""How many rows of each domain `val_set_size` holds out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.solve import largest_remainder


def rows_to_hold_out(rows: Mapping[str, int], size: Fraction | int) -> dict[str, int]:
    """Divide the held-out rows among the domains in proportion to their rows.

    Each domain has its exact share, rounded down or up by the method of the largest remainder, and
    at least one row, so that every domain has a loss. A domain always keeps a row to train on.

    Args:
        rows: number of rows of each domain.
        size: a number of rows, or a fraction of all rows, which is rounded up.

    Raises:
        DMTError: the rows would all be held out.
    """
    total = sum(rows.values())
    count = math.ceil(size * total) if isinstance(size, Fraction) else size
    if count >= total:
        problem = f"{count} rows are to be held out of {total}"
        raise DMTError("val_set_size", problem, "hold out fewer rows")
    shares = largest_remainder([Fraction(count * number, total) for number in rows.values()])
    return {
        domain: min(share, rows[domain] - 1) for domain, share in zip(rows, shares, strict=True)
    }
