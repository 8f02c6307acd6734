"""Finds texts that share a long run of words with an item of a benchmark.

A text is contaminated by an item if it holds 13 words of the item in a row, or half of the item's
different runs of 8 words. The length 13 is the longest that GPT-3's authors used (Brown et al.
2020, https://arxiv.org/abs/2005.14165, appendix C); runs of 8 words, with a share of 70%, are the
rule of PaLM (Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311, section 8). A run of words
that more than 10 items hold is boilerplate and does not count.

Words are compared in lower case and without punctuation. Each run of words is a 64-bit hash, which
numpy computes for millions of words at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

LONG: Final = 13
SHORT: Final = 8
SHARE: Final = 0.5
MOST_ITEMS: Final = 10
"""A run of words that more items hold does not count."""
RULE: Final = f"{LONG} words in a row, or {SHARE:.0%} of the item's runs of {SHORT} words"
DIGESTED_RULE: Final = f"1: {RULE}, {MOST_ITEMS} items"
"""The rule in every detail; its number changes when the comparison of words does."""

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_CHUNK: Final = 1 << 21
"""Bytes of text that are hashed at a time."""
_FILTER_BITS: Final = 22
_SEPARATE: Final = re.compile(r"([\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
"""Characters of scripts without spaces, each of which counts as a word."""
_NO_WORD: Final = re.compile(r"[^\w]+")


Matches = NDArray[np.int64]
"""Texts that are contaminated by items, shape (matches, 4).

The columns are the number of the text, the number of the item, the first word of the item that both
hold, and the number of words.
"""


def no_matches() -> Matches:
    """Return matches of nothing."""
    return np.zeros((0, 4), np.int64)


def _odd(seed: int) -> NDArray[np.uint64]:
    numbers = np.random.default_rng(seed).integers(0, 2**63, 512, dtype=np.uint64)
    odd: Words = numbers * np.uint64(2) + np.uint64(1)
    return odd


def _byte_values() -> NDArray[np.uint64]:
    """Return a random value of each byte; 0 for those that are not part of a word."""
    values = _odd(1)[:256]
    letters = np.zeros(256, bool)
    for byte in b"abcdefghijklmnopqrstuvwxyz0123456789_":
        letters[byte] = True
    letters[128:] = True  # of characters beyond ASCII, which `_plain` has checked
    values[~letters] = 0
    for upper, lower in zip(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz", strict=True
    ):
        values[upper] = values[lower]
    return values


_VALUES: Final = _byte_values()
_BASE: Final = int(_odd(2)[0])
_POWERS: Final = np.cumprod(np.full(4096, _BASE, np.uint64), dtype=np.uint64)
_STEP: Final = np.uint64(int(_odd(3)[0]))


def _plain(text: str) -> bytes:
    """Return a text in which each byte shows whether it is part of a word."""
    if text.isascii():
        return text.encode()
    text = _SEPARATE.sub(r" \1 ", _NO_WORD.sub(" ", text.lower()))
    return text.encode("utf-8", "replace")


def _words(text: str) -> list[str]:
    """Return the words of a text as they are hashed, for a reader."""
    words = re.findall(rb"[a-zA-Z0-9_\x80-\xff]+", _plain(text))
    return [word.decode("utf-8", "replace").lower() for word in words]


def _hashed_words(texts: Sequence[bytes]) -> tuple[Words, Numbers]:
    """Return the hash of each word of some texts, and the number of its text."""
    lengths = np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts))
    data = np.frombuffer(b"\n" + b"\n".join(texts) + b"\n", np.uint8)
    values = _VALUES[data]
    is_word = values != 0
    changes = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    starts, ends = changes[::2], changes[1::2]
    # A word's hash is the sum of its bytes' values times the powers of their places in it.
    places = np.arange(len(data)) - np.repeat(
        np.concatenate([[0], starts]), np.diff(np.concatenate([[0], starts, [len(data)]]))
    )
    weighted = values * _POWERS[np.minimum(places, len(_POWERS) - 1)]
    bounds = np.stack([starts, ends], axis=1).ravel()
    sums = np.add.reduceat(weighted, bounds)[::2] if len(bounds) else np.zeros(0, np.uint64)
    text_of = np.searchsorted(np.cumsum(lengths), starts - 1, side="right")
    return _mixed(sums), text_of


def _mixed(numbers: Words) -> Words:
    numbers = (numbers ^ (numbers >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    mixed: Words = numbers ^ (numbers >> np.uint64(29))
    return mixed


def _runs(words: Words, length: int) -> Words:
    """Return the hash of each run of some words, by its first word."""
    if len(words) < length:
        return np.zeros(0, np.uint64)
    if length == 1:
        return words
    half = length // 2
    first, rest = _runs(words, half), _runs(words, length - half)
    power = np.uint64(pow(int(_STEP), length - half, 1 << 64))
    count = len(words) - length + 1
    runs: Words = first[:count] * power + rest[half : half + count]
    return runs


def _whole(text_of: Numbers, length: int) -> NDArray[np.bool_]:
    """Return, for each run of words, whether it lies within one text."""
    whole: NDArray[np.bool_] = text_of[: len(text_of) - length + 1] == text_of[length - 1 :]
    return whole


class _Table:
    """The runs of a length that the items hold."""

    def __init__(self, words: Words, item_of: Numbers, length: int) -> None:
        self.length = length
        runs = _mixed(_runs(words, length))
        whole = _whole(item_of, length) if len(runs) else np.zeros(0, bool)
        runs, items, places = runs[whole], item_of[: len(runs)][whole], np.flatnonzero(whole)
        order = np.lexsort((places, items, runs))
        runs, items, places = runs[order], items[order], places[order]
        new = np.ones(len(runs), bool)
        new[1:] = (runs[1:] != runs[:-1]) | (items[1:] != items[:-1])
        runs, self.items, self.places = runs[new], items[new], places[new]
        unique, begins, counts = np.unique(runs, return_index=True, return_counts=True)
        counted = counts <= MOST_ITEMS
        self.runs: Words = unique[counted]
        self.begins, self.counts = begins[counted], counts[counted]
        items_that_count = self.items[np.repeat(counted, counts)]
        self.sizes = np.bincount(items_that_count, minlength=int(item_of.max(initial=0)) + 1)
        self.filter = np.zeros(1 << _FILTER_BITS, bool)
        self.filter[self._slot(self.runs)] = True

    @staticmethod
    def _slot(runs: Words) -> NDArray[np.uint64]:
        slots: Words = runs >> np.uint64(64 - _FILTER_BITS)
        return slots

    def shared(self, words: Words, text_of: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Return the texts, items and places in the items of all runs that both hold."""
        runs = _mixed(_runs(words, self.length))
        at = np.flatnonzero(self.filter[self._slot(runs)])
        if len(at) and len(self.runs):
            at = at[text_of[at] == text_of[at + self.length - 1]]
            index = np.minimum(np.searchsorted(self.runs, runs[at]), len(self.runs) - 1)
            same = self.runs[index] == runs[at]
            at, index = at[same], index[same]
        else:
            at = index = np.zeros(0, np.int64)
        counts = self.counts[index]
        entries = np.repeat(self.begins[index] - np.cumsum(counts) + counts, counts)
        entries = entries + np.arange(len(entries))
        return np.repeat(text_of[at], counts), self.items[entries], self.places[entries]


