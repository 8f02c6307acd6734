"""Rank all rows of a domain; a part of the domain is the first n rows of the ranking.

Subsets are therefore nested: the 1/256 subset lies within the 1/64 subset. The random ranking
depends only on the seed, the domain's name and its number of rows. Other domains, the batch size
and the number of devices cannot change which rows are taken, and all stages with the same selection
draw from the same ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Domain, Lengths, Rows
from axolotl_dmt.plan.permutation import Permutation, derive_key, for_chunks

Selector = Callable[[Domain, int], NDArray[Any]]
"""Takes a domain and a 64-bit key and ranks the rows: every row once, the best row first."""

SELECTIONS = ("random", "first", "longest", "shortest")
BY_LOSS = "loss:hardest"
"""The selection of `dmt.replay`: the highest loss first. At a tie the lower row number comes first;
rows without a loss come last."""
_BLOCK = 1 << 18


class Ranking:
    """All rows of a domain, in the order in which they are taken.

    Args:
        domain: the pool, with at least one row.
        method: random, first, longest, shortest, score:<column>, loss:hardest, or a key of
            `selectors`.
        seed: the plan's seed.
        key: the YAML key that an error names.
        selectors: further methods by name.
        learned: whether an earlier stage chose each row, shape (rows,). The method by loss takes
            these rows first. None if no row was chosen before.

    Raises:
        DMTError: the method is unknown, or needs lengths, losses or a column that the domain lacks.
    """

    def __init__(
        self,
        domain: Domain,
        method: str,
        seed: int,
        key: str,
        selectors: Mapping[str, Selector] | None = None,
        learned: NDArray[np.bool_] | None = None,
    ) -> None:
        self.domain, self.size = domain, domain.rows
        self._permutation: Permutation | None = None
        self._table: NDArray[Any] | None = None
        self._token_sums: NDArray[np.int64] | None = None
        random_key = derive_key(seed, "select", domain.name)
        if method == "random":
            self._permutation = Permutation(self.size, random_key)
        elif method in (selectors or {}):
            table = np.asarray((selectors or {})[method](domain, random_key))
            self._table = _checked(table, domain, method, key)
        elif method == BY_LOSS:
            self._table = _by_loss(domain, key, learned)
        elif method != "first":
            self._table = np.argsort(_sort_keys(domain, method, key, selectors), kind="stable")

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Return the local row numbers at ranks start .. stop-1; 0 <= start <= stop <= size."""
        if self._permutation is not None:
            return self._permutation.range(start, stop)
        if self._table is not None:
            return self._table[start:stop]
        return np.arange(start, stop)

    def fill(self, out: Rows, start: int, offset: int) -> None:
        """Write the rows at ranks start, start+1, ... into `out`, and wrap around at the end.

        Args:
            out: array of any length to fill. A whole pass is written in pool order.
            start: the first rank, zero or more.
            offset: number that is added to each local row number.
        """
        done, rank = 0, start % self.size
        while done < len(out):
            take = min(self.size - rank, len(out) - done)
            part = out[done : done + take]
            whole = take == self.size

            def work(
                a: int, b: int, part: Rows = part, rank: int = rank, whole: bool = whole
            ) -> None:
                rows = np.arange(a, b) if whole else self.rows(rank + a, rank + b)
                np.add(rows, offset, out=part[a:b], casting="same_kind")

            for_chunks(work, take)
            done, rank = done + take, 0

    def tokens(self, count: int) -> int:
        """Return the tokens of the first `count` draws; after `size` draws the ranking restarts."""
        sums = self._sums()
        passes, remainder = divmod(count, self.size)
        block = remainder // _BLOCK
        tail = self._lengths()[self.rows(block * _BLOCK, remainder)].sum(dtype=np.int64)
        return passes * int(sums[-1]) + int(sums[block]) + int(tail)

    def count_for(self, tokens: float) -> int:
        """Return how many draws come closest to a budget of tokens; the smaller number at a tie."""
        sums = self._sums()
        total = int(sums[-1])
        if total == 0:
            return 0
        passes, remainder = divmod(tokens, total)
        block = int(np.searchsorted(sums, remainder, side="right")) - 1
        start, stop = block * _BLOCK, min((block + 1) * _BLOCK, self.size)
        reached = sums[block] + np.cumsum(self._lengths()[self.rows(start, stop)], dtype=np.int64)
        index = int(np.searchsorted(reached, remainder, side="left"))
        below = int(reached[index - 1]) if index else int(sums[block])
        nearer_above = int(reached[index]) - remainder < remainder - below
        return int(passes) * self.size + start + index + nearer_above

    def _lengths(self) -> Lengths:
        assert self.domain.lengths is not None, "callers check that lengths are known"
        return self.domain.lengths

    def _sums(self) -> NDArray[np.int64]:
        """Return the tokens before each block of ranks, and the total as the last element."""
        if self._token_sums is None:
            lengths = self._lengths()

            def work(a: int, b: int) -> int:
                return int(lengths[self.rows(a, b)].sum(dtype=np.int64))

            blocks = for_chunks(work, self.size, _BLOCK)
            self._token_sums = np.concatenate([[0], np.cumsum(blocks, dtype=np.int64)])
        return self._token_sums


def _sort_keys(
    domain: Domain, method: str, key: str, selectors: Mapping[str, Selector] | None
) -> NDArray[Any]:
    """Return the numbers by which a sorting method ranks the rows, the smallest first.

    Raises:
        DMTError: the method is unknown, or the domain lacks the column.
    """
    if method in ("longest", "shortest"):
        if domain.lengths is None:
            raise DMTError(
                key, f"{method} needs the rows' lengths, which are unknown", "use random"
            )
        lengths = domain.lengths.astype(np.int64)
        return lengths if method == "shortest" else -lengths
    kind, _, column = method.partition(":")
    if kind == "score" and column in domain.scores:
        return -domain.scores[column].astype(np.float64)  # NaN sorts last either way
    if kind == "score":
        columns = ", ".join(sorted(domain.scores)) or "none"
        problem = f"domain {domain.name} has no column {column!r}"
        raise DMTError(key, problem, f"its number columns: {columns}")
    methods = ", ".join([*SELECTIONS, "score:<column>", *sorted(selectors or {})])
    raise DMTError(key, f"unknown selection {method!r}", f"use one of {methods}")


def _by_loss(domain: Domain, key: str, learned: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return the rows by loss, the highest first; those that an earlier stage chose come first.

    Raises:
        DMTError: the domain has no losses.
    """
    if domain.losses is None:
        raise DMTError(key, f"{BY_LOSS} needs the rows' losses", "name them in dmt.replay.losses")
    not_learned = np.zeros(domain.rows, bool) if learned is None else ~learned
    # lexsort takes its last key as the first criterion, and sorts NaN to the end.
    ranked: NDArray[Any] = np.lexsort((-domain.losses, not_learned))
    return ranked


def _checked(table: NDArray[Any], domain: Domain, method: str, key: str) -> NDArray[Any]:
    """Return a hook's ranking after checking that it holds every row once.

    Raises:
        DMTError: the ranking does not hold every row once.
    """
    if table.shape != (domain.rows,) or not np.array_equal(np.sort(table), np.arange(domain.rows)):
        raise DMTError(
            key,
            f"selector {method!r} must rank each of the {domain.rows} rows of {domain.name!r} once",
            "repair the hook that registers it",
        )
    return table.astype(np.int64)
