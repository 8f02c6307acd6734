"""Domains through Axolotl's own loaders and caches into one pool of tokenised rows.

Each dataset of the YAML is prepared on its own, so that its cache does not depend on the schedule:
after `axolotl preprocess`, another k, strategy or seed tokenises nothing. The pool is the prepared
datasets one after another, domain by domain, and one blank row at its end; the plan's row ids are
positions in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from axolotl.loaders import load_processor, load_tokenizer
from axolotl.utils.data import prepare_datasets
from axolotl.utils.data.shared import (
    generate_dataset_hash_from_config,
    get_prepared_dataset_path,
    load_dataset_with_config,
)
from axolotl.utils.dict import DictDefault
from axolotl.utils.samplers.multipack import allocate_sequentially, pack_parallel
from datasets import Dataset, concatenate_datasets
from datasets.exceptions import DatasetGenerationError
from numpy.typing import NDArray

from axolotl_dmt.data_files import missing_files
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.inputs import Domain, Packing
from axolotl_dmt.loadable import loading
from axolotl_dmt.permutation import Permutation, derive_key
from axolotl_dmt.pool_layout import PoolLayout
from axolotl_dmt.row_losses import RowLosses

UNREADABLE = (OSError, ValueError, KeyError, StopIteration, DatasetGenerationError)
"""What a data set that is missing, empty, broken or of another shape ends in."""

IGNORED = -100
"""Label of a token that adds nothing to the loss (PyTorch's `ignore_index`)."""


@dataclass(frozen=True, kw_only=True)
class RowPool:
    """All tokenised rows that a run may train on.

    Attributes:
        dataset: the rows, as `layout` describes.
        domains: what the plan needs to know of each domain, in the order of the dataset.
        held_out: the held-out rows by domain, and Axolotl's `test_datasets` under "test".
    """

    dataset: Dataset
    domains: tuple[Domain, ...]
    held_out: Mapping[str, Dataset]

    @property
    def layout(self) -> PoolLayout:
        """Where each row lies in `dataset`."""
        return layout_of(self.domains)

    def rows_of(self, domain: str) -> Dataset:
        """Return the tokenised rows of a domain, in the order of the dataset."""
        return self.dataset.select(self.layout.range_of(domain))

    def with_losses(self, recorded: RowLosses, domains: Sequence[str], path: Path) -> RowPool:
        """Return the pool with a model's loss on each row of the named domains.

        Args:
            recorded: the losses.
            domains: the domains that need losses.
            path: the file that the losses were read from, for the error.

        Raises:
            DMTError: the losses were measured on other rows.
        """
        losses = {
            domain.name: recorded.of(
                domain.name, domain.rows, content_digest(self.rows_of(domain.name)), path
            )
            for domain in self.domains
            if domain.name in domains
        }
        return replace(
            self,
            domains=tuple(
                replace(domain, losses=losses.get(domain.name)) for domain in self.domains
            ),
        )


def layout_of(domains: Sequence[Domain]) -> PoolLayout:
    """Return the layout of a dataset that holds these domains in this order."""
    return PoolLayout(rows={domain.name: domain.rows for domain in domains})


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One prepared dataset of a domain, without its held-out rows.

    Attributes:
        entry: of the YAML.
        rows: to train on.
        otherwise: the same rows with the inputs masked otherwise, where a stage wants that.
        numbers: their numbers within the prepared dataset, or None for all of them.
        prepared: number of prepared rows, the held-out ones included.
    """

    entry: DictDefault
    rows: Dataset
    otherwise: Dataset | None
    numbers: NDArray[np.int64] | None
    prepared: int

    @property
    def label(self) -> str:
        name = self.entry.get("name")
        path = str(self.entry["path"])
        return f"{path}:{name}" if isinstance(name, str) else path


def load_pool(
    cfg: DictDefault,
    dataset_domains: Sequence[str],
    *,
    columns: Mapping[str, Sequence[str]] | None = None,
    val_rows: Mapping[str, int] | None = None,
    otherwise: Mapping[str, str] | None = None,
    seed: int = 0,
) -> RowPool:
    """Prepare every dataset and lay the rows out as the plan expects.

    Args:
        cfg: Axolotl's validated configuration.
        dataset_domains: the domain of each entry of `cfg.datasets`.
        columns: numeric columns that the plan wants to select by, by domain.
        val_rows: rows to hold out, by domain.
        otherwise: the domains of which a stage wants the inputs masked otherwise than Axolotl's
            `train_on_inputs` says, and the name of that stage.
        seed: which rows those are.

    Raises:
        DMTError: datasets are neither there nor prepared, have no rows, or no more than are to be
            held out.
    """
    gone = {error.key: error for error in missing_files(cfg)}
    if wanted := [gone[key] for key in (unprepared(cfg) if gone else ()) if key in gone]:
        raise DMTErrors(wanted)
    with loading(cfg):
        tokenizer = load_tokenizer(cfg)
    processor = load_processor(cfg, tokenizer=tokenizer) if cfg.processor_type else None
    prepared: dict[str, list[_Part]] = {}
    held_out: dict[str, Dataset] = {}
    for index, (entry, domain) in enumerate(zip(cfg.datasets, dataset_domains, strict=True)):
        own = _config_of_one_dataset(cfg, entry, with_test_datasets=index == 0)
        rows, tests = _prepare(own, index, tokenizer, processor)
        if tests is not None:
            held_out["test"] = tests
        other = None
        if stage := (otherwise or {}).get(domain):
            own.test_datasets, own.train_on_inputs = None, not cfg.train_on_inputs
            other, _ = _prepare(own, index, tokenizer, processor)
            check_masking(rows, other, own, entry, stage)
        part = _Part(entry=entry, rows=rows, otherwise=other, numbers=None, prepared=len(rows))
        prepared.setdefault(domain, []).append(part)

    shared = set.intersection(
        *(set(part.rows.column_names) for group in prepared.values() for part in group)
    )
    domains, ordered, again = [], [], []
    for name, parts in prepared.items():
        if count := (val_rows or {}).get(name, 0):
            parts, held_out[name] = _hold_out(name, parts, count, seed)
        ordered += [_only(part.rows, shared) for part in parts]
        again += [_only(part.otherwise or part.rows, shared) for part in parts]
        domains.append(_domain(cfg, name, parts, (columns or {}).get(name, ())))
    lengths = np.concatenate([domain.lengths for domain in domains])
    rows = concatenate_datasets(ordered)
    blank = _blank_row(rows, int(lengths.argmin()))
    arranged = layout_of(domains).arrange([rows], blank, again if otherwise else ())
    dataset = concatenate_datasets(arranged)
    return RowPool(dataset=dataset, domains=tuple(domains), held_out=held_out)


def _prepare(
    own: DictDefault, index: int, tokenizer: Any, processor: Any
) -> tuple[Dataset, Dataset | None]:
    """The rows of one dataset, and of the test datasets where they are asked for."""
    path = own.datasets[0].path
    try:
        rows, tests, _, _ = prepare_datasets(own, tokenizer, processor=processor)
    except UNREADABLE as error:
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'empty'}"
        raise DMTError(
            f"datasets[{index}]",
            f"{path} could not be read or tokenised ({cause})",
            "check its path, its content, its type and the fields that the type names",
        ) from error
    if len(rows) == 0:
        raise DMTError(
            f"datasets[{index}]",
            f"{path} has no rows of at most sequence_len {own.sequence_len} tokens",
            "check the file, its type and sequence_len",
        )
    return rows, tests


def check_masking(
    rows: Dataset, other: Dataset, own: DictDefault, entry: DictDefault, stage: str
) -> None:
    """Refuse a dataset whose inputs cannot be masked otherwise, row by row.

    Args:
        rows: as Axolotl's `train_on_inputs` says.
        other: of the same dataset, the other way.
        own: the configuration that `other` was prepared with.
        entry: the dataset's entry in the YAML.
        stage: name of the stage that wants it.

    Raises:
        DMTError: other tokens come out, or the same are trained on.
    """
    key, fix = f"train_on_inputs (stage {stage})", "remove it from the stage"
    tokens = [_arrow_column(part, "input_ids") for part in (rows, other)]
    if not tokens[0].equals(tokens[1]):
        problem = f"{entry.path} becomes other rows ({len(rows)} and {len(other)}) under it"
        raise DMTError(key, problem, fix)
    before, after = trained_counts(rows), trained_counts(other)
    everything = own.train_on_inputs and np.array_equal(after, token_counts(other))
    if np.array_equal(before, after) and not everything:
        kind = entry.type if isinstance(entry.type, str) else "its type"
        problem = f"changes nothing for {entry.path}: {kind} says by itself what is trained"
        raise DMTError(key, problem, f"{fix}, or say it in the dataset's entry")


def unprepared(cfg: DictDefault) -> dict[str, str]:
    """The datasets that are not in Axolotl's cache of prepared ones yet, {key: path}."""
    with loading(cfg):
        name = load_tokenizer(cfg).name_or_path
    missing = {}
    for index, entry in enumerate(cfg.datasets):
        own = _config_of_one_dataset(cfg, entry, with_test_datasets=False)
        digest = generate_dataset_hash_from_config(own, own.datasets, name)
        if not any(get_prepared_dataset_path(own, digest).glob("*")):
            missing[f"datasets[{index}].path"] = str(entry["path"])
    return missing


def _hold_out(
    domain: str, parts: Sequence[_Part], count: int, seed: int
) -> tuple[list[_Part], Dataset]:
    """Take rows out of a domain at random, from all its datasets alike."""
    sizes = [len(part.rows) for part in parts]
    if count >= sum(sizes):
        raise DMTError(
            "dmt.val_rows",
            f"{count} rows are all of {domain}'s {sum(sizes)}",
            "hold fewer rows out",
        )
    order = Permutation(sum(sizes), derive_key(seed, "held out", domain)).range(0, count)
    chosen = np.zeros(sum(sizes), bool)
    chosen[order] = True
    kept, taken, start = [], [], 0
    for part, size in zip(parts, sizes, strict=True):
        here = chosen[start : start + size]
        start += size
        numbers = np.flatnonzero(~here)
        other = part.otherwise and part.otherwise.select(numbers)
        kept.append(replace(part, rows=part.rows.select(numbers), otherwise=other, numbers=numbers))
        taken.append(part.rows.select(np.flatnonzero(here)))
    return [part for part in kept if len(part.rows)], concatenate_datasets(taken)


def _domain(cfg: DictDefault, name: str, parts: Sequence[_Part], columns: Sequence[str]) -> Domain:
    whole = all(part.numbers is None for part in parts)
    return Domain(
        name=name,
        rows=sum(len(part.rows) for part in parts),
        lengths=np.concatenate([token_counts(part.rows) for part in parts]),
        trained=np.concatenate([trained_counts(part.rows) for part in parts]),
        trained_otherwise=np.concatenate([trained_counts(part.otherwise) for part in parts])
        if all(part.otherwise for part in parts)
        else None,
        datasets=tuple((part.label, len(part.rows)) for part in parts),
        scores={
            column: np.concatenate([_scores(cfg, part, column) for part in parts])
            for column in columns
        },
        numbers=None if whole else np.concatenate([part.numbers for part in parts]),
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


def _only(rows: Dataset, columns: set[str]) -> Dataset:
    extra = [name for name in rows.column_names if name not in columns]
    return rows.remove_columns(extra) if extra else rows


def _arrow_column(rows: Dataset, name: str) -> pa.ChunkedArray:
    plain = rows if rows._indices is None else rows.flatten_indices()
    return plain.data.column(name)


def content_digest(rows: Dataset) -> str:
    """A hex digest of the tokens and labels of some rows, however they are stored."""
    digest = blake2b(token_counts(rows).astype("<i4").tobytes(), digest_size=16)
    for name in ("input_ids", "labels"):
        for chunk in _arrow_column(rows, name).chunks:
            digest.update(np.ascontiguousarray(chunk.flatten().to_numpy().astype("<i4")).data)
    return digest.hexdigest()


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


def _scores(cfg: DictDefault, part: _Part, column: str) -> NDArray[Any]:
    """A numeric column of a dataset's source, for `select: score:<column>`.

    Tokenising drops it, so it is read from the source again; that works where every source row
    became a row.
    """
    source = load_dataset_with_config(part.entry, cfg.hf_use_auth_token)
    if isinstance(source, dict):
        source = source[part.entry.split or "train"]
    key, label = "dmt.select", part.label
    if column not in source.column_names:
        known = ", ".join(source.column_names)
        raise DMTError(key, f"{label} has no column {column!r}", f"its columns: {known}")
    if len(source) != part.prepared:
        raise DMTError(
            key,
            f"score:{column}: {label} has {len(source)} rows, of which {part.prepared} are left "
            "once tokenised, so that scores and rows cannot be matched",
            "set excess_length_strategy: truncate, or take too long rows out of the file",
        )
    values = _arrow_column(source, column).to_numpy()
    if not np.issubdtype(values.dtype, np.number):
        raise DMTError(key, f"column {column!r} of {label} holds no numbers", "name another column")
    return values if part.numbers is None else values[part.numbers]


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
