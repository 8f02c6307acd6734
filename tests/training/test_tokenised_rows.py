"""Counts and digests of tokenised rows do not depend on how the rows are stored or chosen."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from axolotl_dmt.training import tokenised_rows
from axolotl_dmt.training.tokenised_rows import (
    arrow_column,
    content_digest,
    row_digests,
    token_counts,
    trained_counts,
)


def rows_of(lengths: list[int]) -> Dataset:
    ids = [list(range(start, start + length)) for start, length in enumerate(lengths)]
    labels = [[-100 if token % 3 else token for token in row] for row in ids]
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


@pytest.mark.parametrize("at_once", [1, 3, 2**16])
@pytest.mark.parametrize("chosen", [[], [4], [0, 2, 5, 6], [6, 6, 1, 0]])
def test_chosen_rows_count_as_if_they_were_written(
    chosen: list[int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenised_rows, "TAKEN_AT_ONCE", at_once)
    lengths = [3, 1, 4, 1, 5, 9, 2]
    rows = rows_of(lengths).select(chosen)
    written = Dataset.from_dict(rows.to_dict(), features=rows.features)
    assert content_digest(rows) == content_digest(written)
    assert np.array_equal(row_digests(rows), row_digests(written))
    assert np.array_equal(trained_counts(rows), trained_counts(written))
    assert list(token_counts(rows)) == [lengths[index] for index in chosen]
    assert arrow_column(rows, "labels").to_pylist() == written["labels"][:]


def test_other_rows_and_another_order_have_another_digest() -> None:
    rows = rows_of([3, 1, 4])
    digests = {content_digest(rows.select(chosen)) for chosen in ([0, 1, 2], [0, 1], [1, 0, 2])}
    assert len(digests) == 3
