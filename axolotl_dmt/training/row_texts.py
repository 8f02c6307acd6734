"""The texts of prepared rows: tokenised rows are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datasets import Dataset

from axolotl_dmt.checks.contamination import batches_of_texts
from axolotl_dmt.training.raw_rows import plain_rows
from axolotl_dmt.training.tokenised_rows import is_tokenised

_BATCH = 4096


def texts_of(rows: Dataset, tokenizer: Any) -> Iterator[list[str]]:
    """Yield the texts of some rows at a time."""
    if is_tokenised(rows):
        tokens = rows.select_columns(["input_ids"]).with_format("arrow")
        for batch in tokens.iter(batch_size=_BATCH):
            yield _decoded(batch["input_ids"].to_pylist(), tokenizer)
        return
    yield from batches_of_texts(plain_rows(rows))


def _decoded(ids: list[list[int]], tokenizer: Any) -> list[str]:
    if getattr(tokenizer, "is_fast", False):  # all rows at once, in half the time
        texts: list[str] = tokenizer.backend_tokenizer.decode_batch(ids, skip_special_tokens=True)
    else:
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return texts
