"""Which rows are held out: how many of each domain, and which ones.

No held-out row has an exact copy among the rows to train on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.permutation import Permutation, derive_key
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


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The rows of a domain that are not trained on, as masks of shape (rows,).

    Attributes:
        rows: the held-out rows.
        copies: other rows of which another domain holds out a copy.
    """

    rows: NDArray[np.bool_]
    copies: NDArray[np.bool_]


def choose_held_out(
    digests: Mapping[str, NDArray[np.uint64]], counts: Mapping[str, int], seed: int
) -> dict[str, HeldOut]:
    """Choose the held-out rows of each domain, drawn from all its datasets together.

    Args:
        digests: a digest of each row of each domain; equal rows have equal digests.
        counts: number of rows to hold out, by domain. Copies of a row are held out together, so
            there are fewer where no row is left whose copies fit.
        seed: chooses the rows.

    Raises:
        DMTError: a domain would have no row left to train on.
    """
    chosen = {
        name: _choose(name, rows, counts[name], seed)
        if counts.get(name)
        else np.zeros(len(rows), bool)
        for name, rows in digests.items()
    }
    held_out = np.unique(np.concatenate([digests[name][chosen[name]] for name in digests]))
    result = {}
    for name, rows in digests.items():
        copies = np.isin(rows, held_out) & ~chosen[name]
        if (chosen[name] | copies).all():
            problem = f"every row of {name} is held out, or another domain holds out a copy of it"
            raise DMTError("dmt.val_rows", problem, "hold out fewer rows")
        result[name] = HeldOut(rows=chosen[name], copies=copies)
    return result


def _choose(domain: str, digests: NDArray[np.uint64], count: int, seed: int) -> NDArray[np.bool_]:
    """Return a mask of about `count` random rows, which are held out with all their copies."""
    size = len(digests)
    if count >= size:
        raise DMTError(
            "dmt.val_rows",
            f"{count} rows are to be held out of {domain}'s {size}",
            "hold out fewer rows",
        )
    permutation = Permutation(size, derive_key(seed, "held out", domain))
    is_held_out = np.zeros(size, bool)
    is_held_out[permutation.range(0, count)] = True
    _, group_of, sizes = np.unique(digests, return_inverse=True, return_counts=True)
    split = np.isin(group_of, group_of[is_held_out]) & ~is_held_out
    if not split.any():
        return is_held_out
    groups: set[int] = set()
    remaining, order = count, group_of[permutation.range(0, size)].tolist()
    for group in order:
        if group not in groups and sizes[group] <= remaining:
            groups.add(group)
            remaining -= int(sizes[group])
            if not remaining:
                break
    return np.isin(group_of, list(groups or {min(order, key=lambda group: sizes[group])}))
