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
from axolotl.utils.dict import DictDefault
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray

from axolotl_dmt.checks.collated_rows import message_columns
from axolotl_dmt.checks.contamination import ContaminationSearch
from axolotl_dmt.checks.data_paths import missing_files
from axolotl_dmt.config.run_keys import tokenised_in_collator
from axolotl_dmt.errors import DMTError, DMTErrors, explain_load_errors
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.plan.row_losses import RowLosses
from axolotl_dmt.training.contamination import PoolSearch
from axolotl_dmt.training.dataset_labels import dataset_labels
from axolotl_dmt.training.held_out import rows_to_hold_out
from axolotl_dmt.training.load_dataset import config_of_one_dataset, load_dataset
from axolotl_dmt.training.load_errors import cause_of
from axolotl_dmt.training.pool_layout import PoolLayout
from axolotl_dmt.training.pool_part import Part, hold_out, scores, without_copies
from axolotl_dmt.training.prepared_data import prepared_folder
from axolotl_dmt.training.raw_rows import align_columns as align_raw_columns
from axolotl_dmt.training.raw_rows import blank_row
from axolotl_dmt.training.row_columns import align_columns
from axolotl_dmt.training.row_counts import counting_rows, recorded_counts
from axolotl_dmt.training.row_digests import content_digest
from axolotl_dmt.training.rows_of_tests import load_tests, notes_on_tests
from axolotl_dmt.training.tokenised_rows import (
    IGNORED,
    arrow_column,
    is_tokenised,
    token_counts,
    trained_counts,
)


@dataclass(frozen=True, kw_only=True)
class RowPool:
    """All rows that a run may train on.

    They are tokenised, or hold messages that the collator tokenises.

    Attributes:
        dataset: the rows, as `layout` describes.
        domains: what the plan needs to know about each domain, in the order of the dataset.
        held_out: {domain: its held-out rows}, and those of each entry of `test_datasets`.
        notes: a sentence for each thing about `held_out` that is probably not meant.
        contamination: the rows that share text with items of the evaluation files; None where they
            were not searched.
    """

    dataset: Dataset
    domains: tuple[Domain, ...]
    held_out: Mapping[str, Dataset]
    notes: tuple[str, ...] = ()
    contamination: ContaminationSearch | None = None

    @property
    def layout(self) -> PoolLayout:
        """Where each row lies in `dataset`."""
        return layout_of(self.domains)

    def rows_of(self, domain: str) -> Dataset:
        """Return the rows of a domain, in the order of the dataset."""
        return self.dataset.select(self.layout.range_of(domain))

    def contents(self) -> dict[str, tuple[str, ...]]:
        """Return {domain: the digest of the content of each of its datasets}."""
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


