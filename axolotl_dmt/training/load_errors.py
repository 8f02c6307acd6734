"""Finds the line or the row of a dataset that cannot be read or tokenised."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axolotl.utils.data.shared import load_dataset_with_config
from axolotl.utils.data.wrappers import get_dataset_wrapper
from axolotl.utils.dict import DictDefault
from datasets import Dataset

from axolotl_dmt.checks.data_files import MOST_NAMES, TOKENISED
from axolotl_dmt.checks.data_paths import files_of
from axolotl_dmt.checks.dataset_types import missing_type
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import parse_json

LONGEST_CAUSE = 200
"""Characters of another library's message that are shown at most."""
MOST_BLANK_BYTES = 1024
"""A file of more bytes is not looked through for blank lines only."""
NOT_JSON = "is not JSON"


def cause_of(error: BaseException) -> str:
    """Return the name and the message of the exception that an exception was raised from.

    `datasets` wraps what went wrong in an exception without details, and an exception from another
    process has that process's traceback as its cause.
    """
    while error.__cause__ is not None and type(error.__cause__).__name__ != "RemoteTraceback":
        error = error.__cause__
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= LONGEST_CAUSE else text[: LONGEST_CAUSE - 3] + "..."


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Loads a dataset that failed again, step by step, to find out what is wrong with it.

    Attributes:
        cfg: Axolotl's validated configuration.
        tokenizer: the tokenizer of the base model.
        processor: its processor, or None.
        split: the split that Axolotl takes if the entry names none.
    """

    cfg: DictDefault
    tokenizer: Any
    processor: Any
    split: str = "train"

    def explain(self, entry: DictDefault, key: str, error: Exception) -> DMTError:
        """Return the mistake that made a dataset fail.

        Args:
            entry: the dataset's entry in the YAML.
            key: its key.
            error: the exception that was raised.
        """
        path = entry.path
        try:
            source = self._source(entry)
        except Exception as failure:
            return _unreadable(entry, key, failure)
        columns = source.column_names
        if not entry.type and not set(columns) >= TOKENISED:
            return missing_type(key, entry, columns)
        kind = f"type {entry.type}" if isinstance(entry.type, str) else "its type"
        names = ", ".join(columns[:MOST_NAMES])
        fix = f"check {kind} and the columns that it reads; the columns are {names}"
        if (row := self._first_bad_row(source, entry)) is None:
            return DMTError(key, f"{path} could not be tokenised ({cause_of(error)})", fix)
        problem = f"row {row.number} of {path} cannot be tokenised ({cause_of(row.cause)})"
        return DMTError(key, problem, f"correct the row (the first is row 0), or {fix}")

    def _source(self, entry: DictDefault) -> Dataset:
        loaded = load_dataset_with_config(entry, self.cfg.hf_use_auth_token)
        if isinstance(loaded, dict):
            return loaded[entry.split if entry.split in loaded else self.split]
        return loaded

    def _first_bad_row(self, source: Dataset, entry: DictDefault) -> _BadRow | None:
        """Return the first row that cannot be tokenised by itself, in the source's order."""
        rows = _RowByRow(
            source.data,
            info=source.info,
            split=source.split,
            indices_table=source._indices,
            fingerprint=source._fingerprint,
        )
        kind = entry.type if isinstance(entry.type, str) else ""
        base, _, style = kind.partition(":")
        try:
            get_dataset_wrapper(
                dataset_config=entry,
                tokenizer=self.tokenizer,
                cfg=self.cfg,
                dataset_base_type=base or None,
                dataset=rows,
                dataset_prompt_style=style or None,
                processor=self.processor,
            )
        except _BadRow as row:
            return row
        except Exception:
            return None  # it fails before the first row
        return None


def _unreadable(entry: DictDefault, key: str, error: Exception) -> DMTError:
    """Return the mistake of a dataset whose files cannot be read."""
    files = files_of(entry)
    if files and all(_is_blank(Path(file)) for file in files):
        return DMTError(key, f"{entry.path} has no rows", "add rows, or remove the entry")
    for file in files:
        if broken := broken_line(file):
            number, problem = broken
            fix = "correct the line, or remove it"
            return DMTError(key, f"line {number} of {file} {problem}", fix)
    problem = f"{entry.path} could not be read ({cause_of(error)})"
    return DMTError(key, problem, "check its path and its content")


def _is_blank(file: Path) -> bool:
    return file.stat().st_size <= MOST_BLANK_BYTES and not file.read_bytes().strip()


class _BadRow(Exception):
    """A row that cannot be tokenised: its number, and the exception that it raised."""

    def __init__(self, number: int, cause: Exception) -> None:
        super().__init__(number)
        self.number, self.cause = number, cause


class _RowByRow(Dataset):  # type: ignore[misc]  # datasets has no types
    """A dataset whose `map` calls the function on one row after another, in this process."""

    def filter(self, function: Callable[[Any], Any], **_: Any) -> _RowByRow:
        """Return all rows: a row that would be dropped is tokenised, too."""
        return self

    def map(self, function: Callable[[Any], Any], *, batched: bool = False, **_: Any) -> _RowByRow:
        """Call the function on each row and return the rows unchanged.

        Raises:
            _BadRow: a row cannot be read, or the function raised for it.
        """
        for number in range(len(self)):
            try:
                row = self[number]  # fails if a text is not UTF-8
                function({name: [value] for name, value in row.items()} if batched else row)
            except Exception as error:
                raise _BadRow(number, error) from error
        return self


def broken_line(path: str) -> tuple[int, str] | None:
    """Return the first line of a file of JSON lines that is not an object, and what it is.

    Returns:
        The line's number, from 1, and the problem, such as "is not JSON"; None if there is no such
        line, or the file is of another kind.
    """
    suffixes = [suffix for suffix in Path(path).suffixes if suffix in (".json", ".jsonl", ".gz")]
    if not suffixes or suffixes == [".gz"]:
        return None
    opened = gzip.open if suffixes[-1] == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                problem = _problem(line) if line.strip() else None
                if problem and number == 1:
                    return _first_line_problem(line, problem, line + lines.read())
                if problem:
                    return number, problem
    except (OSError, ValueError, EOFError):
        return None  # it is not gzip or not UTF-8, and the message of `datasets` says so
    return None


def _first_line_problem(line: str, problem: str, text: str) -> tuple[int, str] | None:
    """Return the problem of the first line, unless the whole file is one JSON value."""
    if line.lstrip().startswith("[") and problem == NOT_JSON:
        try:
            parse_json(text)
        except json.JSONDecodeError as error:
            return error.lineno, NOT_JSON
        except ValueError as error:
            return 1, f"is {error}"
    return None if _is_json(text) else (1, problem)


def _problem(line: str) -> str | None:
    if not _is_json(line):
        return NOT_JSON
    start = line.lstrip()[0]
    if start == "{":
        return None
    kind = {"[": "a list", '"': "a text"}.get(start, "another value")
    return f"is not an object but {kind}"


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True
