"""Finds rows to train on that share a long text with an evaluation item.

The items are those of local evaluation files, and of public benchmarks in the cache of `datasets`.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.checks.cached_benchmarks import benchmarks_of, cached_questions
from axolotl_dmt.checks.data_paths import COMPRESSED, READ_AS, files_of
from axolotl_dmt.checks.evaluation_files import local_questions
from axolotl_dmt.checks.ngrams import (
    DIGESTED_RULE,
    LONG,
    RULE,
    Matches,
    NGramIndex,
    no_matches,
)
from axolotl_dmt.config.args import DMTConfig, EvaluateConfig
from axolotl_dmt.config.reading import Reading
from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.evaluation.scores import ability_of
from axolotl_dmt.evaluation.tasks import tasks_of
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
    """A search for evaluation items in rows to train on, and what it found.

    Args:
        items: {task: (keys, texts)} of the items.
        cached: {task: public dataset} for those of the items that are in no local file.
        unread: {task: its public dataset, or None} of the tasks whose items are not searched for.
    """

    def __init__(
        self,
        items: Mapping[str, tuple[Sequence[str], Sequence[str]]],
        *,
        cached: Mapping[str, str] | None = None,
        unread: Mapping[str, str | None] | None = None,
    ) -> None:
        self._sizes = {task: len(keys) for task, (keys, _) in items.items()}
        self._of = [(task, number) for task, size in self._sizes.items() for number in range(size)]
        self._keys = [key for keys, _ in items.values() for key in keys]
        self._texts = [text for _, texts in items.values() for text in texts]
        self._index = NGramIndex(self._texts)
        self._overlaps: dict[tuple[str, str, bool], _Overlap] = {}
        self._counts: dict[tuple[str, bool], dict[str, Counter[str]]] = {}
        self._cached, self._unread = dict(cached or {}), dict(unread or {})

    @classmethod
    def of(cls, evaluate: EvaluateConfig | None) -> ContaminationSearch | None:
        """Return the search for the items of a block; None where there are no items here.

        Raises:
            DMTError: a row of a file cannot be scored.
        """
        if evaluate is None or evaluate.when == "never":
            return None
        local, benchmarks = local_questions(evaluate), benchmarks_of(evaluate)
        items = {**local, **cached_questions(evaluate)}
        unread = {t: benchmarks.get(t) for t in tasks_of(evaluate) if t not in items}
        cached = {task: name for task, name in benchmarks.items() if task in items}
        return cls(items, cached=cached, unread=unread) if items else None

    @property
    def has_files(self) -> bool:
        """Whether some of the items are in a local file."""
        return self._sizes.keys() > self._cached.keys()

    def of_files(self, matches: Matches) -> NDArray[np.bool_]:
        """Return which matches are with an item of a local file, shape (matches,)."""
        in_file = np.asarray([task not in self._cached for task, _ in self._of], bool)
        is_of_file: NDArray[np.bool_] = in_file[matches[:, 1]]
        return is_of_file

    @cached_property
    def digest(self) -> str:
        """A digest of the items and of the rule, on which the matches of some rows depend."""
        content = json.dumps([DIGESTED_RULE, self._texts])
        return blake2b(content.encode("utf-8", "replace"), digest_size=16).hexdigest()

    def find(self, batches: Iterable[Sequence[str]]) -> Matches:
        """Search the texts of the rows of a dataset, some at a time."""
        parts, start = [no_matches()], 0
        for texts in batches:
            parts.append(self._index.matches(texts) + np.asarray([start, 0, 0, 0]))
            start += len(texts)
        return np.concatenate(parts)

    def fits(self, matches: Matches, rows: int) -> bool:
        """Whether matches can be those of this search in this number of rows."""
        is_table = matches.ndim == 2 and matches.shape[1:] == (4,) and matches.dtype == np.int64
        if not is_table or not len(matches):
            return is_table
        limits = (rows, len(self._of), np.iinfo(np.int64).max, LONG + 1)
        return bool((matches >= 0).all() and (matches.max(0) < limits).all())

    def add(self, domain: str, source: str, matches: Matches, *, left_out: bool = False) -> None:
        """Take note of the rows of a dataset that share text with items.

        Args:
            domain: the domain of the rows.
            source: the name of the dataset.
            matches: what `find` returned.
            left_out: whether these rows are not trained on.
        """
        for row, item, first, words in matches.tolist():
            task, number = self._of[item]
            overlap = self._overlaps.setdefault((domain, task, left_out), _Overlap())
            overlap.rows.add((source, row))
            overlap.items.add(item)
            if len(overlap.examples) < EXAMPLES:
                shared = self._index.words(item, first, words)
                overlap.examples.append(f"row {row} of {source} and item {number}: {shared!r}")
            counts = self._counts.setdefault((task, left_out), {})
            counts.setdefault(self._keys[item], Counter())[domain] += 1

    def record(self) -> dict[str, Any]:
        """Return the rule and what was found and left out, for `write_contamination`."""
        return {
            "rule": RULE,
            "tasks": {
                task: {
                    "items": size,
                    **({"dataset": self._cached[task]} if task in self._cached else {}),
                    "contaminated": self._items_of(task, left_out=False),
                    "left_out": self._items_of(task, left_out=True),
                }
                for task, size in self._sizes.items()
            },
            "overlaps": [
                {
                    "domain": domain,
                    "task": task,
                    "left_out": left_out,
                    "rows": len(overlap.rows),
                    "items": len(overlap.items),
                    "examples": overlap.examples,
                }
                for (domain, task, left_out), overlap in sorted(self._overlaps.items())
            ],
            "not_searched": list(self._unread),
        }

    def _items_of(self, task: str, *, left_out: bool) -> dict[str, dict[str, int]]:
        counts = self._counts.get((task, left_out), {})
        return {key: dict(by_domain) for key, by_domain in counts.items()}

    def warnings(self) -> Iterator[str]:
        """Yield a line for each domain and task that share text in rows to train on."""
        for (domain, task, left_out), overlap in sorted(self._overlaps.items()):
            if not left_out:
                yield (
                    f"contamination: {len(overlap.rows):,} row(s) of {domain} share text with "
                    f"{len(overlap.items):,} of {self._sizes[task]:,} items of {ability_of(task)} "
                    f"({task}), such as {'; '.join(overlap.examples)}"
                )

    def summary(self) -> str:
        """Return a line that says what was searched for, by which rule, and what was left out."""
        searched = ", ".join(
            f"{count:,} of {task}"
            + (f" (cached {self._cached[task]})" if task in self._cached else "")
            for task, count in self._sizes.items()
        )
        found = "" if self._overlaps else ": no row shares text with them"
        rows = {
            (domain, *row)
            for (domain, _, left_out), overlap in self._overlaps.items()
            for row in overlap.rows
            if left_out
        }
        notes = [f"; {len(rows):,} row(s) that share text are left out"] if rows else []
        short = len(self._index.too_short)
        notes += [f"; {short:,} have too few words"] if short else []
        notes += [f"; not searched for: {_names(self._unread)}"] if self._unread else []
        return f"contamination ({RULE}): searched for the items {searched}{found}{''.join(notes)}"


def nothing_searched(evaluate: EvaluateConfig | None) -> str:
    """Return the line for a block without items on this machine."""
    line = "contamination: not searched, since dmt.evaluate.data names no file"
    if evaluate is None or evaluate.when == "never":
        return line
    benchmarks = benchmarks_of(evaluate)
    unread = {task: benchmarks.get(task) for task in tasks_of(evaluate)}
    return f"{line} and the cache no benchmark of {_names(unread)}"


def _names(unread: Mapping[str, str | None]) -> str:
    """Return the tasks that are not searched for, with the datasets that are not in the cache."""
    return ", ".join(f"{t} ({name} is not cached)" if name else t for t, name in unread.items())


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
    evaluate = reading.config.evaluate if reading.config else None
    search = ContaminationSearch.of(evaluate)
    if search is None:
        return [nothing_searched(evaluate)]
    unread = []
    for entry, domain in zip(raw["datasets"], reading.dataset_domains, strict=True):
        files = files_of(entry)
        if not files:
            unread.append(f"{entry['path']} (not a local file; `axolotl dmt plan` searches it)")
        for file in files:
            try:
                search.add(domain, file, search.find(batches_of_texts(_rows(file, entry))))
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