class NGramIndex:
    """The runs of words of a benchmark's items.

    Args:
        items: the text of each item.
    """

    def __init__(self, items: Sequence[str]) -> None:
        self._words, item_of = _hashed_words([_plain(item) for item in items])
        self._first_word = np.searchsorted(item_of, np.arange(len(items)))
        self._items = items
        self._count = max(len(items), 1)
        self._long, self._short = (
            _Table(self._words, item_of, LONG),
            _Table(self._words, item_of, SHORT),
        )
        words = np.bincount(item_of, minlength=len(items))
        self.too_short = np.flatnonzero(words[: len(items)] < SHORT)
        """The numbers of the items that have too few words to be searched for."""

    def matches(self, texts: Sequence[str]) -> Matches:
        """Return each pair of a text and an item that contaminates it."""
        start, size, chunk, parts = 0, 0, [], [no_matches()]
        for number, text in enumerate(texts):
            chunk.append(_plain(text))
            size += len(chunk[-1])
            if size >= _CHUNK or number == len(texts) - 1:
                parts.append(self._matches(chunk, start))
                start, size, chunk = number + 1, 0, []
        return np.concatenate(parts)

    def words(self, item: int, first: int, count: int) -> str:
        """Return some words of an item as they are compared, for a reader."""
        return " ".join(_words(self._items[item])[first : first + count])

    def _matches(self, texts: Sequence[bytes], start: int) -> Matches:
        words, text_of = _hashed_words(texts)
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for text, item, place in zip(*self._long.shared(words, text_of), strict=True):
            found.setdefault((int(text), int(item)), (int(place), LONG))
        text, item, place = self._short.shared(words, text_of)
        if len(text):
            different = np.unique(np.stack([text, item, place]), axis=1)
            pairs, first, counts = np.unique(
                different[0] * self._count + different[1], return_index=True, return_counts=True
            )
            enough = counts >= SHARE * self._short.sizes[pairs % self._count]
            for pair, at in zip(pairs[enough], first[enough], strict=True):
                key = (int(pair // self._count), int(pair % self._count))
                found.setdefault(key, (int(different[2][at]), SHORT))
        return np.asarray(
            [
                (start + number, item, word - int(self._first_word[item]), length)
                for (number, item), (word, length) in sorted(found.items())
            ],
            np.int64,
        ).reshape(-1, 4)
