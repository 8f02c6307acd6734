"""One dataset of a domain, prepared, and the rows of it that are left out of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from axolotl.utils.data.shared import load_dataset_with_config
from axolotl.utils.dict import DictDefault
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.row_counts import RowCounts
from axolotl_dmt.training.held_out import choose_held_out
from axolotl_dmt.training.row_digests import row_digests
from axolotl_dmt.training.tokenised_rows import arrow_column, is_tokenised, trained_counts


@dataclass(frozen=True, kw_only=True)
class Part:
    """One prepared dataset of a domain, without the rows that are left out of the pool.

    Attributes:
        entry: the dataset's entry in the YAML.
        label: its name in results.
        rows: the rows to train on.
        remasked: the same rows with the inputs masked differently, where a stage needs them.
        numbers: the number of each row within the prepared dataset, shape (rows,); None if no row
            is left out.
        prepared: number of prepared rows, including those that are left out.
        counts: what became of the rows of the file.
    """

    entry: DictDefault
    label: str
    rows: Dataset
    remasked: Dataset | None
    numbers: NDArray[np.int64] | None
    prepared: int
    counts: RowCounts

    @classmethod
    def of(
        cls,
        entry: DictDefault,
        label: str,
        domain: str,
        *,
        rows: Dataset,
        remasked: Dataset | None,
        recorded: Mapping[str, int],
    ) -> Part:
        """Return the part with all prepared rows.

        Args:
            entry: the dataset's entry in the YAML.
            label: its name in results (`dataset_labels`).
            domain: its domain.
            rows: the prepared rows.
            remasked: the same rows, masked differently, or None.
            recorded: the counts that were recorded when the rows were prepared.
        """
        data = {**recorded, "domain": domain, "dataset": label, "kept": len(rows)}
        return cls(
            entry=entry,
            label=label,
            rows=rows,
            remasked=remasked,
            numbers=None,
            prepared=len(rows),
            counts=RowCounts.from_json(data),
        )

    @property
    def remasked_rows(self) -> Dataset:
        """The rows with the inputs masked differently, or `rows` where no stage needs them."""
        return self.rows if self.remasked is None else self.remasked

    def without(self, left_out: NDArray[np.bool_], reason: str) -> Part:
        """Return the part without some rows.

        Args:
            left_out: which rows to leave out, shape (rows,).
            reason: the field of `RowCounts` that counts them.
        """
        count = int(left_out.sum())
        if not count:
            return self
        positions = np.flatnonzero(~left_out)
        earlier: int = getattr(self.counts, reason)
        changes: dict[str, Any] = {reason: earlier + count, "kept": len(positions)}
        return replace(
            self,
            rows=self.rows.select(positions),
            remasked=None if self.remasked is None else self.remasked.select(positions),
            numbers=positions if self.numbers is None else self.numbers[positions],
            counts=replace(self.counts, **changes),
        )

    def trained_only(self, key: str) -> Part:
        """Return the part without the rows that have no trained token, where rows are tokenised.

        Axolotl drops them itself, but only with `sample_packing`. Their loss is 0 or not a number,
        and they would lower the loss of a step.

        Args:
            key: the entry's key in the YAML, such as `datasets[2]`.

        Raises:
            DMTError: no row has a trained token.
        """
        if not is_tokenised(self.rows):
            return self
        masks = [rows for rows in (self.rows, self.remasked) if rows is not None]
        untrained = np.logical_or.reduce([trained_counts(rows) == 0 for rows in masks])
        if untrained.all():
            raise DMTError(
                key,
                f"none of the {len(untrained)} rows of {self.label} has a token to train on",
                "check its answers, its type, train_on_inputs and roles_to_train",
            )
        return self.without(untrained, "untrained")


Parts = dict[str, list[Part]]
"""{domain: its datasets}"""


def without_copies(domains: Parts) -> Parts:
    """Return the datasets with only the first of several equal rows.

    Raises:
        DMTError: a domain would have no row left.
    """
    digests = [row_digests(part.rows) for parts in domains.values() for part in parts]
    _, firsts = np.unique(np.concatenate(digests), return_index=True)
    is_copy = np.ones(sum(map(len, digests)), bool)
    is_copy[firsts] = False
    masks = iter(_split(is_copy, digests))
    remaining = {
        name: [part.without(next(masks), "duplicates") for part in parts]
        for name, parts in domains.items()
    }
    for name, parts in remaining.items():
        if not any(len(part.rows) for part in parts):
            problem = f"every row of {name} is a copy of a row of a domain before it"
            raise DMTError("dataset_exact_deduplication", problem, "remove the domain, or the key")
    return remaining


def hold_out(
    domains: Mapping[str, Sequence[Part]], counts: Mapping[str, int], seed: int
) -> tuple[dict[str, list[Part]], dict[str, Dataset]]:
    """Hold out random rows of the domains.

    Args:
        domains: the parts of each domain.
        counts: number of rows to hold out, by domain.
        seed: chooses the rows.

    Returns:
        The parts without the held-out rows and without copies of them, and the held-out rows of
        each domain. A part may have no rows left.

    Raises:
        DMTError: a domain has too few rows.
    """
    digests = {name: [row_digests(p.rows) for p in parts] for name, parts in domains.items()}
    joined = {name: np.concatenate(parts) for name, parts in digests.items()}
    remaining, held_out = {}, {}
    for name, chosen in choose_held_out(joined, counts, seed).items():
        masks = _split(chosen.rows, digests[name])
        if counts.get(name):
            held_out[name] = concatenate_datasets(
                [
                    part.rows.select(np.flatnonzero(mask))
                    for part, mask in zip(domains[name], masks, strict=True)
                ]
            )
        copies = _split(chosen.copies, digests[name])
        remaining[name] = [
            part.without(copy, "copies_of_held_out").without(mask[~copy], "held_out")
            for part, mask, copy in zip(domains[name], masks, copies, strict=True)
        ]
    return remaining, held_out


def _split(mask: NDArray[np.bool_], parts: Sequence[NDArray[Any]]) -> list[NDArray[np.bool_]]:
    """Return the pieces of a mask that belong to consecutive parts."""
    return np.split(mask, np.cumsum([len(part) for part in parts])[:-1])


def scores(cfg: DictDefault, part: Part, column: str) -> NDArray[Any]:
    """Return a numeric column of a dataset's source, for `select: score:<column>`.

    Tokenising drops the column, so it is read from the source again. Scores and rows can only be
    matched if preparation dropped no source row.

    Args:
        cfg: Axolotl's validated configuration.
        part: the dataset.
        column: the name of the column.

    Raises:
        DMTError: there is no such column, it is not numeric, a value is missing, or source rows
            were dropped.
    """
    source = load_dataset_with_config(part.entry, cfg.hf_use_auth_token)
    if isinstance(source, dict):
        source = source[part.entry.split or "train"]
    key, label = "dmt.select", part.label
    if column not in source.column_names:
        columns = ", ".join(source.column_names)
        raise DMTError(key, f"{label} has no column {column!r}", f"its columns: {columns}")
    if len(source) != part.prepared:
        reasons = "; ".join(part.counts.notes())
        raise DMTError(
            key,
            f"score:{column}: {label} has {len(source)} rows, and {part.prepared} remain after "
            f"preparing it, so scores and rows cannot be matched{reasons and f' ({reasons})'}",
            "remove these rows from the file, or set excess_length_strategy: truncate if they are "
            "too long",
        )
    values: NDArray[Any] = arrow_column(source, column).to_numpy()
    if not np.issubdtype(values.dtype, np.number):
        raise DMTError(key, f"column {column!r} of {label} is not numeric", "name another column")
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        problem = (
            f"column {column!r} of {label} has no number in {len(missing)} of {len(values)} rows "
            f"(the first is row {missing[0]}, counted from 0)"
        )
        raise DMTError(key, problem, "give each row a score, or remove these rows")
    return values if part.numbers is None else values[part.numbers]
