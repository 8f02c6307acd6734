"""What became of the rows of each dataset before the plan was compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RowCounts:
    """The rows of one dataset, from its file to the pool.

    A count is None if the dataset was prepared before counts were recorded.

    Attributes:
        domain: the dataset's domain.
        dataset: its label, as in `Domain.datasets`.
        read: rows in the file.
        tokenised: sequences that these rows became; a long text of `type: completion` becomes
            several, and some types leave rows out.
        too_long: sequences that are longer than `sequence_len` and left out.
        too_short: sequences that are shorter than `min_sample_len` and left out.
        truncated: sequences that are cut off at `sequence_len` and remain.
        untrained: sequences without a trained token, which are left out.
        duplicates: exact copies of other sequences that are left out.
        copies: exact copies of other sequences of the dataset that remain.
        contaminated: sequences that are left out because they share text with an item of an
            evaluation file (`dmt.decontaminate`).
        held_out: sequences that are held out.
        copies_of_held_out: sequences that are left out because another domain holds out a copy.
        kept: sequences to train on.
    """

    domain: str
    dataset: str
    read: int | None = None
    tokenised: int | None = None
    too_long: int | None = None
    too_short: int | None = None
    truncated: int | None = None
    untrained: int = 0
    duplicates: int = 0
    copies: int | None = None
    contaminated: int = 0
    held_out: int = 0
    copies_of_held_out: int = 0
    kept: int

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RowCounts:
        """Return the counts of a JSON object; keys of a later version are ignored."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each reason why rows of the file are not trained as they are."""
        total = self.read if self.read is not None else "?"
        of = f"of {total} rows of {self.dataset}"
        if self.tokenised is not None and self.read not in (None, self.tokenised):
            yield f"the {self.read} rows of {self.dataset} became {self.tokenised} sequences"
            of = f"of {self.tokenised} sequences of {self.dataset}"
        for count, reason in (
            (self.too_long, "longer than sequence_len and left out"),
            (self.too_short, "shorter than min_sample_len and left out"),
            (self.truncated, "cut off at sequence_len"),
            (self.untrained, "without a trained token and left out"),
            (self.duplicates, "exact copies of others and left out"),
            (self.copies, "exact copies of others and remain (see dataset_exact_deduplication)"),
            (self.contaminated, "contaminated by evaluation items and left out"),
            (self.copies_of_held_out, "copies of held-out rows of another domain and left out"),
        ):
            if count:
                yield f"{count} {of} are {reason}"


def notes_on_rows(counts: Sequence[RowCounts]) -> list[str]:
    """Return a sentence for each dataset and reason why rows are not trained as they are."""
    return [note for dataset in counts for note in dataset.notes()]


def counts_table(
    counts: Sequence[RowCounts], *, names_only: bool = False
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and the cells of a table with a line for each dataset.

    A column is left out if none of its counts is above zero, except for the most important ones.

    Args:
        counts: what became of the rows of each dataset.
        names_only: show the name of a local file without its folders, which are nobody else's
            business.
    """
    columns = {
        "read": "in the file",
        "tokenised": "tokenised",
        "too_long": "too long",
        "too_short": "too short",
        "untrained": "no trained tokens",
        "duplicates": "exact copies",
        "contaminated": "contaminated",
        "held_out": "held out",
        "copies_of_held_out": "held-out copies",
        "kept": "kept",
    }
    always = ("read", "too_long", "untrained", "duplicates", "kept")
    same = all(dataset.tokenised in (None, dataset.read) for dataset in counts)
    shown = {
        name: title
        for name, title in columns.items()
        if name in always or (any(getattr(c, name) for c in counts))
    }
    if same:
        shown.pop("tokenised", None)
    rows = [
        (
            _file_name(c.dataset) if names_only else c.dataset,
            c.domain,
            *(_cell(getattr(c, name)) for name in shown),
        )
        for c in counts
    ]
    return ("dataset", "domain", *shown.values()), rows


def _file_name(label: str) -> str:
    return PurePath(label).name if PurePath(label).is_absolute() else label


def _cell(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
