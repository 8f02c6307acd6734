"""Digests of rows, of those that are tokenised and of those that the collator tokenises."""

from __future__ import annotations

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from axolotl_dmt.training import raw_rows, tokenised_rows
from axolotl_dmt.training.tokenised_rows import is_tokenised


def content_digest(rows: Dataset) -> str:
    """Return a hex digest of the rows' content, which does not depend on storage."""
    if is_tokenised(rows):
        return tokenised_rows.content_digest(rows)
    return raw_rows.content_digest(rows)


def row_digests(rows: Dataset) -> NDArray[np.uint64]:
    """Return a digest of each row's content, shape (rows,), equal for equal rows."""
    return tokenised_rows.row_digests(rows) if is_tokenised(rows) else raw_rows.row_digests(rows)
