"""Loads the datasets of all domains into one pool of rows, with Axolotl's own loaders and caches.

Each dataset of the YAML is prepared separately, so that its cache does not depend on the schedule:
after `axolotl preprocess`, a run with another k, strategy or seed tokenises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from axolotl.loaders import load_processor, load_tokenizer
from axolotl.utils.data import prepare_datasets
from axolotl.utils.data.shared import (
    generate_dataset_hash_from_config,
    get_prepared_dataset_path,
    load_dataset_with_config,
)
from axolotl.utils.dict import DictDefault
from datasets import Dataset, concatenate_datasets
from datasets.exceptions import DatasetGenerationError
from numpy.typing import NDArray

from axolotl_dmt.checks.data_files import missing_files
from axolotl_dmt.errors import DMTError, DMTErrors, explain_load_errors
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.plan.permutation import Permutation, derive_key
from axolotl_dmt.plan.row_losses import RowLosses
from axolotl_dmt.training.held_out import rows_to_hold_out
from axolotl_dmt.training.pool_layout import PoolLayout
from axolotl_dmt.training.prepared_data import current_rows
from axolotl_dmt.training.tokenised_rows import (
    IGNORED,
    arrow_column,
    content_digest,
    token_counts,
    trained_counts,
)

UNREADABLE = (OSError, ValueError, KeyError, StopIteration, DatasetGenerationError)
"""What loading raises for a dataset that is missing, empty, broken or of an unexpected format."""


@dataclass(frozen=True, kw_only=True)
class RowPool:
    """All tokenised rows that a run may train on.

    Attributes:
        dataset: the rows, as `layout` describes.
        domains: what the plan needs to know about each domain, in the order of the dataset.
        held_out: {domain: its held-out rows}, and Axolotl's `test_datasets` under "test".
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

    def contents(self) -> dict[str, tuple[str, ...]]:
        """Return {domain: the digest of the tokens and labels of each of its datasets}."""
        digests: dict[str, tuple[str, ...]] = {}
        start = 0
        for domain in self.domains:
            for _, rows in domain.datasets:
                digest = content_digest(self.dataset.select(range(start, start + rows)))
                digests[domain.name] = (*digests.get(domain.name, ()), digest)
                start += rows
        return digests

    def with_losses(self, recorded: RowLosses, domains: Sequence[str], path: Path) -> RowPool:
        """Return the pool with a model's loss on each row of the named domains.

        Args:
            recorded: the losses.
            domains: the domains that need losses.
            path: the file that the losses were read from, for error messages.

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
        entry: the dataset's entry in the YAML.
        rows: the rows to train on.
        remasked: the same rows with the inputs masked differently, where a stage needs them.
        numbers: the number of each row within the prepared dataset, shape (rows,); None if no row
            is held out.
        prepared: number of prepared rows, including the held-out rows.
    """

    entry: DictDefault
    rows: Dataset
    remasked: Dataset | None
    numbers: NDArray[np.int64] | None
    prepared: int

    @property
    def label(self) -> str:
        """The dataset's path, with the name of its configuration if it has one."""
        name = self.entry.get("name")
        path = str(self.entry["path"])
        return f"{path}:{name}" if isinstance(name, str) else path


