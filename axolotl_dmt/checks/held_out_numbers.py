"""Holds the number of held-out rows against the rows of local files.

It also explains a `dmt.val_rows` that is written as a fraction, as other programs read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from axolotl_dmt.checks.dataset_types import HANDLED, strategies
from axolotl_dmt.checks.row_numbers import rows_of
from axolotl_dmt.config.reading import Reading
from axolotl_dmt.config.run_keys import val_set_size
from axolotl_dmt.errors import DMTError

KEY = "dmt.val_rows"
SEVERAL_SEQUENCES: Final = ("completion", "pretrain", "stepwise_supervised")
"""The types that may make several sequences of a row, which are then held out one by one."""


def too_many_held_out(raw: Mapping[str, Any], reading: Reading) -> Iterator[DMTError]:
    """Yield a mistake for each domain of which every row would be held out.

    Only domains whose rows are all in local files count. Rows that are left out later make the
    training fail with fewer held-out rows too.

    Args:
        raw: the YAML as a mapping.
        reading: the schedule that was read from it.
    """
    val_rows, size = reading.config.val_rows if reading.config else None, val_set_size(raw)
    if val_rows:
        yield from _too_many_of_domains(raw, reading, val_rows)
    elif size:
        counted = [_sequences(raw, reading, name) for name in reading.domains]
        total = sum(rows or 0 for rows in counted)
        count = math.ceil(size * total) if isinstance(size, Fraction) else size
        if None not in counted and count >= total:
            problem = f"{count:,} rows are to be held out of {total:,}"
            fix = "hold out fewer rows, or add rows"
            yield DMTError("val_set_size", problem, fix)


def _too_many_of_domains(
    raw: Mapping[str, Any], reading: Reading, val_rows: int | Mapping[str, int]
) -> Iterator[DMTError]:
    for name in reading.domains:
        count = val_rows.get(name, 0) if isinstance(val_rows, Mapping) else val_rows
        rows = _sequences(raw, reading, name) if count else None
        if rows is not None and count >= rows:
            key = f"{KEY}.{name}" if isinstance(val_rows, Mapping) else KEY
            problem = f"{count:,} rows are to be held out of {name}'s {rows:,}"
            few = max(1, rows // 20)
            fix = f"write {key.rpartition('.')[2]}: {few}" if few < rows else "add rows"
            yield DMTError(key, problem, fix)


def _sequences(raw: Mapping[str, Any], reading: Reading, name: str) -> int | None:
    """Return the most sequences that a domain can have; None if that is unknown."""
    entries = raw.get("datasets")
    pairs = zip(reading.dataset_domains, entries if isinstance(entries, list) else [], strict=False)
    listed = [entry for domain, entry in pairs if domain == name]
    return _rows(raw, reading, name) if all(map(_one_sequence_each, listed)) else None


def _one_sequence_each(entry: Mapping[str, Any]) -> bool:
    """Return whether a row becomes one sequence at most; an unknown type may do anything."""
    kind = entry.get("type")
    if not isinstance(kind, str):
        return True  # tokenised rows, or a prompt that the YAML describes
    module = kind.partition(".")[0].partition(":")[0]
    if module in SEVERAL_SEQUENCES:
        return False
    return kind == "axolotl_dmt.chat" or module in HANDLED or module in strategies()


def explain_fractions(
    raw: Mapping[str, Any], reading: Reading, mistakes: Sequence[DMTError]
) -> list[DMTError]:
    """Return the mistakes; a fraction in `dmt.val_rows` is explained with the number of rows it is.

    Args:
        raw: the YAML as a mapping.
        reading: the schedule that was read from it.
        mistakes: the mistakes in it.
    """
    return [
        _explained(raw, reading, mistake) if mistake.key.startswith(KEY) else mistake
        for mistake in mistakes
    ]


def _explained(raw: Mapping[str, Any], reading: Reading, mistake: DMTError) -> DMTError:
    value, domain = raw["dmt"].get("val_rows"), mistake.key[len(KEY) + 1 :]
    if domain and isinstance(value, Mapping):
        value = value.get(domain)
    fraction = _fraction(value)
    if fraction is None:
        return mistake
    name = domain or next(iter(reading.domains), "")
    rows = _rows(raw, reading, name)
    problem = f"{value} is a fraction, and val_rows is a number of rows"
    if rows is None:
        return DMTError(mistake.key, problem, f"write {domain or 'val_rows'}: 200")
    count = round(fraction * rows)
    problem += f": {float(100 * fraction):g}% of {name}'s {rows:,} rows are {count:,}"
    return DMTError(mistake.key, problem, f"write {domain or 'val_rows'}: {count}")


def _fraction(value: Any) -> Fraction | None:
    """Return a fraction such as 0.05, 5% or 1/20; None if the value is something else."""
    text = str(value).strip()
    try:
        number = Fraction(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        return None
    return number if 0 < number < 1 else None


def _rows(raw: Mapping[str, Any], reading: Reading, name: str) -> int | None:
    """Return the rows of a domain's local files; None if some of them are unknown."""
    entries = raw.get("datasets")
    pairs = zip(reading.dataset_domains, entries if isinstance(entries, list) else [], strict=False)
    counted = [rows_of(entry) for domain, entry in pairs if domain == name]
    known = [count.rows for count in counted if count is not None]
    return sum(known) if known and len(known) == len(counted) else None
