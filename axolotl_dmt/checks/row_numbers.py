"""What `axolotl dmt check` can say about the numbers of rows, without tokenising anything.

These are remarks on the rows of each local file and on replays of a handful of rows, and mistakes
for plans that do not fit into memory.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_dmt.config.reading import Reading
from axolotl_dmt.config.resolve import stage_key
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json_rows
from axolotl_dmt.plan.amounts import Amount
from axolotl_dmt.plan.inputs import Stage
from axolotl_dmt.plan.plan_size import check_size
from axolotl_dmt.plan.plan_warnings import handful, replayed_fractions

MOST_BYTES = 256 * 2**20
"""Larger files are not counted, so that the check stays quick."""

MANY_EPOCHS = 100
"""With fewer epochs, the order of the rows is smaller than the rows."""
SMALLEST_ROW = 4
"""The bytes of a row in the order of a stage, which may be more."""


class FileRows(NamedTuple):
    """The number of rows in a file, and how many of them are exact copies of others."""

    rows: int
    copies: int | None


def row_remarks(cfg: Mapping[str, Any], reading: Reading) -> Iterator[DMTError]:
    """Yield a remark with the rows of each local file, and one for each handful that is replayed.

    Args:
        cfg: the content of the YAML.
        reading: the schedule that was read from it.
    """
    entries = cfg.get("datasets")
    entries = entries if isinstance(entries, list) else []
    counted = [rows_of(entry) for entry in entries]
    for index, rows in enumerate(counted):
        if rows is not None:
            copies = f", {rows.copies:,} of them exact copies" if rows.copies else ""
            noun = "row" if rows.rows == 1 else "rows"
            problem = f"{entries[index]['path']} has {rows.rows:,} {noun}{copies}"
            yield DMTError(f"datasets[{index}]", problem, "")
    sequences = [
        None if rows is not None and str(entry.get("type")).startswith("completion") else rows
        for entry, rows in zip(entries, counted, strict=True)  # long texts become several
    ]
    domains = dict(zip(reading.domains, _sums(reading.dataset_domains, sequences), strict=True))
    block = cfg.get("dmt")
    key = "dmt.k" if isinstance(block, Mapping) and "k" in block else "dmt"
    mixes = [(stage.name, stage.mix) for stage in reading.stages]
    for stage, domain, fraction in replayed_fractions(mixes):
        warning = handful(stage, domain, fraction, domains.get(domain) or 0)
        if warning:
            yield DMTError(key, warning, "")


def beyond_memory(cfg: Mapping[str, Any], reading: Reading) -> Iterator[DMTError]:
    """Yield a mistake for each key that makes a stage too long for its order to fit into memory.

    Only the rows of local files count, and only amounts in rows and fractions, so that a stage that
    is reported can never be planned.

    Args:
        cfg: the content of the YAML.
        reading: the schedule that was read from it.
    """
    if all(stage.epochs < MANY_EPOCHS for stage in reading.stages):
        return  # no local file has rows enough, so that none needs to be counted
    entries = cfg.get("datasets")
    counted = [rows_of(entry) for entry in (entries if isinstance(entries, list) else ())]
    sums = _sums(reading.dataset_domains, counted)
    domains = {name: rows or 0 for name, rows in zip(reading.domains, sums, strict=True)}
    block = cfg.get("dmt")
    block = block if isinstance(block, Mapping) else {}
    reported: set[str] = set()
    for stage in reading.stages:
        key = stage_key(block, stage.name, "epochs", "num_epochs")
        rows = int(_epoch_rows(stage, domains) * stage.epochs)
        if stage.max_steps is not None:
            rows = min(rows, stage.max_steps)
        try:
            check_size(key, rows, SMALLEST_ROW)
        except DMTError as error:
            if key not in reported:
                yield error
            reported.add(key)


def _epoch_rows(stage: Stage, domains: Mapping[str, int]) -> int:
    """Return the fewest rows of an epoch of a stage."""

    def rows_in(name: str, amount: Amount) -> int:
        if amount.unit in ("all", "fraction"):
            return int(amount.value * domains.get(name, 0))
        return int(amount.value) if amount.unit == "rows" else 0

    return sum(rows_in(name, amount) for name, amount in stage.mix.items())


def _sums(domains: tuple[str, ...], counted: list[FileRows | None]) -> Iterator[int | None]:
    """Yield the rows of each domain; None if the rows of one of its datasets are unknown."""
    for name in dict.fromkeys(domains):
        rows = [count for domain, count in zip(domains, counted, strict=False) if domain == name]
        known = [count.rows for count in rows if count is not None]
        yield sum(known) if len(known) == len(rows) else None


def rows_of(entry: Any) -> FileRows | None:
    """Return the rows of an entry's local file; None where the entry reads something else.

    Args:
        entry: an entry of `datasets` in the raw YAML.
    """
    if not isinstance(entry, Mapping) or entry.get("shards") or "[" in str(entry.get("split")):
        return None
    path = entry.get("path")
    if not isinstance(path, str):
        return None
    readers = {
        ".jsonl": _json_lines,
        ".json": _json_rows,
        ".csv": _csv_rows,
        ".parquet": _parquet_rows,
    }
    file = Path(path)
    reader = readers.get(file.suffix)
    try:
        if reader is None or not file.is_file() or file.stat().st_size > MOST_BYTES:
            return None
        return reader(file)
    except (OSError, ValueError, csv.Error):
        return None  # Axolotl reports what is wrong when it loads the file


def _json_lines(path: Path) -> FileRows | None:
    with path.open("rb") as stream:
        lines = [hash(line.strip()) for line in stream if line.strip()]
    return FileRows(len(lines), len(lines) - len(set(lines)))


def _json_rows(path: Path) -> FileRows | None:
    """Count the rows of a file of one JSON array, or of JSON lines."""
    rows = [hash(json.dumps(row, sort_keys=True)) for _, row in read_json_rows(path)]
    return FileRows(len(rows), len(rows) - len(set(rows)))


def _csv_rows(path: Path) -> FileRows | None:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [hash(tuple(row)) for row in csv.reader(stream) if row][1:]
    return FileRows(len(rows), len(rows) - len(set(rows)))


def _parquet_rows(path: Path) -> FileRows | None:
    from pyarrow import parquet

    return FileRows(parquet.read_metadata(path).num_rows, None)
