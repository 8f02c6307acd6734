"""Rows that the collator tokenises during training: messages, with images beside or within them.

Nothing here decodes an image. The columns are brought to the same types, checked as far as that is
possible without a processor, and digested as Arrow stores them.
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

from axolotl_dmt.checks.collated_rows import unreadable_columns
from axolotl_dmt.errors import DMTError

BLANK = "dmt_blank"
"""The column that is true in the blank row, and null in all others."""
IMAGES = ("images", "image")
"""The columns in which the collator looks for a row's images; it reads the first that exists."""
IMAGE_KEYS = ("path", "image", "url")
"""The keys of a part of a message that may hold the path of an image."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_BATCH = 256


def check_rows(rows: Dataset, key: str, path: str, names: Sequence[str]) -> None:
    """Check the rows of a dataset as far as that is possible without a processor.

    Args:
        rows: the rows as they are in the file.
        key: the dataset's key in the YAML.
        path: its path.
        names: the columns in which the collator looks for messages, the first one first.

    Raises:
        DMTError: the rows are tokenised or have no messages, or the file of an image is missing.
    """
    if error := unreadable_columns(key, path, rows.column_names, names):
        raise error
    column = next((name for name in IMAGES if name in rows.column_names), None)
    if column and not isinstance(rows.features[column], (List, LargeList)):
        problem = f"{path}: its column {column} holds single images, and the collator reads lists"
        raise DMTError(key, problem, f"write a list in every row, such as {column}: [a.png]")
    names = [name for name in names if name in rows.column_names]
    for number, row in enumerate(_plain(rows)):
        messages = next((row[name] for name in names if row[name] is not None), None)
        if not messages:
            problem = f"{path}: row {number} has no messages"
            raise DMTError(key, problem, "add some, or remove the row (the first is row 0)")
        for image in _image_paths(messages, row.get(column) if column else None):
            if not Path(image).is_file():
                problem = f"{path}: row {number} names the image {image}, which does not exist"
                raise DMTError(key, problem, "correct the path; it is relative to where you start")


def _image_paths(messages: Any, images: Any) -> Iterator[str]:
    """Yield the paths of images in a row."""
    values = list(images or ())
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            values += [part.get(name) for name in IMAGE_KEYS] if isinstance(part, dict) else []
    for value in values:
        if isinstance(value, dict):  # as `datasets` stores an image
            value = None if value.get("bytes") else value.get("path")
        # Other texts may be an image in base64.
        if isinstance(value, str) and value.lower().endswith(SUFFIXES) and "://" not in value:
            yield value


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
    for row in _plain(rows):
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


def _plain(rows: Dataset) -> Iterator[dict[str, Any]]:
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
