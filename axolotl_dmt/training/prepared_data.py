"""Notices that prepared rows no longer fit their sources, which Axolotl's cache key does not show.

Axolotl names the folder of prepared rows after paths and most settings, but not after the content
of the files nor after all settings that change the rows. A file beside the prepared rows records
both. Folders without this file, and rows whose local files are gone, are used as they are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from axolotl.utils.data.shared import generate_dataset_hash_from_config, get_prepared_dataset_path
from axolotl.utils.dict import DictDefault
from filelock import FileLock

from axolotl_dmt.checks.axolotl_keys import is_local
from axolotl_dmt.checks.data_paths import SUFFIXES
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json, write_json
from axolotl_dmt.training.log import LOG

SOURCES_FILE = "dmt_sources.json"
LOCK_FILE = "dmt_sources.lock"
ROWS_FILE = "state.json"
"""The file that `datasets` writes last when it saves rows."""


@contextlib.contextmanager
def current_rows(cfg: DictDefault, tokenizer_name: str) -> Iterator[None]:
    """On entry, set outdated prepared rows aside; on exit, record what the new ones come from.

    Rows that were set aside come back where the block raises, so that nothing is lost.

    Args:
        cfg: the configuration that the rows are prepared with inside the block.
        tokenizer_name: the tokenizer's `name_or_path`, a part of Axolotl's key.

    Raises:
        DMTError: outdated rows cannot be set aside.
    """
    prepared = [
        _Prepared.of(cfg, entries, tokenizer_name)
        for entries in (cfg.datasets, cfg.test_datasets)
        if entries
    ]
    for part in prepared:
        part.set_aside_outdated()
    new = [part for part in prepared if cfg.is_preprocess or not part.holds_rows]
    sources = [part.sources.record() for part in new]
    try:
        yield
    except BaseException:
        for part in prepared:
            part.restore()
        raise
    for part, record in zip(new, sources, strict=True):
        part.write(record)


@dataclass(frozen=True)
class _Sources:
    """What decides the content of prepared rows beyond Axolotl's key.

    Attributes:
        settings: settings of Axolotl that its key leaves out.
        files: {name: path} of the local files, where the name does not depend on the folder.
        complete: whether no local file is missing, so that the rows could be prepared again.
    """

    settings: Mapping[str, Any]
    files: Mapping[str, Path]
    complete: bool

    def record(self) -> dict[str, Any]:
        """Return the content of `SOURCES_FILE`."""
        files = {
            name: {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "digest": _digest(path)}
            for name, path in self.files.items()
            for stat in [path.stat()]
        }
        return {"settings": dict(self.settings), "files": files}

    def change(self, record: Mapping[str, Any]) -> str | None:
        """Return what changed since a record was written, or None."""
        for name, value in self.settings.items():
            before = record["settings"].get(name, value)
            if before != value:
                return f"{name} was {before}, is {value}"
        if self.files and self.files.keys() != record["files"].keys():
            return "files were added or removed"
        for name, path in self.files.items():
            before, stat = record["files"][name], path.stat()
            if (before["size"], before["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
                continue
            if before["size"] != stat.st_size or before["digest"] != _digest(path):
                return f"{path} has changed"
        return None


@dataclass(frozen=True)
class _Prepared:
    """A folder of prepared rows and the sources that it should hold.

    Attributes:
        folder: Axolotl's folder for the rows.
        sources: the present sources.
    """

    folder: Path
    sources: _Sources

    @classmethod
    def of(cls, cfg: DictDefault, entries: Any, tokenizer_name: str) -> _Prepared:
        files: dict[str, Path] = {}
        complete = True
        for index, entry in enumerate(entries):
            found = dict(_files_of(entry))
            files |= {f"{index}/{name}": path for name, path in found.items()}
            complete &= bool(found) or not _names_local_file(str(entry.path))
        sources = _Sources(settings=_settings(cfg, entries), files=files, complete=complete)
        return cls(folder=prepared_folder(cfg, entries, tokenizer_name), sources=sources)

    @property
    def holds_rows(self) -> bool:
        return (self.folder / ROWS_FILE).is_file()

    @property
    def _aside(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.outdated")

    def set_aside_outdated(self) -> None:
        """Rename the folder if its rows come from other sources and can be prepared again."""
        if not self._change():
            return
        try:
            # Several processes may prepare at the same time; only the first one renames.
            with FileLock(str(self.folder.with_name(LOCK_FILE))):
                if change := self._change():
                    LOG.warning("%s: %s is prepared again", change, self.folder)
                    shutil.rmtree(self._aside, ignore_errors=True)
                    os.replace(self.folder, self._aside)
        except OSError as error:
            problem = f"{self.folder} is outdated ({self._change()}) and cannot be replaced"
            fix = "delete it, or name another dataset_prepared_path"
            raise DMTError("dataset_prepared_path", f"{problem}: {error}", fix) from None

    def restore(self) -> None:
        """Bring rows back that were set aside, where none took their place."""
        if self._aside.is_dir() and not self.holds_rows:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.replace(self._aside, self.folder)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a record beside the rows, unless they could not be saved; delete outdated rows."""
        if self.holds_rows:
            shutil.rmtree(self._aside, ignore_errors=True)
            with contextlib.suppress(OSError):
                write_json(self.folder / SOURCES_FILE, dict(record))

    def _change(self) -> str | None:
        if not (self.holds_rows and self.sources.complete):
            return None
        try:
            record = read_json(self.folder / SOURCES_FILE)
            return self.sources.change(record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._warn_if_older()
            return None

    def _warn_if_older(self) -> None:
        """Warn where files are newer than rows whose sources were not recorded."""
        prepared = (self.folder / ROWS_FILE).stat().st_mtime
        newer = [path for path in self.sources.files.values() if path.stat().st_mtime > prepared]
        if newer:
            LOG.warning(
                "%s is newer than its prepared rows; if it was edited, delete %s",
                newer[0],
                self.folder,
            )


def prepared_folder(cfg: DictDefault, entries: Any, tokenizer_name: str) -> Path:
    """Return the folder in which Axolotl keeps the prepared rows of some datasets.

    Args:
        cfg: the configuration that the rows are prepared with.
        entries: `cfg.datasets` or `cfg.test_datasets`.
        tokenizer_name: the tokenizer's `name_or_path`.
    """
    digest = generate_dataset_hash_from_config(cfg, entries, tokenizer_name)
    return Path(get_prepared_dataset_path(cfg, digest))


def prepared_root(cfg: DictDefault) -> Path:
    """Return the folder in which Axolotl keeps the folders of prepared rows."""
    return Path(get_prepared_dataset_path(cfg, "")).resolve()


def _settings(cfg: DictDefault, entries: Any) -> dict[str, Any]:
    """Return the settings that change the rows and that Axolotl's key leaves out."""
    sharded = any(entry.shards or entry.preprocess_shards for entry in entries)
    return {
        "excess_length_strategy": str(cfg.excess_length_strategy or "drop").lower(),
        "min_sample_len": cfg.min_sample_len,
        "tokens": list(cfg.tokens or ()),
        "seed": cfg.seed if sharded else None,  # it chooses the rows of a shard
        "eval_sequence_len": cfg.eval_sequence_len if entries is cfg.test_datasets else None,
    }


def _files_of(entry: DictDefault) -> Iterator[tuple[str, Path]]:
    """Yield the local files of an entry, each with a name that does not depend on its folder."""
    path = Path(str(entry.path))
    if path.is_file():
        yield path.name, path
        return
    named = entry.data_files
    for name in [named] if isinstance(named, str) else named or ():
        if Path(str(name)).is_file():
            yield str(name), Path(str(name))
    if path.is_dir() and not named:
        for file in sorted(path.rglob("*")):
            if file.suffix in SUFFIXES and file.is_file():
                yield file.relative_to(path).as_posix(), file


def _names_local_file(path: str) -> bool:
    return "://" not in path and (is_local(path) or Path(path).suffix in SUFFIXES)


def _digest(path: Path) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
