"""Keyed random permutations of any size, whose elements are computed one by one.

A permutation of 10^8 rows needs no array of 10^8 numbers: each element follows from the key alone.
Selections are therefore nested, the same in every process, and computed in parallel. Small
permutations are sorted by a 64-bit hash instead, because the rounds mix few bits badly.

All arithmetic is on integers of fixed width, so that a plan is the same with any version of numpy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CHUNK: Final = 1 << 17
"""Elements that are computed at a time: few enough for a core's cache, enough for numpy's speed."""
SMALL: Final = 1 << 16
"""Up to this size a permutation is sorted by hash and held in memory."""
ROUNDS: Final = 6


def derive_key(seed: int, *purpose: str | int) -> int:
    """Return a 64-bit key that is unrelated to the key of any other purpose or seed.

    Args:
        seed: the user's seed.
        purpose: the use of the key, such as ("select", "math") or ("order", stage, epoch).
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *purpose))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply SplitMix64's finaliser (Steele, Lea and Flood, 2014), a bijection on 64 bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


def hashes(key: int, count: int) -> NDArray[np.uint64]:
    """Return the first `count` numbers of SplitMix64's stream for a key, shape (count,)."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return splitmix64(steps + np.uint64(key & (2**64 - 1)))


class Permutation:
    """A keyed permutation of 0 .. size-1.

    Above `SMALL` it is a bijection on the next power of two, made of `ROUNDS` rounds of xor with a
    key, multiplication by an odd key and a right xorshift. A value outside the range is mapped
    again until it falls inside (cycle walking, Black and Rogaway, 2002), so the map on the range
    is a bijection too.

    Args:
        size: number of elements, at least 1.
        key: from `derive_key`.
    """

    def __init__(self, size: int, key: int) -> None:
        self.size, self.key = size, key
        bits = (size - 1).bit_length()
        self.dtype: type[np.unsignedinteger[Any]] = np.uint32 if bits <= 31 else np.uint64
        mask = (1 << bits) - 1
        stream = [int(value) for value in hashes(key, 2 * ROUNDS)]
        self._mask, self._shift = self.dtype(mask), self.dtype((bits + 1) // 2)
        self._rounds = [
            (self.dtype(add & mask), self.dtype(multiply & mask | 1))
            for add, multiply in zip(stream[:ROUNDS], stream[ROUNDS:], strict=True)
        ]

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        return np.argsort(hashes(self.key, self.size), kind="stable")

    def range(self, start: int, stop: int) -> NDArray[np.int64] | NDArray[np.int32]:
        """Return elements start .. stop-1 of the permutation; int32 if the size fits."""
        if self.size <= SMALL:
            return self._table[start:stop]
        x = np.arange(start, stop, dtype=self.dtype)
        self._mix(x)
        outside = np.flatnonzero(x >= self.size)
        while outside.size:
            walking = x[outside]
            self._mix(walking)
            x[outside] = walking
            outside = outside[walking >= self.size]
        return x.view(np.int32 if self.dtype is np.uint32 else np.int64)

    def _mix(self, x: NDArray[Any]) -> None:
        """Apply all rounds to an array in place."""
        shifted = np.empty_like(x)
        for add, multiply in self._rounds:
            np.bitwise_xor(x, add, out=x)
            np.multiply(x, multiply, out=x)
            np.bitwise_and(x, self._mask, out=x)
            np.right_shift(x, self._shift, out=shifted)
            np.bitwise_xor(x, shifted, out=x)


def chunks(size: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges that cover 0 .. size-1 in order."""
    for start in range(0, size, chunk):
        yield start, min(start + chunk, size)


def for_chunks(work: Callable[[int, int], Any], size: int, chunk: int | None = None) -> list[Any]:
    """Run `work(start, stop)` over all chunks on a few threads, and return the results in order.

    Threads help because numpy releases the interpreter lock inside its loops. No two calls may
    write to the same place, so that the result does not depend on the number of threads.

    Args:
        work: takes the bounds of a chunk.
        size: number of elements.
        chunk: elements of a chunk; `CHUNK` if it is not given.
    """
    chunk = chunk or CHUNK
    if size <= chunk:
        return [work(0, size)] if size else []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        return list(pool.map(lambda bounds: work(*bounds), chunks(size, chunk)))
