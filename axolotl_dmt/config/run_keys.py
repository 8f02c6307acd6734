"""Axolotl's keys for a whole run that hold for each stage of a staged one.

They are read from the raw and from the validated configuration alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pydantic import TypeAdapter, ValidationError

from axolotl_dmt.config.advice import misread, shown
from axolotl_dmt.errors import DMTError


def default_max_steps(raw: Mapping[str, Any]) -> int | None:
    """Return the steps after which every stage ends at the latest; None if there is no limit.

    Raises:
        DMTError: `max_steps` is not a whole number.
    """
    value = raw.get("max_steps")
    try:
        if isinstance(value, bool):
            raise TypeError
        steps: int = TypeAdapter(int | None).validate_python(value) or -1
    except (TypeError, ValidationError):
        problem = f"{shown(value)} is not a whole number{misread(value)}"
        fix = "write max_steps: 500, or max_steps: -1 for no limit"
        raise DMTError("max_steps", problem, fix) from None
    return steps if steps > 0 else None


def default_order(raw: Mapping[str, Any]) -> str | None:
    """Return the value of `dmt.order` that Axolotl's own keys ask for; None if they ask for none.

    As in Axolotl, `group_by_length` has no effect on packed rows, and `shuffle_merged_datasets:
    false` alone keeps no order: the trainer shuffles the rows in every epoch.
    """
    if flag(raw.get("curriculum_sampling")):
        return "sequential"
    grouped = flag(raw.get("group_by_length")) and not flag(raw.get("sample_packing"))
    return "length_grouped" if grouped else None


def val_set_size(raw: Mapping[str, Any]) -> Fraction | int:
    """Return what `val_set_size` holds out: a fraction of the rows, or a number of rows above 1.

    Raises:
        DMTError: it is not a number, it is below 0, or it is 1.
    """
    value = raw.get("val_set_size")
    fix = "write a fraction of the rows such as 0.05, or a number of rows above 1"
    try:
        size = Fraction(str(0 if value is None else value))
    except ValueError:
        raise DMTError("val_set_size", f"{value!r} is not a number", fix) from None
    if size < 0 or size == 1:
        problem = "would hold out every row" if size == 1 else "is below 0"
        raise DMTError("val_set_size", f"{value} {problem}", fix)
    return int(size) if size > 1 or not size else size


def holds_out_rows(raw: Mapping[str, Any], val_rows: object) -> bool:
    """Return whether a YAML holds out rows to evaluate; `val_rows` is that of its `dmt` block."""
    return bool(val_rows or raw.get("test_datasets") or val_set_size(raw))


def tokenised_in_collator(raw: Mapping[str, Any]) -> bool:
    """Return whether rows are tokenised by a processor, when a batch is put together.

    Axolotl does so for images and sounds. Without a processor, `skip_prepare_dataset` is for rows
    that are tokenised already.
    """
    return bool(flag(raw.get("skip_prepare_dataset")) and raw.get("processor_type"))


def flag(value: Any) -> bool:
    """Return a truth value as Axolotl's validation reads it, where "no" and "false" are false."""
    try:
        return bool(TypeAdapter(bool | None).validate_python(value))
    except ValidationError:
        return bool(value)  # Axolotl's validation refuses it
