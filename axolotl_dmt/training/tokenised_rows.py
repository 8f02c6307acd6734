"""Counts and digests of tokenised rows, computed on their Arrow columns."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

IGNORED = -100
"""The label of a token that adds nothing to the loss (PyTorch's `ignore_index`)."""


def arrow_column(rows: Dataset, name: str) -> pa.ChunkedArray:
    """Return a column of the rows as Arrow stores it."""
    plain = rows if rows._indices is None else rows.flatten_indices()
    return plain.data.column(name)


def content_digest(rows: Dataset) -> str:
    """Return a hex digest of the rows' tokens and labels, which does not depend on storage."""
    rows = rows if rows._indices is None else rows.flatten_indices()
    digest = blake2b(token_counts(rows).astype("<i4").tobytes(), digest_size=16)
    for name in ("input_ids", "labels"):
        for chunk in arrow_column(rows, name).chunks:
            digest.update(np.ascontiguousarray(chunk.flatten().to_numpy().astype("<i4")).data)
    return digest.hexdigest()


def token_counts(rows: Dataset) -> NDArray[np.int32]:
    """Return the number of tokens of each row, shape (rows,)."""
    return pc.list_value_length(arrow_column(rows, "input_ids")).to_numpy().astype(np.int32)


def trained_counts(rows: Dataset) -> NDArray[np.int32]:
    """Return the number of unmasked tokens of each row, shape (rows,)."""
    counts = []
    for chunk in arrow_column(rows, "labels").chunks:
        offsets = chunk.offsets.to_numpy()
        values = chunk.values.slice(offsets[0], offsets[-1] - offsets[0]).to_numpy()
        running = np.concatenate([[0], np.cumsum(values != IGNORED)])
        bounds = running[offsets - offsets[0]]
        counts.append((bounds[1:] - bounds[:-1]).astype(np.int32))
    return np.concatenate(counts) if counts else np.zeros(0, np.int32)