def load_pool(
    cfg: DictDefault,
    dataset_domains: Sequence[str],
    *,
    columns: Mapping[str, Sequence[str]] | None = None,
    val_rows: Mapping[str, int] | None = None,
    val_set_size: Fraction | int = 0,
    remasked: Mapping[str, str] | None = None,
    seed: int = 0,
) -> RowPool:
    """Prepare every dataset and return its rows in the order that the plan expects.

    Args:
        cfg: Axolotl's validated configuration.
        dataset_domains: the domain of each entry of `cfg.datasets`.
        columns: the numeric columns that the plan selects rows by, by domain.
        val_rows: number of rows to hold out, by domain.
        val_set_size: instead of `val_rows`, the part of all rows to hold out, or their number.
        remasked: {domain: stage} for the domains whose inputs a stage masks differently from
            Axolotl's `train_on_inputs`.
        seed: chooses the held-out rows.

    Raises:
        DMTError: a dataset is neither prepared nor readable, has no rows, has too few rows to hold
            some out, or cannot be masked differently.
    """
    missing = {error.key: error for error in missing_files(cfg)}
    if errors := [missing[key] for key in (unprepared(cfg) if missing else ()) if key in missing]:
        raise DMTErrors(errors)
    with explain_load_errors(cfg):
        tokenizer = load_tokenizer(cfg)
    processor = load_processor(cfg, tokenizer=tokenizer) if cfg.processor_type else None
    prepared: dict[str, list[_Part]] = {}
    held_out: dict[str, Dataset] = {}
    for index, (entry, domain) in enumerate(zip(cfg.datasets, dataset_domains, strict=True)):
        single = _config_of_one_dataset(cfg, entry, with_test_datasets=index == 0)
        rows, tests = _prepare(single, index, tokenizer, processor)
        if tests is not None:
            held_out["test"] = tests
        remasked_rows = None
        if stage := (remasked or {}).get(domain):
            single.test_datasets, single.train_on_inputs = None, not cfg.train_on_inputs
            remasked_rows, _ = _prepare(single, index, tokenizer, processor)
            check_masking(rows, remasked_rows, single, entry, stage)
        part = _Part(
            entry=entry, rows=rows, remasked=remasked_rows, numbers=None, prepared=len(rows)
        )
        prepared.setdefault(domain, []).append(part)

    shared = set.intersection(
        *(set(part.rows.column_names) for group in prepared.values() for part in group)
    )
    if val_set_size:
        sizes = {name: sum(len(part.rows) for part in parts) for name, parts in prepared.items()}
        val_rows = rows_to_hold_out(sizes, val_set_size)
    domains, all_rows, all_remasked = [], [], []
    for name, parts in prepared.items():
        if count := (val_rows or {}).get(name, 0):
            parts, held_out[name] = _hold_out(name, parts, count, seed)
        all_rows += [_only(part.rows, shared) for part in parts]
        all_remasked += [_only(part.remasked or part.rows, shared) for part in parts]
        domains.append(_domain(cfg, name, parts, (columns or {}).get(name, ())))
    lengths = np.concatenate([domain.lengths for domain in domains])
    rows = concatenate_datasets(all_rows)
    blank = _blank_row(rows, int(lengths.argmin()))
    arranged = layout_of(domains).arrange([rows], blank, all_remasked if remasked else ())
    dataset = concatenate_datasets(arranged)
    return RowPool(dataset=dataset, domains=tuple(domains), held_out=held_out)


def _prepare(
    cfg: DictDefault, index: int, tokenizer: Any, processor: Any
) -> tuple[Dataset, Dataset | None]:
    """Return the rows of a configuration's only dataset, and those of its test datasets.

    Raises:
        DMTError: the dataset cannot be read or tokenised, or has no rows.
    """
    path = cfg.datasets[0].path
    try:
        with current_rows(cfg, tokenizer.name_or_path):
            rows, tests, _, _ = prepare_datasets(cfg, tokenizer, processor=processor)
    except DMTError:
        raise
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
            f"{path} has no rows of at most sequence_len {cfg.sequence_len} tokens",
            "check the file, its type and sequence_len",
        )
    return rows, tests


def check_masking(
    rows: Dataset, remasked: Dataset, cfg: DictDefault, entry: DictDefault, stage: str
) -> None:
    """Refuse a dataset whose inputs cannot be masked differently, row by row.

    Args:
        rows: the dataset prepared with Axolotl's `train_on_inputs`.
        remasked: the same dataset prepared with the opposite setting.
        cfg: the configuration that `remasked` was prepared with.
        entry: the dataset's entry in the YAML.
        stage: name of the stage that masks the inputs differently.

    Raises:
        DMTError: the two differ in their tokens, or do not differ in the tokens that are trained
            on.
    """
    key, fix = f"train_on_inputs (stage {stage})", "remove it from the stage"
    tokens = [arrow_column(part, "input_ids") for part in (rows, remasked)]
    if not tokens[0].equals(tokens[1]):
        counts = f"{len(rows)} without it, {len(remasked)} with it"
        raise DMTError(key, f"changes the rows of {entry.path} ({counts})", fix)
    before, after = trained_counts(rows), trained_counts(remasked)
    everything = cfg.train_on_inputs and np.array_equal(after, token_counts(remasked))
    if np.array_equal(before, after) and not everything:
        kind = entry.type if isinstance(entry.type, str) else "its type"
        problem = f"changes nothing for {entry.path}: {kind} decides which tokens are trained"
        raise DMTError(key, problem, f"{fix}, or set the masking in the dataset's entry")


def unprepared(cfg: DictDefault) -> dict[str, str]:
    """Return {YAML key: path} of the datasets that Axolotl's cache does not hold yet.

    Raises:
        DMTError: the tokenizer cannot be loaded.
    """
    with explain_load_errors(cfg):
        name = load_tokenizer(cfg).name_or_path
    missing = {}
    for index, entry in enumerate(cfg.datasets):
        single = _config_of_one_dataset(cfg, entry, with_test_datasets=False)
        digest = generate_dataset_hash_from_config(single, single.datasets, name)
        if not any(get_prepared_dataset_path(single, digest).glob("*")):
            missing[f"datasets[{index}].path"] = str(entry["path"])
    return missing


