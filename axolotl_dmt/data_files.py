"""Whether local data files are there, with the columns that their entries in the YAML name.

Axolotl trains on empty answers where the column of a custom prompt's answers is not there, and ends
in a KeyError where another one is not. The first rows of the file show both before anything loads.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.raw_checks import is_local
from axolotl_dmt.run_folder import RunFolder

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt", ".gz", ".zst", ".zip")
FIRST_ROWS = 300
FIRST_BYTES = 4 * 2**20
MOST_SHOWN = 20
TOKENISED = {"input_ids", "attention_mask", "labels"}
"""A file with these is trained on as it is, whatever its entry says."""

READ_BY = {
    "alpaca": ("instruction", "output"),
    "alpaca_chat.load_qa": ("question", "answer"),
    "alpaca_w_system.load_open_orca": ("system_prompt", "question", "response"),
    "gpteacher": ("instruction", "response"),
    "input_output": ("segments",),
    "oasst": ("INSTRUCTION", "RESPONSE"),
    "summarizetldr": ("article", "summary"),
}
"""The columns without which Axolotl's own types of prompt cannot do."""


@dataclass(frozen=True)
class _Seen:
    """What the first rows of a file hold.

    Attributes:
        path: of the file.
        columns: their names, in order.
        keys: of the objects in a column that holds lists of them, where they are known.
    """

    path: str
    columns: list[str]
    keys: dict[str, list[str]] = field(default_factory=dict)


