"""Digests of rows, of those that are tokenised and of those that the collator tokenises."""

from __future__ import annotations

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from axolotl_dmt.training import raw_rows, tokenised_rows
from axolotl_dmt.training.tokenised_rows import is_tokenised


def content_digest(rows: Dataset) -> str:
    """Return a hex digest of the rows' content, which does not depend on storage."""
    kind = tokenised_rows if is_tokenised(rows) else raw_rows
    return kind.content_digest(rows)


def row_digests(rows: Dataset) -> NDArray[np.uint64]:
    """Return a digest of each row's content, shape (rows,), equal for equal rows."""
    kind = tokenised_rows if is_tokenised(rows) else raw_rows
    return kind.row_digests(rows)
