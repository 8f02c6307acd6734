"""Counts and digests of tokenised rows, computed on their Arrow columns."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

IGNORED = -100
"""The label of a token that adds nothing to the loss (PyTorch's `ignore_index`)."""


TAKEN_AT_ONCE = 2**16
"""Rows that are copied at once from a dataset with chosen rows; few enough for 32-bit offsets."""


def arrow_chunks(rows: Dataset, name: str) -> Iterator[pa.Array]:
    """Yield a column of the rows in parts, as Arrow stores them.

    `Dataset.flatten_indices` would write all columns to a file, a minute for a million rows.
    """
    column: pa.ChunkedArray = rows.data.column(name)
    chosen = _chosen(rows)
    if chosen is None:
        yield from column.chunks
        return
    for start in range(0, len(chosen), TAKEN_AT_ONCE):
        yield from column.take(pa.array(chosen[start : start + TAKEN_AT_ONCE])).chunks


def _chosen(rows: Dataset) -> NDArray[np.int64] | None:
    """Return the positions of the rows in their table; None if they are all of it."""
    return None if rows._indices is None else rows._indices.column(0).to_numpy().astype(np.int64)


def arrow_column(rows: Dataset, name: str) -> pa.ChunkedArray:
    """Return a column of the rows as Arrow stores it."""
    return pa.chunked_array(list(arrow_chunks(rows, name)), rows.data.column(name).type)


def is_tokenised(rows: Dataset) -> bool:
    """Return whether the rows hold tokens, and not messages that the collator tokenises."""
    return "input_ids" in rows.column_names


def content_digest(rows: Dataset) -> str:
    """Return a hex digest of the rows' tokens and labels, which does not depend on storage."""
    digest = blake2b(token_counts(rows).astype("<i4").tobytes(), digest_size=16)
    for name in ("input_ids", "labels"):
        for chunk in arrow_chunks(rows, name):
            digest.update(np.ascontiguousarray(chunk.flatten().to_numpy().astype("<i4")).data)
    return digest.hexdigest()


def token_counts(rows: Dataset) -> NDArray[np.int32]:
    """Return the number of tokens of each row, shape (rows,)."""
    counts = pc.list_value_length(rows.data.column("input_ids")).to_numpy().astype(np.int32)
    chosen = _chosen(rows)
    return counts if chosen is None else counts[chosen]


def trained_counts(rows: Dataset) -> NDArray[np.int32]:
    """Return the number of unmasked tokens of each row, shape (rows,)."""
    counts = []
    for chunk in arrow_chunks(rows, "labels"):
        offsets = chunk.offsets.to_numpy()
        values = chunk.values.slice(offsets[0], offsets[-1] - offsets[0]).to_numpy()
        running = np.concatenate([[0], np.cumsum(values != IGNORED)])
        bounds = running[offsets - offsets[0]]
        counts.append((bounds[1:] - bounds[:-1]).astype(np.int32))
    return np.concatenate(counts) if counts else np.zeros(0, np.int32)


def row_digests(rows: Dataset) -> NDArray[np.uint64]:
    """Return a digest of each row's tokens and labels, shape (rows,), equal for equal rows."""
    columns = []
    for name in ("input_ids", "labels"):
        digests = []
        for chunk in arrow_chunks(rows, name):
            offsets = chunk.offsets.to_numpy()
            first = int(offsets[0])
            values = chunk.values.slice(first, int(offsets[-1]) - first).to_numpy()
            data = np.ascontiguousarray(values.astype("<i4")).data.cast("B")
            bounds = (4 * (offsets.astype(np.int64) - first)).tolist()
            digests += [
                blake2b(data[start:stop], digest_size=8).digest()
                for start, stop in pairwise(bounds)
            ]
        columns.append(np.frombuffer(b"".join(digests), "<u8"))
    tokens, labels = columns
    # An odd factor keeps two columns of the same content from cancelling out.
    mixed: NDArray[np.uint64] = tokens * np.uint64(0x9E3779B97F4A7C15) + labels
    return mixed
