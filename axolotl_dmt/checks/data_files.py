"""Checks that local data files have the columns that their entries in the YAML name.

Axolotl trains on empty answers if the answer column of a custom prompt is missing, and fails with a
KeyError if another one is. The first rows of the file show both before anything is loaded.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axolotl_dmt.chat import PAIR, columns_of_row, half_of_pair
from axolotl_dmt.checks.data_paths import entries
from axolotl_dmt.config.run_keys import tokenised_in_collator
from axolotl_dmt.errors import DMTError, closest
from axolotl_dmt.files import parse_json
from axolotl_dmt.results.folder import RunFolder

FIRST_ROWS = 300
FIRST_BYTES = 4 * 2**20
MOST_NAMES = 20
"""Column names that a message lists at most."""
TOKENISED = {"input_ids", "attention_mask", "labels"}
"""Axolotl trains on a file with these columns unchanged, whatever its entry says."""

OUR_CHAT = "axolotl_dmt.chat"

READ_BY = {
    "alpaca": ("instruction", "output"),
    "alpaca_chat.load_qa": ("question", "answer"),
    "alpaca_w_system.load_open_orca": ("system_prompt", "question", "response"),
    "gpteacher": ("instruction", "response"),
    "input_output": ("segments",),
    "oasst": ("INSTRUCTION", "RESPONSE"),
    "summarizetldr": ("article", "summary"),
}
"""The columns that each of Axolotl's prompt types requires."""


@dataclass(frozen=True)
class _FileColumns:
    """The columns in the first rows of a file.

    Attributes:
        path: the path of the file.
        columns: the names of its columns, in order.
        keys: for a column that holds lists of objects, the keys of these objects, where known.
    """

    path: str
    columns: list[str]
    keys: dict[str, list[str]] = field(default_factory=dict)


def may_be_gone(cfg: Mapping[str, Any]) -> bool:
    """Return whether data files may be missing: Axolotl has prepared data, or the run has results.

    `axolotl merge-lora` and `inference` also read the YAML of a finished run, on machines that
    never had the data.
    """
    prepared = Path(str(cfg.get("dataset_prepared_path") or "last_run_prepared"))
    results = RunFolder.of_config(cfg).results
    return bool(cfg.get("push_dataset_to_hub") or any(prepared.glob("*")) or results.is_file())


