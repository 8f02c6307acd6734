"""Searches the prepared rows of a run for the items of its evaluation files.

Tokenised rows are decoded, so that the text searched is the text trained on, whatever the dataset's
type.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from axolotl.loaders import load_tokenizer
from datasets import Dataset

from axolotl_dmt.checks.contamination import ContaminationSearch, batches_of_texts
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.training.pool import Parts, RowPool
from axolotl_dmt.training.raw_rows import plain_rows
from axolotl_dmt.training.tokenised_rows import is_tokenised

_BATCH = 4096


def search_pool(
    evaluate: EvaluateConfig | None, cfg: Any, pool: RowPool
) -> ContaminationSearch | None:
    """Search the rows to train on.

    Args:
        evaluate: the `dmt.evaluate` block.
        cfg: Axolotl's validated configuration.
        pool: the rows.

    Returns:
        The search with what it found; None where no evaluation file is local.

    Raises:
        DMTError: a row of an evaluation file cannot be scored.
    """
    search = ContaminationSearch.of(evaluate)
    if search is not None:
        tokenizer = load_tokenizer(cfg)
        for domain in pool.domains:
            rows, start = pool.rows_of(domain.name), 0
            for label, count in domain.datasets:
                texts = _texts(rows.select(range(start, start + count)), tokenizer)
                stop = start + count
                numbers = None if domain.numbers is None else domain.numbers[start:stop]
                search.add(domain.name, label, texts, numbers)
                start = stop
    return search


def without_contaminated(evaluate: EvaluateConfig | None, cfg: Any, parts: Parts) -> Parts:
    """Return the datasets of each domain without the rows that share text with an item.

    Args:
        evaluate: the `dmt.evaluate` block.
        cfg: Axolotl's validated configuration.
        parts: the datasets.

    Raises:
        DMTError: no evaluation file is local, or a domain would have no row left.
    """
    search = ContaminationSearch.of(evaluate)
    if search is None:
        problem = "none of the tasks reads a local file to compare the rows with"
        raise DMTError("dmt.decontaminate", problem, "name the files under dmt.evaluate.data")
    tokenizer = load_tokenizer(cfg)
    remaining: Parts = {}
    for domain, datasets in parts.items():
        remaining[domain] = [
            part.without(
                search.add(domain, part.label, _texts(part.rows, tokenizer)), "contaminated"
            )
            for part in datasets
        ]
        if not any(len(part.rows) for part in remaining[domain]):
            problem = f"every row of {domain} shares text with an item of an evaluation file"
            raise DMTError("dmt.decontaminate", problem, "train on other data, or remove the key")
    return remaining


def _texts(rows: Dataset, tokenizer: Any) -> Iterator[list[str]]:
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
