"""The tensors that a folder holds in safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from axolotl_dmt.files import read_json

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
"""transformers' names of the index of a model's files, and of the file of a small model."""


def files_in_index(index: Path) -> dict[str, str]:
    """Return {tensor: name of the file that holds it} of an index of weights.

    Raises:
        OSError: the index cannot be read.
        ValueError: it is not an index of weights.
    """
    content = read_json(index)
    files = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(files, Mapping) or not all(isinstance(name, str) for name in files.values()):
        raise ValueError(f"{index.name} has no weight_map")
    return dict(files)


def missing_files(index: Path) -> list[str]:
    """Return the names of the files that an index of weights lists and its folder lacks, sorted.

    Raises:
        OSError: the index cannot be read.
        ValueError: it is not an index of weights.
    """
    names = set(files_in_index(index).values())
    return sorted(name for name in names if not index.with_name(name).is_file())


def weight_files(folder: Path) -> dict[str, str]:
    """Return {tensor: name of the file that holds it} of a model; empty without safetensors.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not whole.
    """
    index, single = folder / INDEX, folder / SINGLE
    if index.is_file():
        return files_in_index(index)
    if not single.is_file():
        return {}
    try:
        with safe_open(single, framework="pt") as weights:
            return dict.fromkeys(weights.keys(), SINGLE)
    except SafetensorError as error:
        raise ValueError(f"{single.name}: {error}") from error