def wrong_columns(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake for each column that an entry or its type reads and its file does not have.

    Args:
        cfg: the raw configuration. Folders, datasets on the hub, compressed files and files that
            cannot be read are skipped, and so is a YAML whose collator reads the columns itself.
    """
    if tokenised_in_collator(cfg):
        return
    for key, entry in entries(cfg):
        file = _read_columns(entry)
        if file is None or set(file.columns) >= TOKENISED:
            continue
        kind = entry.get("type")
        if isinstance(kind, Mapping):
            yield from _custom(f"{key}.type", kind, file, cfg)
        elif kind == "chat_template":
            yield from _messages(key, entry, file, cfg)
        elif kind == OUR_CHAT:
            yield from _our_chat(key, entry, file)
        elif kind == "completion":
            yield from _missing(f"{key}.field", entry.get("field") or "text", file)
        elif isinstance(kind, str):
            yield from _standard(f"{key}.type", kind, file)


def _custom(
    key: str, kind: Mapping[str, Any], file: _FileColumns, cfg: Mapping[str, Any]
) -> Iterator[DMTError]:
    needed = {"field_instruction": kind.get("field_instruction") or "instruction"}
    if kind.get("field_output") or not cfg.get("train_on_inputs"):
        needed["field_output"] = kind.get("field_output") or "output"
    for name, column in needed.items():
        yield from _missing(f"{key}.{name}", column, file)
    others = [column for column in file.columns if column not in needed.values()]
    for name in ("field_input", "field_system"):
        yield from _misspelt(f"{key}.{name}", kind.get(name), others, file)


def _messages(
    key: str, entry: Mapping[str, Any], file: _FileColumns, cfg: Mapping[str, Any]
) -> Iterator[DMTError]:
    column = str(entry.get("field_messages") or "messages")
    yield from _missing(f"{key}.field_messages", column, file)
    others = [name for name in file.columns if name != column]
    yield from _misspelt(f"{key}.field_tools", entry.get("field_tools"), others, file)
    keys = file.keys.get(column)
    if not keys:
        return
    mappings = entry.get("message_property_mappings")
    mappings = mappings if isinstance(mappings, Mapping) else {}
    has_own_template = any(part.get("chat_template_jinja") for part in (entry, cfg))
    for name in ("role", "content"):
        old = entry.get(f"message_field_{name}")
        named = str(mappings.get(name) or old or name)
        # a custom template may read other keys
        if named not in keys and not (has_own_template and named == name):
            place = f"message_field_{name}" if old else f"message_property_mappings.{name}"
            problem = f"{named!r} is not a key of the messages in {file.path}"
            yield DMTError(f"{key}.{place}", problem, _list_names("their keys", named, keys))


def _our_chat(key: str, entry: Mapping[str, Any], file: _FileColumns) -> Iterator[DMTError]:
    """Yield a mistake if rows have neither messages nor a question and an answer."""
    named = [name for name in PAIR if entry.get(name)]
    wrong = [error for name in named for error in _missing(f"{key}.{name}", entry[name], file)]
    yield from wrong
    if (half := half_of_pair(entry)) and not wrong:
        problem = f"{half} is given without it, so the pair of columns is not known"
        (other,) = set(PAIR) - {half}
        yield DMTError(f"{key}.{other}", problem, "name the other column too")
    if named:
        return
    messages = str(entry.get("field_messages") or "messages")
    if messages in file.columns or columns_of_row(dict.fromkeys(file.columns)):
        return
    problem = f"{file.path} has no column {messages!r} and no known pair of question and answer"
    columns = f"its columns are {_list(file.columns)}"
    yield DMTError(f"{key}.type", problem, f"{columns}: name two as field_human and field_model")


def _standard(key: str, kind: str, file: _FileColumns) -> Iterator[DMTError]:
    name = "alpaca" if kind.startswith("alpaca:") else kind
    if missing := [column for column in READ_BY.get(name, ()) if column not in file.columns]:
        problem = f"{kind} reads {' and '.join(map(repr, missing))}, not a column of {file.path}"
        columns = f"its columns are {_list(file.columns)}"
        yield DMTError(key, problem, f"{columns}: write type: {{field_instruction, field_output}}")


def _missing(key: str, column: Any, file: _FileColumns) -> Iterator[DMTError]:
    if isinstance(column, str) and column not in file.columns:
        problem = f"{column!r} is not a column of {file.path}"
        yield DMTError(key, problem, _list_names("its columns", column, file.columns))


def _misspelt(key: str, column: Any, others: list[str], file: _FileColumns) -> Iterator[DMTError]:
    """Yield a mistake for an optional column, but only if another column has a similar name."""
    if isinstance(column, str) and closest(column, others):
        yield from _missing(key, column, file)


def _list_names(subject: str, wrong: str, names: list[str]) -> str:
    close = closest(wrong, names)
    return f"{subject} are {_list(names)}" + (f": did you mean {close!r}?" if close else "")


def _list(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def columns_of(entry: Mapping[str, Any]) -> list[str] | None:
    """Return the columns of an entry's local file; None if they cannot be read quickly."""
    file = _read_columns(entry)
    return None if file is None else file.columns


def keys_of(entry: Mapping[str, Any], column: str) -> list[str]:
    """Return the keys of the objects in a column of an entry's file; empty if they are unknown."""
    file = _read_columns(entry)
    return [] if file is None else file.keys.get(column, [])


def _read_columns(entry: Mapping[str, Any]) -> _FileColumns | None:
    """Return the columns of an entry's file; None if they cannot be read quickly."""
    path = entry.get("path")
    if not isinstance(path, str) or not Path(path).is_file():
        return None
    suffix = Path(path).suffix
    kind = "json" if suffix == ".jsonl" else suffix[1:]
    readers = {"json": _json_columns, "csv": _csv_columns, "parquet": _parquet_columns}
    if kind not in readers or entry.get("ds_type") not in (None, kind):
        return None
    try:
        return readers[kind](path)
    except (OSError, ValueError, csv.Error, RecursionError):
        return None  # Axolotl reports what is wrong when it loads the file


def first_rows(entry: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the first rows of an entry's local file; None if they cannot be read quickly."""
    path = entry.get("path")
    if not isinstance(path, str) or not Path(path).is_file():
        return None
    suffix = Path(path).suffix
    kind = "json" if suffix == ".jsonl" else suffix[1:]
    if entry.get("ds_type") not in (None, kind):
        return None
    readers = {"json": _first_objects, "csv": _first_csv_rows, "parquet": _first_parquet_rows}
    try:
        rows = list(readers[kind](path)) if kind in readers else []
    except (OSError, ValueError, csv.Error, RecursionError):
        return None
    return [row for row in rows if isinstance(row, dict)] or None


def _first_csv_rows(path: str) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        yield from itertools.islice(csv.DictReader(stream), FIRST_ROWS)


def _first_parquet_rows(path: str) -> Iterator[dict[str, Any]]:
    from pyarrow import parquet

    batches = parquet.ParquetFile(path).iter_batches(batch_size=FIRST_ROWS)
    for batch in itertools.islice(batches, 1):
        yield from batch.to_pylist()


def _json_columns(path: str) -> _FileColumns | None:
    rows = list(_first_objects(path))
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    columns = list(dict.fromkeys(name for row in rows for name in row))
    keys = {name: _keys(row.get(name) for row in rows) for name in columns}
    return _FileColumns(path, columns, {name: names for name, names in keys.items() if names})


def _first_objects(path: str) -> Iterator[Any]:
    """Yield the first values in a file of JSON lines or of one JSON array.

    Raises:
        ValueError: one of them is not JSON.
    """
    with open(path, "rb") as stream:
        text = stream.read(FIRST_BYTES).decode("utf-8-sig", errors="replace")
        whole = not stream.read(1)
    decode, at = json.JSONDecoder().raw_decode, 0
    start = re.compile(r"\s*\[?\s*")
    for _ in range(FIRST_ROWS):
        at = start.match(text, at).end()  # type: ignore[union-attr]
        try:
            value, at = decode(text, at)
        except ValueError:
            if whole and text[at:].strip("] \r\n"):
                raise
            return  # the end, or a row that is cut off at FIRST_BYTES
        yield value
        start = re.compile(r"[\s,]*")


def _keys(values: Iterable[Any]) -> list[str]:
    """Return the keys of the objects in lists; a list may be written as a JSON string."""
    keys: dict[str, None] = {}
    for value in values:
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = parse_json(value)
            except ValueError:
                continue
        for item in value if isinstance(value, list) else ():
            keys |= dict.fromkeys(item if isinstance(item, dict) else ())
    return list(keys)


def _csv_columns(path: str) -> _FileColumns | None:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        columns = next((row for row in csv.reader(stream) if row), None)
    return _FileColumns(path, columns) if columns else None


def _parquet_columns(path: str) -> _FileColumns:
    import pyarrow as pa
    from pyarrow import parquet

    schema, keys = parquet.read_schema(path), {}
    for column in schema:
        item = getattr(column.type, "value_type", None)  # of a list
        if item is not None and pa.types.is_struct(item):
            keys[column.name] = [part.name for part in item]
    return _FileColumns(path, list(schema.names), keys)
