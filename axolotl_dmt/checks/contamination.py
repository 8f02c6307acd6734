"""Finds rows to train on that share a long text with an item of a local evaluation file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.checks.data_paths import COMPRESSED, READ_AS, files_of
from axolotl_dmt.checks.evaluation_files import local_questions, unread_tasks
from axolotl_dmt.checks.ngrams import RULE, NGramIndex
from axolotl_dmt.config.args import DMTConfig, EvaluateConfig
from axolotl_dmt.config.reading import Reading
from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.evaluation.scores import ability_of
from axolotl_dmt.files import parse_json

EXAMPLES: Final = 2
"""Examples of shared text that a line shows at most."""
BATCH: Final = 10_000


@dataclass
class _Overlap:
    """The rows of a domain and the items of a task that share text."""

    rows: set[tuple[str, int]] = field(default_factory=set)
    items: set[int] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)


class ContaminationSearch:
    """A search for the items of the evaluation files in rows to train on.

    Args:
        items: {task: (keys, texts)} of the items.
        unread: tasks whose items are not searched for.
    """

    def __init__(
        self, items: Mapping[str, tuple[Sequence[str], Sequence[str]]], unread: Sequence[str] = ()
    ) -> None:
        self._sizes = {task: len(keys) for task, (keys, _) in items.items()}
        self._of = [(task, number) for task, size in self._sizes.items() for number in range(size)]
        self._keys = [key for keys, _ in items.values() for key in keys]
        self._index = NGramIndex([text for _, texts in items.values() for text in texts])
        self._overlaps: dict[tuple[str, str], _Overlap] = {}
        self._contaminated: dict[str, dict[str, Counter[str]]] = {task: {} for task in items}
        self._unread = list(unread)

    @classmethod
    def of(cls, evaluate: EvaluateConfig | None) -> ContaminationSearch | None:
        """Return the search for the items of a block; None where no evaluation file is local.

        Raises:
            DMTError: a row of a file cannot be scored.
        """
        items = local_questions(evaluate) if evaluate and evaluate.when != "never" else {}
        return cls(items, unread_tasks(evaluate)) if evaluate and items else None

    def add(
        self,
        domain: str,
        source: str,
        batches: Iterable[Sequence[str]],
        numbers: NDArray[np.int64] | None = None,
    ) -> NDArray[np.bool_]:
        """Search the rows of a dataset.

        Args:
            domain: the domain of the rows.
            source: the name of the dataset.
            batches: the texts of its rows, some at a time.
            numbers: the number of each row within the dataset; None where no row is left out.

        Returns:
            Which rows share text with an item, shape (rows,).
        """
        masks, start = [np.zeros(0, bool)], 0
        for texts in batches:
            mask = np.zeros(len(texts), bool)
            for match in self._index.matches(texts):
                mask[match.text] = True
                row = start + match.text
                row = row if numbers is None else int(numbers[row])
                self._record(domain, source, row, match.item, match.words)
            masks.append(mask)
            start += len(texts)
        return np.concatenate(masks)

    def _record(self, domain: str, source: str, row: int, item: int, words: str) -> None:
        task, number = self._of[item]
        overlap = self._overlaps.setdefault((domain, task), _Overlap())
        overlap.rows.add((source, row))
        overlap.items.add(item)
        if len(overlap.examples) < EXAMPLES:
            overlap.examples.append(f"row {row} of {source} and item {number}: {words!r}")
        counts = self._contaminated[task].setdefault(self._keys[item], Counter())
        counts[domain] += 1

    def record(self) -> dict[str, Any]:
        """Return the contaminated items by task, for `write_contamination`."""
        return {
            task: {
                "items": self._sizes[task],
                "contaminated": {key: dict(counts) for key, counts in found.items()},
            }
            for task, found in self._contaminated.items()
        }

    def warnings(self) -> Iterator[str]:
        """Yield a line for each domain and task that share text, with examples."""
        for (domain, task), overlap in sorted(self._overlaps.items()):
            yield (
                f"contamination: {len(overlap.rows):,} row(s) of {domain} share text with "
                f"{len(overlap.items):,} of {self._sizes[task]:,} items of {ability_of(task)} "
                f"({task}), such as {'; '.join(overlap.examples)}"
            )

    def summary(self) -> str:
        """Return a line that says what was searched for and by which rule."""
        searched = ", ".join(f"{count:,} of {task}" for task, count in self._sizes.items())
        found = "" if self._overlaps else ": no row shares text with them"
        short = len(self._index.too_short)
        notes = [f"; {short:,} have too few words"] if short else []
        notes += [f"; not searched for: {', '.join(self._unread)}"] if self._unread else []
        return f"contamination ({RULE}): searched for the items {searched}{found}{''.join(notes)}"


def check_decontaminate(config: DMTConfig) -> None:
    """Refuse `decontaminate` without an evaluation file to compare the rows with.

    Raises:
        DMTError: there is none.
    """
    evaluate = config.evaluate
    if config.decontaminate and (evaluate is None or not config.evaluates or not evaluate.data):
        problem = "there is no evaluation file to compare the rows with"
        raise DMTError("dmt.decontaminate", problem, "name the files under dmt.evaluate.data")


def search_files(raw: Mapping[str, Any], reading: Reading) -> list[str]:
    """Search the local data files of a YAML, without tokenising them.

    Args:
        raw: the content of a YAML without mistakes.
        reading: the schedule that was read from it.

    Returns:
        Lines that say what was found and what could not be read.

    Raises:
        DMTError: a row of an evaluation file cannot be scored.
    """
    search = ContaminationSearch.of(reading.config.evaluate if reading.config else None)
    if search is None:
        return ["contamination: not searched, since dmt.evaluate.data names no file"]
    unread = []
    for entry, domain in zip(raw["datasets"], reading.dataset_domains, strict=True):
        files = files_of(entry)
        if not files:
            unread.append(f"{entry['path']} (not a local file; `axolotl dmt plan` searches it)")
        for file in files:
            try:
                search.add(domain, file, batches_of_texts(_rows(file, entry)))
            except (OSError, ValueError, csv.Error, RecursionError) as error:
                unread.append(f"{file} ({first_line(error)})")
    lines = [search.summary(), *(f"warning: {line}" for line in search.warnings())]
    return lines + [f"warning: contamination: not searched: {name}" for name in unread]


def batches_of_texts(rows: Iterable[Any]) -> Iterator[list[str]]:
    """Yield the texts of some rows at a time, one text for each row."""
    batch: list[str] = []
    for row in rows:
        batch.append("\n".join(strings(row)))
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


def strings(value: Any) -> Iterator[str]:
    """Yield every text in a row, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def _rows(file: str, entry: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the rows of a data file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is compressed, or not of its format.
    """
    if Path(file).suffix in COMPRESSED:
        raise ValueError("compressed; `axolotl dmt plan` searches it")
    by_path = next((kind for part, kind in READ_AS.items() if part in file), "json")
    kind = entry.get("ds_type") or by_path
    if kind == "parquet":
        from pyarrow import parquet

        for batch in parquet.ParquetFile(file).iter_batches(batch_size=BATCH):
            yield from batch.to_pylist()
        return
    if kind not in ("json", "csv", "text"):
        raise ValueError(f"{kind}; `axolotl dmt plan` searches it")
    with open(file, encoding="utf-8-sig", newline="" if kind == "csv" else None) as stream:
        if kind == "csv":
            yield from csv.DictReader(stream)
        elif kind == "text":
            yield from stream
        elif _is_array(file):
            yield from parse_json(stream.read())
        else:
            yield from (parse_json(line) for line in stream if line.strip())


def _is_array(file: str) -> bool:
    """Return whether a file of JSON is one array."""
    with open(file, "rb") as stream:
        return stream.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
