"""Records how many rows each step of Axolotl's preparation leaves out.

Axolotl only logs these numbers, and only when it tokenises. They are therefore written beside the
prepared rows, where a later run finds them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from axolotl.utils.data import sft
from axolotl.utils.data.shared import get_prepared_dataset_path
from axolotl.utils.dict import DictDefault
from datasets import Dataset

from axolotl_dmt.files import read_json, write_json
from axolotl_dmt.training.tokenised_rows import row_digests, token_counts, trained_counts

FILE = "dmt_row_counts.json"
"""The file beside the prepared rows that holds the counts."""


def recorded_counts(folder: Path) -> dict[str, int]:
    """Return the counts beside prepared rows, by field of `RowCounts`; empty if there are none."""
    try:
        counts: dict[str, int] = read_json(folder / FILE)
    except (OSError, ValueError):
        return {}
    return counts


@contextlib.contextmanager
def counting_rows() -> Iterator[None]:
    """On entry, let Axolotl's preparation write its counts; on exit, restore its functions.

    The functions of `axolotl.utils.data.sft` that drop rows are wrapped, because nothing else
    reveals what they drop.
    """
    counts: dict[str, int] = {}
    wrappers: dict[str, Callable[..., Any]] = {
        "get_dataset_wrapper": _reading,
        "handle_long_seq_in_dataset": _measuring,
        "process_datasets_for_packing": _dropping_untrained,
        "deduplicate_and_log_datasets": _deduplicating,
        "save_preprocessed_dataset": _saving,
    }
    originals = {name: getattr(sft, name) for name in wrappers}
    for name, wrapper in wrappers.items():
        setattr(sft, name, wrapper(originals[name], counts))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(sft, name, original)


def _reading(original: Callable[..., Any], counts: dict[str, int]) -> Callable[..., Any]:
    def read(*args: Any, **kwargs: Any) -> Any:
        if isinstance(dataset := kwargs.get("dataset"), Dataset):
            counts["read"] = counts.get("read", 0) + len(dataset)  # once for each shard
        return original(*args, **kwargs)

    return read


def _measuring(original: Callable[..., Any], counts: dict[str, int]) -> Callable[..., Any]:
    def measure(dataset: Dataset, sequence_len: int, cfg: DictDefault) -> Dataset:
        kept = original(dataset, sequence_len, cfg)
        if "input_ids" not in dataset.column_names:
            return kept
        longer = int((token_counts(dataset) > sequence_len).sum())
        truncates = str(cfg.excess_length_strategy or "drop").lower() == "truncate"
        too_long = 0 if truncates else longer
        counts["tokenised"] = len(dataset)
        counts["too_long"] = too_long
        counts["too_short"] = len(dataset) - len(kept) - too_long
        counts["truncated"] = longer - too_long
        return kept

    return measure


def _dropping_untrained(original: Callable[..., Any], counts: dict[str, int]) -> Callable[..., Any]:
    def drop(cfg: DictDefault, dataset: Dataset, tests: Any) -> Any:
        kept = original(cfg, dataset, tests)
        counts["untrained"] = len(dataset) - len(kept[0])
        return kept

    return drop


def _deduplicating(original: Callable[..., Any], counts: dict[str, int]) -> Callable[..., Any]:
    def deduplicate(*, dataset: Dataset, **kwargs: Any) -> Any:
        kept = original(dataset=dataset, **kwargs)
        removed = len(dataset) - len(kept[0])
        # A row without a trained token counts as such, as it does with `sample_packing`.
        untrained = _untrained(dataset) - _untrained(kept[0])
        counts["untrained"] = counts.get("untrained", 0) + untrained
        counts["duplicates"] = removed - untrained
        return kept

    return deduplicate


def _untrained(rows: Dataset) -> int:
    return int((trained_counts(rows) == 0).sum()) if _has_labels(rows) else 0


def _has_labels(rows: Dataset) -> bool:
    """Return whether the labels are whole numbers; if not, the rows are refused later."""
    items = getattr(rows.features.get("labels"), "feature", None)
    return str(getattr(items, "dtype", "")).startswith("int")


def _saving(original: Callable[..., Any], counts: dict[str, int]) -> Callable[..., Any]:
    def save(cfg: DictDefault, dataset: Dataset, dataset_hash: str, split: str) -> None:
        with _saved_by_this_process(dataset):
            original(cfg, dataset, dataset_hash, split)
        folder = Path(get_prepared_dataset_path(cfg, dataset_hash))
        if split == "train" and _has_labels(dataset) and folder.is_dir():
            digests = row_digests(dataset)[trained_counts(dataset) > 0]
            write_json(folder / FILE, {**counts, "copies": len(digests) - len(np.unique(digests))})
        counts.clear()

    return save


@contextlib.contextmanager
def _saved_by_this_process(dataset: Dataset) -> Iterator[None]:
    """On entry, let the dataset be saved without a worker if one is enough; on exit, undo that.

    `datasets` starts a process even for one worker. It imports Axolotl first, which takes longer
    than to tokenise a small dataset, and each dataset of a YAML is saved on its own.
    """
    original = dataset.save_to_disk

    def save(*args: Any, num_proc: int | None = None, **kwargs: Any) -> None:
        original(*args, num_proc=None if num_proc == 1 else num_proc, **kwargs)

    dataset.save_to_disk = save
    try:
        yield
    finally:
        del dataset.save_to_disk