def load_pool(
    cfg: DictDefault,
    dataset_domains: Sequence[str],
    *,
    columns: Mapping[str, Sequence[str]] | None = None,
    val_rows: Mapping[str, int] | None = None,
    val_set_size: Fraction | int = 0,
    remasked: Mapping[str, str] | None = None,
    search: PoolSearch | None = None,
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
        search: finds the rows that share text with an item of an evaluation file, or leaves them
            out.
        seed: chooses the held-out rows.

    Raises:
        DMTError: a dataset is neither prepared nor readable, has no rows, has too few rows to hold
            some out, or cannot be masked differently.
    """
    missing = list(missing_files(cfg))
    unprepared_entries = {key.rpartition(".")[0] for key in (unprepared(cfg) if missing else ())}
    if errors := [error for error in missing if error.key.rpartition(".")[0] in unprepared_entries]:
        raise DMTErrors(errors)
    with explain_load_errors(cfg):
        tokenizer = load_tokenizer(cfg)
    processor = _processor(cfg, tokenizer)
    prepared, tests = _load_parts(cfg, dataset_domains, remasked or {}, tokenizer, processor)
    held_out = dict(tests)
    if cfg.dataset_exact_deduplication:  # Axolotl deduplicates each dataset by itself
        prepared = without_copies(prepared)
    if search is not None:
        prepared = search(prepared)
    if val_set_size:
        sizes = {name: sum(len(part.rows) for part in parts) for name, parts in prepared.items()}
        val_rows = rows_to_hold_out(sizes, val_set_size)
    if any((val_rows or {}).values()):
        prepared, chosen = hold_out(prepared, val_rows or {}, seed)
        held_out |= chosen
    domains, all_rows, all_remasked = [], [], []
    for name, parts in prepared.items():
        all_rows += [part.rows for part in parts]
        all_remasked += [part.remasked_rows for part in parts]
        domains.append(_domain(cfg, name, parts, (columns or {}).get(name, ())))
    if search is not None:
        search.finish(domains)
    rows = concatenate_datasets(all_rows)
    blank = _blank_row(rows) if is_tokenised(rows) else blank_row(rows)
    arranged = layout_of(domains).arrange([rows], blank, all_remasked if remasked else ())
    dataset = concatenate_datasets(arranged)
    return RowPool(
        dataset=dataset,
        domains=tuple(domains),
        held_out=held_out,
        notes=tuple(note for part in tests.values() for note in notes_on_tests(rows, part)),
        contamination=search.search if search else None,
    )


def _processor(cfg: DictDefault, tokenizer: Any) -> Any:
    """Return the processor of the base model, or None if the YAML names none.

    Raises:
        DMTError: it cannot be loaded.
    """
    if not cfg.processor_type:
        return None
    try:
        return load_processor(cfg, tokenizer=tokenizer)
    except Exception as error:  # transformers raises errors of many types
        problem = f"{cfg.processor_type} cannot be loaded ({cause_of(error)})"
        fix = "write processor_type: AutoProcessor, or install what the message names"
        raise DMTError("processor_type", problem, fix) from error


def _load_parts(
    cfg: DictDefault,
    dataset_domains: Sequence[str],
    remasked: Mapping[str, str],
    tokenizer: Any,
    processor: Any,
) -> tuple[dict[str, list[Part]], dict[str, Dataset]]:
    """Return {domain: its datasets}, all with the same columns, and {name: rows of a test dataset}.

    Raises:
        DMTError: a dataset cannot be prepared or masked differently, or does not fit the others.
    """
    loaded: dict[str, Dataset] = {}
    counts: dict[str, dict[str, int]] = {}
    remasked_rows: dict[str, Dataset] = {}
    keys = [f"datasets[{index}]" for index in range(len(dataset_domains))]
    for key, entry, domain in zip(keys, cfg.datasets, dataset_domains, strict=True):
        single = config_of_one_dataset(cfg, entry)
        with counting_rows():
            loaded[key], _ = load_dataset(single, key, tokenizer, processor)
        counts[key] = _counts(single, loaded[key], tokenizer)
        if stage := remasked.get(domain):
            single.test_datasets, single.train_on_inputs = None, not cfg.train_on_inputs
            remasked_rows[key], _ = load_dataset(single, key, tokenizer, processor)
            check_masking(loaded[key], remasked_rows[key], single, entry, stage)
    again = {f"{key} (masked differently)": rows for key, rows in remasked_rows.items()}
    if tokenised_in_collator(cfg):
        aligned = align_raw_columns(loaded, message_columns(cfg))
    else:
        aligned = align_columns({**loaded, **again})
    parts: dict[str, list[Part]] = {}
    labels = dataset_labels(cfg.datasets)
    for key, entry, label, domain in zip(keys, cfg.datasets, labels, dataset_domains, strict=True):
        part = Part.of(
            entry,
            label,
            domain,
            rows=aligned[key],
            remasked=aligned.get(f"{key} (masked differently)"),
            recorded=counts[key],
        )
        parts.setdefault(domain, []).append(part.trained_only(key))
    return parts, load_tests(cfg, tokenizer, processor)


def _counts(cfg: DictDefault, rows: Dataset, tokenizer: Any) -> dict[str, int]:
    """Return what is known of the rows of a configuration's only dataset, by field of `RowCounts`.

    With `skip_prepare_dataset` Axolotl leaves no row out and saves none.
    """
    if cfg.skip_prepare_dataset:
        return {"read": len(rows), "too_long": 0, "too_short": 0}
    return recorded_counts(prepared_folder(cfg, cfg.datasets, tokenizer.name_or_path))


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
        single = config_of_one_dataset(cfg, entry)
        prepared = prepared_folder(single, single.datasets, name)
        if cfg.skip_prepare_dataset or not any(prepared.glob("*")):
            missing[f"datasets[{index}].path"] = str(entry["path"])
    return missing


def _domain(cfg: DictDefault, name: str, parts: Sequence[Part], columns: Sequence[str]) -> Domain:
    """Return what the plan needs to know about a domain, with these score columns."""
    whole = all(part.numbers is None for part in parts)
    tokenised = all(is_tokenised(part.rows) for part in parts)
    return Domain(
        name=name,
        rows=sum(len(part.rows) for part in parts),
        lengths=np.concatenate([token_counts(p.rows) for p in parts]) if tokenised else None,
        trained=np.concatenate([trained_counts(p.rows) for p in parts]) if tokenised else None,
        trained_when_remasked=np.concatenate([trained_counts(part.remasked) for part in parts])
        if all(part.remasked is not None for part in parts)
        else None,
        datasets=tuple((part.label, len(part.rows)) for part in parts),
        scores={
            column: np.concatenate([scores(cfg, part, column) for part in parts])
            for column in columns
        },
        numbers=None if whole else np.concatenate([_numbers(part) for part in parts]),
        counts=tuple(part.counts for part in parts),
    )


def _numbers(part: Part) -> NDArray[np.int64]:
    return np.arange(len(part.rows)) if part.numbers is None else part.numbers


def _blank_row(rows: Dataset) -> Dataset:
    """Return a dataset of one row: the shortest one, with every label masked."""
    row = rows[int(token_counts(rows).argmin())]
    row["labels"] = [IGNORED] * len(row["labels"])
    return Dataset.from_dict({name: [value] for name, value in row.items()}, rows.features)
