"""Count the rows and tokens that a stage takes from each domain, given its training order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.plan.inputs import Domain, Rows
from axolotl_dmt.plan.permutation import for_chunks
from axolotl_dmt.plan.training_plan import DomainDraw

_CHUNK = 1 << 18


def domain_draws(
    order: Rows,
    counts: Mapping[str, int],
    domains: Mapping[str, Domain],
    offsets: Mapping[str, int],
    redraw: bool,
) -> dict[str, DomainDraw]:
    """Count the rows and tokens that a stage takes from each domain.

    Args:
        order: the stage's global row ids in training order, blanks included.
        counts: draws of each domain in one whole epoch, in pool order.
        domains: the pools by name.
        offsets: the first global row id of each domain.
        redraw: whether each epoch takes the next rows of the selection.

    Returns:
        The counts by domain, in the order of `counts`.
    """
    names = list(counts)
    starts = np.array([offsets[name] for name in names], np.int64)
    ends = starts + [domains[name].rows for name in names]

    def work(a: int, b: int) -> NDArray[np.int64]:
        # Sorting groups the rows by domain, and their lengths are then read in memory order.
        rows = np.sort(order[a:b])
        firsts, lasts = np.searchsorted(rows, starts), np.searchsorted(rows, ends)
        sums = np.zeros((3, len(names)), np.int64)
        sums[0] = lasts - firsts
        for index, name in enumerate(names):
            local = rows[firsts[index] : lasts[index]] - offsets[name]
            for line, column in ((1, domains[name].lengths), (2, domains[name].trained)):
                if column is not None:
                    sums[line, index] = column[local].sum(dtype=np.int64)
        return sums

    draws, tokens, trained = np.sum(for_chunks(work, len(order), _CHUNK), axis=0).tolist()
    all_known = all(domains[name].trained is not None for name in names)
    weights = trained if all_known and sum(trained) else draws
    epochs = sum(draws) // sum(counts.values())
    result = {}
    for index, name in enumerate(names):
        domain = domains[name]
        distinct = _distinct(counts[name], domain.rows, epochs, draws[index], redraw)
        if distinct is None:
            distinct = _distinct_in_order(order, offsets[name], domain.rows)
        result[name] = DomainDraw(
            available=domain.rows,
            rows=distinct[0],
            draws=draws[index],
            tokens=None if domain.lengths is None else tokens[index],
            trained_tokens=None if domain.trained is None else trained[index],
            max_repeats=distinct[1],
            share=weights[index] / sum(weights),
        )
    return result


def _distinct(
    count: int, size: int, epochs: int, draws: int, redraw: bool
) -> tuple[int, int] | None:
    """Return how many rows are distinct and how often the most frequent one is drawn.

    None if the counts do not determine the two numbers.

    Args:
        count: draws of a whole epoch.
        size: rows of the domain.
        epochs: number of whole epochs.
        draws: draws of all epochs, of which the last may be partial.
        redraw: as in `domain_draws`.
    """
    part = draws - epochs * count
    if redraw:
        # Each epoch takes the next window of the ranking, which wraps around at its end.
        if part and (epochs + 1) * count > size:
            return None
        return min(draws, size), -(-draws // size)
    if part and count > size:
        return None
    rows = min(count, size) if epochs else draws
    return rows, epochs * -(-count // size) + (part > 0)


def _distinct_in_order(order: Rows, offset: int, size: int) -> tuple[int, int]:
    """Return the two numbers of `_distinct` for a domain, counted in the order itself."""
    times = np.bincount(order[(order >= offset) & (order < offset + size)] - offset, minlength=size)
    return int(np.count_nonzero(times)), int(times.max())
