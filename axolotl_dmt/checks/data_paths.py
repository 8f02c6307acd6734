"""Checks of the files and folders that the entries of `datasets` name."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from axolotl_dmt.checks.axolotl_keys import is_local
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import readable_text
from axolotl_dmt.results.folder import RunFolder

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt", ".gz", ".zst", ".zip")
COMPRESSED = (".gz", ".zst", ".zip", ".bz2", ".xz", ".lz4")
FORMATS = {
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "text",
}
"""The format of a file by the end of its name."""
READ_AS = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv", ".txt": "text"}
"""Axolotl's `EXTENSIONS_TO_DATASET_TYPES`: it looks for each anywhere in the path, in this order,
and reads all other files as JSON."""
FROM = "relative to the folder in which axolotl runs"


def entries(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the key and the entry of each dataset and each test dataset."""
    for key in ("datasets", "test_datasets"):
        listed = cfg.get(key)
        for index, entry in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(entry, Mapping):
                yield f"{key}[{index}]", entry


def missing_files(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake for each local file that is missing, and each folder without data."""
    for key, entry in entries(cfg):
        path = entry.get("path")
        if not isinstance(path, str) or not path or "://" in path:
            continue
        if not Path(path).exists():
            yield from _missing_path(key, path, entry)
        elif Path(path).is_dir():
            yield from _empty_folder(key, path, entry)


def misread_files(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake for each local file that Axolotl reads as another format than its name's."""
    for key, entry in entries(cfg):
        path = entry.get("path")
        if entry.get("ds_type") or not isinstance(path, str):
            continue
        read_as = next((kind for part, kind in READ_AS.items() if part in path), "json")
        for file in files_of(entry):
            suffixes = [suffix for suffix in Path(file).suffixes if suffix not in COMPRESSED]
            kind = FORMATS.get(suffixes[-1] if suffixes else "")
            if kind not in (None, read_as):
                problem = f"is missing: Axolotl reads {file} as {read_as} because of its path"
                yield DMTError(f"{key}.ds_type", problem, f"write ds_type: {kind}")
                break


def by_products(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake for each folder of the run that lies in a dataset's folder.

    Every file in a dataset's folder is read as data, so the next run would read what this one
    writes.
    """
    folders = {
        "dataset_prepared_path": Path(str(cfg.get("dataset_prepared_path") or "last_run_prepared")),
        "output_dir": RunFolder.of_config(cfg).output_dir,
    }
    for key, entry in entries(cfg):
        path = entry.get("path")
        if not isinstance(path, str) or not path or not Path(path).is_dir():
            continue
        if _names_its_files(path, entry):
            continue
        for name, folder in folders.items():
            data, written = Path(path).resolve(), folder.expanduser().resolve()
            if data == written or data in written.parents:
                problem = f"{folder} lies in {key}.path, whose files are all read as data"
                yield DMTError(name, problem, "name a folder outside it")


def files_of(entry: Mapping[str, Any]) -> list[str]:
    """Return the local files of an entry that names a file, or a folder with `data_files`."""
    path = entry.get("path")
    if not isinstance(path, str) or not Path(path).exists():
        return []
    if Path(path).is_file():
        return [path]
    return [file for name in data_files(entry) for file in sorted(glob.glob(name, recursive=True))]


def data_files(entry: Mapping[str, Any]) -> list[str]:
    """Return the names and patterns in `data_files`, written as one, as a list or by split."""
    return [name for name in _texts(entry.get("data_files")) if "://" not in name]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))


def _missing_path(key: str, path: str, entry: Mapping[str, Any]) -> Iterator[DMTError]:
    if is_local(path) or Path(path).suffix in SUFFIXES:
        yield DMTError(f"{key}.path", f"no file {path}", f"correct the path; it is {FROM}")
    elif path in FORMATS.values() and (names := data_files(entry)):
        problem = f"{path} is a format, and Axolotl takes it for the name of a dataset on the hub"
        fix = f"write path: {names[0]} and ds_type: {path}"
        if len(names) > 1:
            fix = f"write path: {Path(names[0]).parent} and ds_type: {path}, and keep data_files"
        yield DMTError(f"{key}.path", problem, fix)


def _empty_folder(key: str, path: str, entry: Mapping[str, Any]) -> Iterator[DMTError]:
    if not entry.get("data_files"):
        files = (file for file in Path(path).rglob("*") if file.is_file())
        if all(file.name.startswith(".") or file.suffix == ".md" for file in files):
            yield DMTError(f"{key}.path", f"the folder {path} holds no data", "add files to it")
        return
    for name in data_files(entry):
        if not glob.glob(name, recursive=True):
            beside = Path(path, name)
            known = glob.glob(str(beside), recursive=True)
            fix = f"write {beside}" if known else f"correct it; it is {FROM}, not to the path"
            yield DMTError(f"{key}.data_files", f"no file {name}", fix)


def _names_its_files(path: str, entry: Mapping[str, Any]) -> bool:
    """Return whether not all files in a folder are read: it or its entry names those that are."""
    folder = Path(path)
    if entry.get("data_files") or any(
        (folder / name).is_file() for name in ("state.json", "dataset_dict.json")
    ):
        return True  # the second kind is what `save_to_disk` writes
    return "configs:" in readable_text(folder / "README.md")
