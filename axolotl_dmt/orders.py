"""In what order an epoch's rows are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.inputs import Lengths, Rows
from axolotl_dmt.permutation import Permutation, derive_key, for_chunks

SHUFFLE_BATCHES = 50
"""Global batches that `length_grouped` sorts together; more is less padding and less chance."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The rows of one epoch of one stage, waiting for an order.

    Args:
        rows: global row ids, shape (draws,), domain after domain. Not to be changed.
        counts: how many of `rows` each domain has, in that order, shape (domains,). Only domains
            with rows are here, in the order of the pool; for `blocks`, in the order of the mix.
        domains: their names.
        key: a 64-bit key for this stage and epoch.
        global_batch: rows of an optimiser step.
        offset: rows that the step in which the epoch starts already holds.
        lengths: gives the lengths of global row ids; a ValueError where they are unknown.
        out: an array like `rows` in which an order may write what it returns, to spare memory.
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
        """A random permutation for one use within this epoch."""
        return Permutation(size, derive_key(self.key, purpose))


Order = Callable[[Epoch], Rows]
"""Gives the epoch's rows in training order: the same rows, each as often."""


def shuffle(epoch: Epoch) -> Rows:
    """All rows in random order."""
    _shuffle(epoch.rows, epoch.permutation("shuffle", len(epoch.rows)), epoch.out)
    return epoch.out


def blocks(epoch: Epoch) -> Rows:
    """Domain after domain, in the order of the mix, shuffled within each."""
    ends = np.cumsum(epoch.counts)
    for name, start, end in zip(epoch.domains, ends - epoch.counts, ends, strict=True):
        permutation = epoch.permutation(f"domain {name}", int(end - start))
        _shuffle(epoch.rows[start:end], permutation, epoch.out[start:end])
    return epoch.out


def round_robin(epoch: Epoch) -> Rows:
    """Domains interleaved evenly, shuffled within each.

    After any number of rows each domain is less than one row away from its exact share.
    """
    interleave(blocks(replace(epoch, out=np.empty_like(epoch.rows))), epoch.counts, epoch.out)
    return epoch.out


def length_grouped(epoch: Epoch) -> Rows:
    """Rows of similar length share an optimiser step; the steps come in random order.

    The shuffled epoch is cut into groups of `SHUFFLE_BATCHES` global batches, each sorted by
    length, and the batches shuffled. The rows that fill the step in which the epoch starts and
    the one in which it ends are left as they were shuffled.
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


ORDERS: Mapping[str, Order] = {
    "shuffle": shuffle,
    "round_robin": round_robin,
    "blocks": blocks,
    "length_grouped": length_grouped,
}


def find_order(name: str, key: str, orders: Mapping[str, Order] | None = None) -> Order:
    """The order of that name, a hook's or one of `ORDERS`.

    Raises:
        DMTError: there is none.
    """
    known = {**ORDERS, **(orders or {})}
    if name not in known:
        raise DMTError(key, f"unknown order {name!r}", f"use one of {', '.join(known)}")
    return known[name]


def _shuffle(rows: Rows, permutation: Permutation, out: Rows) -> None:
    def work(start: int, stop: int) -> None:
        # Indices are in range by construction; "clip" spares numpy a buffered copy.
        np.take(rows, permutation.range(start, stop), out=out[start:stop], mode="clip")

    for_chunks(work, len(rows))


def interleave(rows: Rows, counts: NDArray[np.int64], out: Rows) -> None:
    """Interleave several queues as evenly as can be.

    Unit j of a queue with n of the N units may come from position floor(j N / n) on and must have
    come by position ceil((j + 1) N / n); serving the earliest deadline among those that may come
    always meets all deadlines (Tijdeman, 1980; Steiner and Yeomans, 1993), and then every queue is
    less than one unit away from p n / N after p units, for every p.

    Args:
        rows: the queues laid one after another, shape (N,).
        counts: units of each queue, each at least 1, shape (queues,).
        out: the units in the order served, shape (N,).
    """
    _serve_earliest_deadline()(rows, np.asarray(counts, np.int64), out)


@cache
def _serve_earliest_deadline() -> Callable[[Rows, NDArray[np.int64], Rows], Any]:
    """Compiled on first use, where numba is there: each position depends on all before it."""
    try:
        from numba import njit
    except ImportError:  # as right, but slow
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
