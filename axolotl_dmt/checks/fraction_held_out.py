"""Explains a `dmt.val_rows` that is written as a fraction, as other programs read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from axolotl_dmt.checks.row_numbers import rows_of
from axolotl_dmt.config.reading import Reading
from axolotl_dmt.errors import DMTError

KEY = "dmt.val_rows"


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
