"""The orders in which the rows of an epoch are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Lengths, Rows
from axolotl_dmt.plan.permutation import Permutation, derive_key, for_chunks

SHUFFLE_BATCHES = 50
"""Global batches that `length_grouped` sorts together: more of them mean less padding and less
randomness."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The rows of one epoch of one stage, before they are ordered.

    Args:
        rows: global row ids, shape (draws,), one domain after another. An order must not change
            this array.
        counts: number of rows of each domain in `rows`, shape (domains,), in the order of the
            pools; for `blocks`, in the order of the mix. Domains without rows are left out.
        domains: the names of the domains in `counts`.
        key: a 64-bit key for this stage and epoch.
        global_batch: rows of an optimiser step.
        offset: rows of the previous epoch in the optimiser step in which this epoch starts.
        lengths: returns the lengths of global row ids; raises ValueError if they are unknown.
        out: an array like `rows` to which an order may write its result, to save memory.
    """

    rows: Rows
    counts: NDArray[np.int64]
    domains: tuple[str, ...]
    key: int
    global_batch: int
    offset: int
    lengths: Callable[[Rows], Lengths]
    out: Rows

    def permutation(self, purpose: str, size: int) -> Permutation:
        """Return a random permutation for one purpose within this epoch."""
        return Permutation(size, derive_key(self.key, purpose))


Order = Callable[[Epoch], Rows]
"""Returns the rows of an epoch in training order, each as often as the epoch holds it."""


def shuffle(epoch: Epoch) -> Rows:
    """Return all rows in random order."""
    _shuffle(epoch.rows, epoch.permutation("shuffle", len(epoch.rows)), epoch.out)
    return epoch.out


def blocks(epoch: Epoch) -> Rows:
    """Return one domain after another, in the order of the mix, each of them shuffled."""
    ends = np.cumsum(epoch.counts)
    for name, start, end in zip(epoch.domains, ends - epoch.counts, ends, strict=True):
        permutation = epoch.permutation(f"domain {name}", int(end - start))
        _shuffle(epoch.rows[start:end], permutation, epoch.out[start:end])
    return epoch.out


def round_robin(epoch: Epoch) -> Rows:
    """Return the domains evenly interleaved, each of them shuffled.

    After any number of rows each domain is less than one row away from its exact share.
    """
    interleave(blocks(replace(epoch, out=np.empty_like(epoch.rows))), epoch.counts, epoch.out)
    return epoch.out


def length_grouped(epoch: Epoch) -> Rows:
    """Return the rows so that those of an optimiser step have similar lengths.

    The shuffled epoch is cut into groups of `SHUFFLE_BATCHES` global batches, each group is sorted
    by length, and the batches are shuffled. The rows of the first and the last step stay shuffled
    if the epoch does not fill these steps alone.

    Raises:
        ValueError: the lengths are unknown.
    """
    rows, batch = shuffle(epoch), epoch.global_batch
    head = min(-epoch.offset % batch, len(rows))
    batches = (len(rows) - head) // batch
    if not batches:
        return rows
    middle = rows[head : head + batches * batch]
    for start in range(0, len(middle), batch * SHUFFLE_BATCHES):
        group = middle[start : start + batch * SHUFFLE_BATCHES]
        group[:] = group[np.argsort(epoch.lengths(group), kind="stable")]
    mixed = epoch.permutation("batches", batches).range(0, batches)
    middle[:] = middle.reshape(batches, batch)[mixed].reshape(-1)
    return rows


def sequential(epoch: Epoch) -> Rows:
    """Return the rows in the order of `datasets` and of their files, the same in each epoch.

    The datasets of a domain follow one another.
    """
    epoch.out[:] = epoch.rows
    epoch.out.sort()
    return epoch.out


ORDERS: Mapping[str, Order] = {
    "shuffle": shuffle,
    "round_robin": round_robin,
    "blocks": blocks,
    "length_grouped": length_grouped,
    "sequential": sequential,
}


def find_order(name: str, key: str, orders: Mapping[str, Order] | None = None) -> Order:
    """Return the order with a name: one of `ORDERS`, or one that a hook registered.

    Args:
        name: the name of the order.
        key: the YAML key that an error names.
        orders: the orders that hooks registered, by name.

    Raises:
        DMTError: no order has this name.
    """
    by_name = {**ORDERS, **(orders or {})}
    if name not in by_name:
        raise DMTError(key, f"unknown order {name!r}", f"use one of {', '.join(by_name)}")
    return by_name[name]


def _shuffle(rows: Rows, permutation: Permutation, out: Rows) -> None:
    def work(start: int, stop: int) -> None:
        # Indices are in range by construction; with "clip" numpy needs no buffered copy.
        np.take(rows, permutation.range(start, stop), out=out[start:stop], mode="clip")

    for_chunks(work, len(rows))


def interleave(rows: Rows, counts: NDArray[np.int64], out: Rows) -> None:
    """Interleave several queues as evenly as possible.

    Unit j of a queue with n of the N units is released at position floor(j N / n), and its deadline
    is position ceil((j + 1) N / n). Serving the released unit with the earliest deadline always
    meets all deadlines (Tijdeman, 1980; Steiner and Yeomans, 1993). After p units, for every p,
    each queue is then less than one unit away from p n / N.

    Args:
        rows: the queues, one after another, shape (N,).
        counts: units of each queue, each at least 1, shape (queues,).
        out: the array to fill with the units in the order in which they are served, shape (N,).
    """
    _serve_earliest_deadline()(rows, np.asarray(counts, np.int64), out)


@cache
def _serve_earliest_deadline() -> Callable[[Rows, NDArray[np.int64], Rows], Any]:
    """Return `_serve`, compiled if numba is installed.

    The loop cannot be vectorised, since each position depends on all earlier ones.
    """
    try:
        from numba import njit
    except ImportError:  # the same result, but slower
        return _serve
    compiled: Callable[[Rows, NDArray[np.int64], Rows], Any] = njit(nogil=True)(_serve)
    return compiled


def _serve(rows: Rows, counts: NDArray[np.int64], out: Rows) -> None:
    queues, total = len(counts), out.size
    first, served = np.cumsum(counts) - counts, np.zeros(queues, np.int64)
    release, deadline = np.zeros(queues, np.int64), -(-total // counts)
    for position in range(total):
        best, earliest = -1, total + 1
        for queue in range(queues):
            if release[queue] <= position and deadline[queue] < earliest:
                best, earliest = queue, deadline[queue]
        out[position] = rows[first[best] + served[best]]
        served[best] += 1
        if served[best] < counts[best]:
            release[best] = served[best] * total // counts[best]
            deadline[best] = -(-(served[best] + 1) * total // counts[best])
        else:
            release[best] = total
