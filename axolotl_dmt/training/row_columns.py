"""Brings the columns of tokenised rows from different sources to the same types.

Rows that were tokenised elsewhere and read from JSON have 64-bit numbers, for example, and those
that Axolotl tokenises have fewer bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.training.tokenised_rows import arrow_chunks

PER_TOKEN = ("attention_mask", "labels")
"""The columns with one value for each of a row's `input_ids`."""


def check_lengths(rows: Dataset, key: str, path: str) -> None:
    """Check that each row has as many labels and mask values as tokens.

    Args:
        rows: the tokenised rows of a dataset.
        key: the dataset's key in the YAML.
        path: its path.

    Raises:
        DMTError: some rows do not; the error has their count and the first one.
    """
    tokens = _list_lengths(rows, "input_ids")
    for column in PER_TOKEN:
        if column not in rows.column_names:
            continue
        lengths = _list_lengths(rows, column)
        wrong = np.flatnonzero((lengths != tokens) | (tokens < 0))
        if len(wrong):
            first = int(wrong[0])
            problem = (
                f"{path}: in {len(wrong)} of {len(rows)} rows, {column} and input_ids differ in "
                f"length; the first is row {first} with {max(lengths[first], 0)} and "
                f"{max(tokens[first], 0)}"
            )
            raise DMTError(key, problem, "write one value for each token, or remove the rows")


def _list_lengths(rows: Dataset, column: str) -> NDArray[np.int64]:
    """Return the length of each list in a column, and -1 for null."""
    lengths = [
        pc.fill_null(pc.list_value_length(chunk).cast(pa.int64()), -1).to_numpy()
        for chunk in arrow_chunks(rows, column)
    ]
    return np.concatenate(lengths) if lengths else np.zeros(0, np.int64)


def align_columns(parts: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Return the rows of several datasets with the columns that all have, each of one type.

    A column of whole numbers takes the type that most rows have.

    Args:
        parts: {the dataset's key in the YAML: its rows}.

    Raises:
        DMTError: a column holds whole numbers in one dataset and something else in another.
    """
    names = set.intersection(*(set(rows.column_names) for rows in parts.values()))
    parts = {key: _only(rows, names) for key, rows in parts.items()}
    types = {}
    for name in sorted(names):
        first = next(iter(parts))
        for key, rows in parts.items():
            if rows.features[name] != parts[first].features[name]:
                _check_castable(name, [(first, parts[first]), (key, rows)])
                types[name] = _most_common_type(name, list(parts.values()))
    return {key: _cast(rows, types, key) for key, rows in parts.items()}


def _only(rows: Dataset, columns: set[str]) -> Dataset:
    extra = [name for name in rows.column_names if name not in columns]
    return rows.remove_columns(extra) if extra else rows


def _check_castable(name: str, parts: Sequence[tuple[str, Dataset]]) -> None:
    types = [_arrow_type(rows, name) for _, rows in parts]
    if not all(pa.types.is_integer(_item_type(type_)) for type_ in types):
        (first, _), (second, _) = parts
        problem = f"its column {name} has the type {types[1]}, and that of {first} has {types[0]}"
        raise DMTError(second, problem, "use the same type in both, or remove the column from one")


def _arrow_type(rows: Dataset, name: str) -> pa.DataType:
    return rows.data.schema.field(name).type


def _item_type(type_: pa.DataType) -> pa.DataType:
    """Return the type of the items of a list, however deep, or the type itself."""
    while pa.types.is_list(type_) or pa.types.is_large_list(type_):
        type_ = type_.value_type
    return type_


def _most_common_type(name: str, parts: Sequence[Dataset]) -> object:
    counts: list[tuple[object, int]] = []
    for rows in parts:
        feature = rows.features[name]
        counts.append((feature, sum(len(r) for r in parts if r.features[name] == feature)))
    return max(counts, key=lambda count: count[1])[0]


def _cast(rows: Dataset, types: Mapping[str, object], key: str) -> Dataset:
    changed = {name: type_ for name, type_ in types.items() if rows.features[name] != type_}
    if not changed:
        return rows
    features = rows.features.copy()
    features.update(changed)
    try:
        return rows.cast(features)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        names = " and ".join(changed)
        problem = f"its {names} cannot be converted to the type of the other datasets"
        raise DMTError(key, f"{problem} ({error})".splitlines()[0], "check its values") from error
