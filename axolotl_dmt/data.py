"""Domains through Axolotl's own loaders and caches into one pool of tokenised rows.

Each dataset of the YAML is prepared on its own, so that its cache does not depend on the schedule:
after `axolotl preprocess`, another k, strategy or seed tokenises nothing. The pool is the prepared
datasets one after another, domain by domain, and one blank row at its end; the plan's row ids are
positions in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from axolotl.loaders import load_processor, load_tokenizer
from axolotl.utils.data import prepare_datasets
from axolotl.utils.dict import DictDefault
from axolotl.utils.distributed import barrier, is_distributed, is_local_main_process
from axolotl.utils.samplers.multipack import allocate_sequentially, pack_parallel
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.inputs import Domain, Packing

IGNORED = -100
"""Label of a token that adds nothing to the loss (PyTorch's `ignore_index`)."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """All rows that a run may train on.

    Attributes:
        dataset: the tokenised rows of all domains, then the blank row.
        domains: what the plan needs to know, in the pool's order.
        evaluation: Axolotl's `test_datasets`, prepared, or None.
    """

    dataset: Dataset
    domains: tuple[Domain, ...]
    evaluation: Dataset | None

    @property
    def blank(self) -> int:
        """Position of the blank row."""
        return len(self.dataset) - 1


def load_pool(
    cfg: DictDefault, dataset_domains: Sequence[str], columns: Sequence[str] = ()
) -> Pool:
    """Prepare every dataset and lay the rows out as the plan expects.

    Args:
        cfg: Axolotl's validated configuration.
        dataset_domains: the domain of each entry of `cfg.datasets`.
        columns: numeric columns that the plan wants to select by.

    Raises:
        DMTError: a dataset is empty after Axolotl's length filters.
    """
    tokenizer = load_tokenizer(cfg)
    processor = load_processor(cfg, tokenizer=tokenizer) if cfg.processor_type else None
    parts: dict[str, list[tuple[str, Dataset]]] = {}
    evaluation = None
    for index, (entry, domain) in enumerate(zip(cfg.datasets, dataset_domains, strict=True)):
        own = _config_of_one_dataset(cfg, entry, with_test_datasets=index == 0)
        rows, tests, _, _ = prepare_datasets(own, tokenizer, processor=processor)
        evaluation = tests if index == 0 else evaluation
        if len(rows) == 0:
            raise DMTError(
                f"datasets[{index}]",
                f"{entry.path} has no rows of at most sequence_len {cfg.sequence_len} tokens",
                "check the file, its type and sequence_len",
            )
        parts.setdefault(domain, []).append((_label(entry), rows))

    shared = set.intersection(
        *(set(rows.column_names) for group in parts.values() for _, rows in group)
    )
    domains, ordered = [], []
    for name, group in parts.items():
        ordered += [_only(rows, shared) for _, rows in group]
        domains.append(
            Domain(
                name=name,
                rows=sum(len(rows) for _, rows in group),
                lengths=np.concatenate([token_counts(rows) for _, rows in group]),
                trained=np.concatenate([trained_counts(rows) for _, rows in group]),
                datasets=tuple((label, len(rows)) for label, rows in group),
                scores={column: _scores(group, column) for column in columns},
            )
        )
    lengths = np.concatenate([domain.lengths for domain in domains])
    pool = concatenate_datasets(ordered)
    blank = _blank_row(pool, int(lengths.argmin()))
    return Pool(
        dataset=concatenate_datasets([pool, blank]),
        domains=tuple(domains),
        evaluation=evaluation,
    )


def _config_of_one_dataset(
    cfg: DictDefault, entry: DictDefault, *, with_test_datasets: bool
) -> DictDefault:
    own = DictDefault({**cfg, "datasets": [entry]})
    # The plan orders, splits and repeats; the cache must hold the rows as they come.
    own.shuffle_merged_datasets = False
    own.shuffle_before_merging_datasets = False
    own.val_set_size = 0
    if not with_test_datasets:
        own.test_datasets = None
    # Axolotl's own count of steps is of no use here and reads every label: with these three set
    # it is plain arithmetic.
    own.total_num_tokens = own.total_supervised_tokens = 1
    own.sample_packing_eff_est = 1.0
    return own


def _label(entry: Any) -> str:
    name = entry.get("name")
    return f"{entry['path']}:{name}" if isinstance(name, str) else str(entry["path"])


def _only(rows: Dataset, columns: set[str]) -> Dataset:
    extra = [name for name in rows.column_names if name not in columns]
    return rows.remove_columns(extra) if extra else rows


def _arrow_column(rows: Dataset, name: str) -> pa.ChunkedArray:
    plain = rows if rows._indices is None else rows.flatten_indices()
    return plain.data.column(name)


def token_counts(rows: Dataset) -> NDArray[np.int32]:
    """Tokens of each row, shape (rows,)."""
    return pc.list_value_length(_arrow_column(rows, "input_ids")).to_numpy().astype(np.int32)


def trained_counts(rows: Dataset) -> NDArray[np.int32]:
    """Unmasked tokens of each row, shape (rows,)."""
    counts = []
    for chunk in _arrow_column(rows, "labels").chunks:
        offsets = chunk.offsets.to_numpy()
        values = chunk.values.slice(offsets[0], offsets[-1] - offsets[0]).to_numpy()
        running = np.concatenate([[0], np.cumsum(values != IGNORED)])
        bounds = running[offsets - offsets[0]]
        counts.append((bounds[1:] - bounds[:-1]).astype(np.int32))
    return np.concatenate(counts) if counts else np.zeros(0, np.int32)


def _scores(group: Sequence[tuple[str, Dataset]], column: str) -> NDArray[Any]:
    values = []
    for label, rows in group:
        if column not in rows.column_names:
            raise DMTError(
                "dmt.select",
                f"score:{column}: {label} has no column {column!r} once tokenised",
                f"known columns: {', '.join(rows.column_names)}",
            )
        values.append(_arrow_column(rows, column).to_numpy())
    return np.concatenate(values)


def _blank_row(pool: Dataset, shortest: int) -> Dataset:
    row = pool[shortest]
    row["labels"] = [IGNORED] * len(row["labels"])
    return Dataset.from_dict({name: [value] for name, value in row.items()}, pool.features)


def packing(cfg: DictDefault) -> Packing:
    """How Axolotl would pack these rows, for the plan to pack them stage by stage.

    Args:
        cfg: Axolotl's validated configuration with `sample_packing: true`.
    """
    # As Axolotl's trainer does: one long pack a micro batch where attention keeps packed rows
    # apart, else as many packs as the micro batch has rows.
    real_batches = cfg.multipack_real_batches
    if real_batches is None:
        real_batches = not cfg.attn_supports_packing
    micro_batches = cfg.batch_size // cfg.micro_batch_size
    per_micro_batch = cfg.micro_batch_size if real_batches else 1
    capacity = cfg.sequence_len * (1 if real_batches else cfg.micro_batch_size)

    def pack(lengths: NDArray[np.int32]) -> list[list[int]]:
        if cfg.sample_packing_sequentially:
            packs, _, _ = allocate_sequentially(lengths, 0, capacity, 1)
            return packs
        # First fit in the order given: packs come as evenly mixed as their rows did.
        return pack_parallel(
            lengths,
            bin_capacity=capacity,
            group_size=cfg.sample_packing_group_size,
            bin_size=cfg.sample_packing_bin_size or capacity,
            num_processes=1,
        )

    return Packing(capacity=capacity, packs_per_step=micro_batches * per_micro_batch, pack=pack)


@contextlib.contextmanager
def first_on_host() -> Iterator[bool]:
    """Runs the block on the first process of each host, then on the others.

    Yields:
        Whether this process is the first of its host.
    """
    first = not is_distributed() or is_local_main_process()
    if not first:
        barrier()
    yield first
    if first:
        barrier()