def _hold_out(
    domain: str, parts: Sequence[_Part], count: int, seed: int
) -> tuple[list[_Part], Dataset]:
    """Hold out random rows of a domain, drawn from all its datasets together.

    Returns:
        The parts without the held-out rows, and the held-out rows.

    Raises:
        DMTError: the domain has no more than `count` rows.
    """
    sizes = [len(part.rows) for part in parts]
    if count >= sum(sizes):
        raise DMTError(
            "dmt.val_rows",
            f"{count} rows are to be held out of {domain}'s {sum(sizes)}",
            "hold out fewer rows",
        )
    order = Permutation(sum(sizes), derive_key(seed, "held out", domain)).range(0, count)
    is_held_out = np.zeros(sum(sizes), bool)
    is_held_out[order] = True
    remaining, held_out, start = [], [], 0
    for part, size in zip(parts, sizes, strict=True):
        mask = is_held_out[start : start + size]
        start += size
        numbers = np.flatnonzero(~mask)
        remasked = part.remasked and part.remasked.select(numbers)
        rows = part.rows.select(numbers)
        remaining.append(replace(part, rows=rows, remasked=remasked, numbers=numbers))
        held_out.append(part.rows.select(np.flatnonzero(mask)))
    return [part for part in remaining if len(part.rows)], concatenate_datasets(held_out)


def _domain(cfg: DictDefault, name: str, parts: Sequence[_Part], columns: Sequence[str]) -> Domain:
    """Return what the plan needs to know about a domain, with these score columns."""
    whole = all(part.numbers is None for part in parts)
    return Domain(
        name=name,
        rows=sum(len(part.rows) for part in parts),
        lengths=np.concatenate([token_counts(part.rows) for part in parts]),
        trained=np.concatenate([trained_counts(part.rows) for part in parts]),
        trained_when_remasked=np.concatenate([trained_counts(part.remasked) for part in parts])
        if all(part.remasked for part in parts)
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
    """Return the configuration with this dataset only, and its rows in the order of the source."""
    single = DictDefault({**cfg, "datasets": [entry]})
    # The plan orders, splits and repeats rows; the cache must hold them in the source's order.
    single.shuffle_merged_datasets = False
    single.shuffle_before_merging_datasets = False
    single.val_set_size = 0
    if single.group_by_length:
        single.group_by_length = None
    if not with_test_datasets:
        single.test_datasets = None
    # Axolotl's count of steps is not used and would read every label; these three values prevent
    # that.
    single.total_num_tokens = single.total_supervised_tokens = 1
    single.sample_packing_eff_est = 1.0
    return single


def _only(rows: Dataset, columns: set[str]) -> Dataset:
    """Return the rows with these columns only."""
    extra = [name for name in rows.column_names if name not in columns]
    return rows.remove_columns(extra) if extra else rows


def _scores(cfg: DictDefault, part: _Part, column: str) -> NDArray[Any]:
    """Return a numeric column of a dataset's source, for `select: score:<column>`.

    Tokenising drops the column, so it is read from the source again. Scores and rows can only be
    matched if no source row was dropped.

    Raises:
        DMTError: there is no such column, it is not numeric, or source rows were dropped.
    """
    source = load_dataset_with_config(part.entry, cfg.hf_use_auth_token)
    if isinstance(source, dict):
        source = source[part.entry.split or "train"]
    key, label = "dmt.select", part.label
    if column not in source.column_names:
        columns = ", ".join(source.column_names)
        raise DMTError(key, f"{label} has no column {column!r}", f"its columns: {columns}")
    if len(source) != part.prepared:
        raise DMTError(
            key,
            f"score:{column}: {label} has {len(source)} rows, and {part.prepared} remain after "
            "tokenising, so scores and rows cannot be matched",
            "set excess_length_strategy: truncate, or remove rows that are too long from the file",
        )
    values = arrow_column(source, column).to_numpy()
    if not np.issubdtype(values.dtype, np.number):
        raise DMTError(key, f"column {column!r} of {label} is not numeric", "name another column")
    return values if part.numbers is None else values[part.numbers]


def _blank_row(rows: Dataset, shortest: int) -> Dataset:
    """Return a dataset of one row: the shortest one, with every label masked."""
    row = rows[shortest]
    row["labels"] = [IGNORED] * len(row["labels"])
    return Dataset.from_dict({name: [value] for name, value in row.items()}, rows.features)
