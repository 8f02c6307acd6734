"""Rows that the collator tokenises during training: messages, with images beside or within them.

Nothing here decodes an image: the columns are brought to the same types, and the rows are digested
as Arrow stores them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from datasets import (
    Dataset,
    Features,
    Image,
    Json,
    LargeList,
    List,
    Value,
    concatenate_datasets,
)
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError

BLANK = "dmt_blank"
"""The column that is true in the blank row, and null in all others."""
IMAGES = ("images", "image")
"""The columns in which the collator looks for a row's images; it reads the first that exists."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_BATCH = 256


def align_columns(parts: Mapping[str, Dataset], names: Sequence[str]) -> dict[str, Dataset]:
    """Return the rows of several datasets with the columns that the collator reads, and `BLANK`.

    A column that a dataset lacks is null there. `datasets` would add it too, but only in part.

    Args:
        parts: {the dataset's key in the YAML: its rows}.
        names: the columns in which the collator looks for messages.

    Raises:
        DMTError: a column has types that do not fit together, or images are in two columns.
    """
    read = (*names, *IMAGES)
    parts = {
        key: rows.select_columns([name for name in rows.column_names if name in read])
        for key, rows in parts.items()
    }
    types: dict[str, Any] = {}
    first: dict[str, str] = {}
    for key, rows in parts.items():
        for name, feature in rows.features.items():
            try:
                types[name] = _common(types[name], feature) if name in types else feature
            except TypeError:
                problem = f"its column {name} has another type than that of {first[name]}"
                fix = "write messages and images in the same form in both"
                raise DMTError(key, problem, fix) from None
            first.setdefault(name, key)
    if all(name in types for name in IMAGES):
        problem = f"its images are in the column image, and those of {first['images']} in images"
        raise DMTError(first["image"], problem, "give the column the same name in both")
    return {key: _with_types(rows, types) for key, rows in parts.items()}


def _with_types(rows: Dataset, types: Mapping[str, Any]) -> Dataset:
    """Return the rows with these columns; those that have the right type are not copied."""
    columns = []
    for name, feature in {**types, BLANK: Value("bool")}.items():
        wanted = Features({name: feature})
        if name not in rows.column_names:
            columns.append(Dataset.from_dict({name: [None] * len(rows)}, features=wanted))
        elif rows.features[name] != feature:  # a cast cannot turn an Arrow struct into `Json`
            column = rows.select_columns([name])
            columns.append(column.map(_unchanged, batched=True, features=wanted))
        else:
            columns.append(rows.select_columns([name]))
    return concatenate_datasets(columns, axis=1)


def _unchanged(batch: Any) -> dict[str, Any]:
    return dict(batch)


def _common(one: Any, other: Any) -> Any:
    """Return the type that two types of a column can be cast to.

    Raises:
        TypeError: there is none.
    """
    if one == other or other == Value("null"):
        return one
    if one == Value("null"):
        return other
    if Json() in (one, other):  # `datasets` reads objects with different keys so
        return Json()
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        both = {**other, **one}
        return {
            name: _common(one[name], other[name]) if name in one and name in other else both[name]
            for name in both
        }
    if isinstance(one, (List, LargeList)) and type(one) is type(other):
        return type(one)(_common(one.feature, other.feature))
    if {type(one), type(other)} == {Image, Value} and Value("string") in (one, other):
        return Image()
    raise TypeError(f"{one} and {other}")


def blank_row(rows: Dataset) -> Dataset:
    """Return the first row as a dataset of one row, whose labels `RawRowCollator` masks."""
    return rows.select([0]).remove_columns(BLANK).add_column(BLANK, [True])


class RawRowCollator:
    """Axolotl's collator, which masks the labels of blank rows and takes rows without images."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    @property
    def processor(self) -> Any:
        """The processor that tokenises the rows and prepares the images."""
        return self.collator.processing_strategy.processor

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Return the batch of some rows."""
        from axolotl_dmt.training.tokenised_rows import IGNORED

        batch = self.collator([_without_empty(row) for row in rows])
        for position, row in enumerate(rows):
            if row.get(BLANK):
                batch["labels"][position] = IGNORED
        return batch


def _without_empty(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without the mark of a blank one, and without an empty list of images."""
    return {
        name: value
        for name, value in row.items()
        if name != BLANK and not (name in IMAGES and not value)
    }


def content_digest(rows: Dataset) -> str:
    """Return a hex digest of the rows' texts and images, which does not depend on storage."""
    return blake2b(row_digests(rows).astype("<u8").tobytes(), digest_size=16).hexdigest()


def row_digests(rows: Dataset) -> NDArray[np.uint64]:
    """Return a digest of each row's texts and images, shape (rows,), equal for equal rows.

    An image that is a file of its own counts by its name and size, so that the files may move.
    """
    digests = []
    for row in plain_rows(rows):
        digest = blake2b(digest_size=8)
        _feed(digest, row)
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _feed(digest: Any, value: Any) -> None:
    """Add a value to a digest. A missing key equals a null one."""
    if isinstance(value, dict):
        if set(value) == {"bytes", "path"}:  # as `datasets` stores an image
            _feed(digest, value["bytes"] or value["path"])
            return
        for name in sorted(name for name in value if value[name] is not None and name != BLANK):
            _feed(digest, name)
            _feed(digest, value[name])
        digest.update(b"}")
    elif isinstance(value, list):
        for item in value:
            _feed(digest, item)
        digest.update(b"]")
    elif isinstance(value, bytes):
        digest.update(b"b%d:" % len(value))
        digest.update(value)
    else:
        text = _file_identity(value) if isinstance(value, str) else repr(value)
        data = text.encode("utf-8", errors="surrogatepass")
        digest.update(b"s%d:" % len(data))
        digest.update(data)


def _file_identity(text: str) -> str:
    """Return the name and size in place of an image file's path, and any other text unchanged."""
    if not text.lower().endswith(SUFFIXES) or "\n" in text:
        return text
    try:
        return f"{Path(text).name} {Path(text).stat().st_size}"
    except (OSError, ValueError):
        return text


def plain_rows(rows: Dataset) -> Iterator[dict[str, Any]]:
    """Yield the rows with images that are not decoded."""
    features = rows.features
    for batch in rows.with_format("arrow").iter(batch_size=_BATCH):
        for row in batch.to_pylist():
            yield {name: _parse(features[name], value) for name, value in row.items()}


def _parse(feature: Any, value: Any) -> Any:
    """Return a value as Arrow stores it with its `Json` parts parsed."""
    if value is None:
        return None
    if isinstance(feature, Json):
        return json.loads(value)
    if isinstance(feature, (List, LargeList)):
        return [_parse(feature.feature, item) for item in value]
    if isinstance(feature, Mapping):
        return {name: _parse(feature[name], item) for name, item in value.items()}
    return value