def missing_files(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """The data files that entries name and that are not there."""
    fix = "paths start from the folder that axolotl is run in"
    for key, entry in _entries(cfg):
        path = entry.get("path")
        if not isinstance(path, str) or "://" in path or Path(path).exists():
            continue
        if is_local(path) or Path(path).suffix in SUFFIXES:
            yield DMTError(f"{key}.path", f"no file {path}", fix)


def may_be_gone(cfg: Mapping[str, Any]) -> bool:
    """Whether data files may be gone: Axolotl may have a copy, or has trained on them already.

    The YAML of a run that is over is also read by `axolotl merge-lora` and `inference`, on machines
    that never saw the data.
    """
    prepared = Path(str(cfg.get("dataset_prepared_path") or "last_run_prepared"))
    results = RunFolder.of_config(cfg).results
    return bool(cfg.get("push_dataset_to_hub") or any(prepared.glob("*")) or results.is_file())


def wrong_columns(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """The columns that entries name, or their type reads, and that their local files do not have.

    Args:
        cfg: the raw configuration. Folders, the hub, compressed files and files that cannot be read
            are passed by.
    """
    for key, entry in _entries(cfg):
        seen = _look(entry)
        if seen is None or set(seen.columns) >= TOKENISED:
            continue
        kind = entry.get("type")
        if isinstance(kind, Mapping):
            yield from _custom(f"{key}.type", kind, seen, cfg)
        elif kind == "chat_template":
            yield from _messages(key, entry, seen, cfg)
        elif kind == "completion":
            yield from _missing(f"{key}.field", entry.get("field") or "text", seen)
        elif isinstance(kind, str):
            yield from _standard(f"{key}.type", kind, seen)


def _entries(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key in ("datasets", "test_datasets"):
        entries = cfg.get(key)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping):
                yield f"{key}[{index}]", entry


def _custom(
    key: str, kind: Mapping[str, Any], seen: _Seen, cfg: Mapping[str, Any]
) -> Iterator[DMTError]:
    needed = {"field_instruction": kind.get("field_instruction") or "instruction"}
    if kind.get("field_output") or not cfg.get("train_on_inputs"):
        needed["field_output"] = kind.get("field_output") or "output"
    for name, column in needed.items():
        yield from _missing(f"{key}.{name}", column, seen)
    others = [column for column in seen.columns if column not in needed.values()]
    for name in ("field_input", "field_system"):
        yield from _misspelt(f"{key}.{name}", kind.get(name), others, seen)


def _messages(
    key: str, entry: Mapping[str, Any], seen: _Seen, cfg: Mapping[str, Any]
) -> Iterator[DMTError]:
    column = str(entry.get("field_messages") or "messages")
    yield from _missing(f"{key}.field_messages", column, seen)
    others = [name for name in seen.columns if name != column]
    yield from _misspelt(f"{key}.field_tools", entry.get("field_tools"), others, seen)
    keys = seen.keys.get(column)
    if not keys:
        return
    mappings = entry.get("message_property_mappings")
    mappings = mappings if isinstance(mappings, Mapping) else {}
    own_template = any(part.get("chat_template_jinja") for part in (entry, cfg))
    for name in ("role", "content"):
        old = entry.get(f"message_field_{name}")
        named = str(mappings.get(name) or old or name)
        # a template of one's own may read other keys
        if named not in keys and not (own_template and named == name):
            place = f"message_field_{name}" if old else f"message_property_mappings.{name}"
            problem = f"{named!r} is not a key of the messages in {seen.path}"
            yield DMTError(f"{key}.{place}", problem, _known("their keys", named, keys))


def _standard(key: str, kind: str, seen: _Seen) -> Iterator[DMTError]:
    name = "alpaca" if kind.startswith("alpaca:") else kind
    if lacking := [column for column in READ_BY.get(name, ()) if column not in seen.columns]:
        problem = f"{kind} reads {' and '.join(map(repr, lacking))}, not a column of {seen.path}"
        known = f"its columns are {_list(seen.columns)}"
        yield DMTError(key, problem, f"{known}: write type: {{field_instruction, field_output}}")


def _missing(key: str, column: Any, seen: _Seen) -> Iterator[DMTError]:
    if isinstance(column, str) and column not in seen.columns:
        problem = f"{column!r} is not a column of {seen.path}"
        yield DMTError(key, problem, _known("its columns", column, seen.columns))


def _misspelt(key: str, column: Any, others: list[str], seen: _Seen) -> Iterator[DMTError]:
    """A column that need not be there is only missed where another one has nearly its name."""
    if isinstance(column, str) and difflib.get_close_matches(column, others):
        yield from _missing(key, column, seen)


def _known(what: str, wrong: str, names: list[str]) -> str:
    close = difflib.get_close_matches(wrong, names, n=1)
    return f"{what} are {_list(names)}" + (f": did you mean {close[0]!r}?" if close else "")


def _list(names: list[str]) -> str:
    more = len(names) - MOST_SHOWN
    return ", ".join(names[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _look(entry: Mapping[str, Any]) -> _Seen | None:
    """The columns of an entry's file; None where they cannot be told cheaply."""
    path = entry.get("path")
    if not isinstance(path, str) or not Path(path).is_file():
        return None
    suffix = Path(path).suffix
    kind = "json" if suffix == ".jsonl" else suffix[1:]
    look = {"json": _look_at_json, "csv": _look_at_csv, "parquet": _look_at_parquet}.get(kind)
    if look is None or entry.get("ds_type") not in (None, kind):
        return None
    try:
        return look(path)
    except (OSError, ValueError, csv.Error, RecursionError):
        return None  # whoever reads the whole of it says what is wrong


def _look_at_json(path: str) -> _Seen | None:
    rows = list(_first_objects(path))
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    columns = list(dict.fromkeys(name for row in rows for name in row))
    keys = {name: _keys(row.get(name) for row in rows) for name in columns}
    return _Seen(path, columns, {name: found for name, found in keys.items() if found})


def _first_objects(path: str) -> Iterator[Any]:
    """The first values of JSON lines, or of one array.

    Raises:
        ValueError: a value among them is no JSON.
    """
    with open(path, "rb") as file:
        text = file.read(FIRST_BYTES).decode("utf-8-sig", errors="replace")
        whole = not file.read(1)
    decode, at = json.JSONDecoder().raw_decode, 0
    start = re.compile(r"\s*\[?\s*")
    for _ in range(FIRST_ROWS):
        at = start.match(text, at).end()  # type: ignore[union-attr]
        try:
            value, at = decode(text, at)
        except ValueError:
            if whole and text[at:].strip("] \r\n"):
                raise
            return  # the end, or a row that is cut off there
        yield value
        start = re.compile(r"[\s,]*")


def _keys(values: Iterable[Any]) -> list[str]:
    """The keys of the objects in lists, which may be written as JSON."""
    found: dict[str, None] = {}
    for value in values:
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                continue
        for item in value if isinstance(value, list) else ():
            found |= dict.fromkeys(item if isinstance(item, dict) else ())
    return list(found)


def _look_at_csv(path: str) -> _Seen | None:
    with open(path, encoding="utf-8-sig", newline="") as file:
        columns = next((row for row in csv.reader(file) if row), None)
    return _Seen(path, columns) if columns else None


def _look_at_parquet(path: str) -> _Seen:
    import pyarrow as pa
    from pyarrow import parquet

    schema, keys = parquet.read_schema(path), {}
    for column in schema:
        item = getattr(column.type, "value_type", None)  # of a list
        if item is not None and pa.types.is_struct(item):
            keys[column.name] = [part.name for part in item]
    return _Seen(path, list(schema.names), keys)
