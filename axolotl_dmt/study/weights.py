"""Finds and deletes the weights in the folders of runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.training.weight_files import missing_files

_PATTERNS: Final = ("*.safetensors", "*.bin", "*.safetensors.index.json", "*.bin.index.json")
"""The files that transformers and PEFT write for a model or an adapter, and for its parts."""
_SETTINGS: Final = "training_args.bin"
"""A file of settings that ends like a file of weights."""


def has_weights(model: Path) -> bool:
    """Whether a folder holds all weights of a model or an adapter."""
    indices = [file for file in model.glob("*.index.json") if file.is_file()]
    if indices:
        try:
            return not any(map(missing_files, indices))
        except (OSError, ValueError):
            return False
    return next(_weights(model), None) is not None


def delete_weights(output_dir: Path, *, keep_stages: bool) -> None:
    """Delete the weights and checkpoints of a finished run; all other files stay.

    What was set aside of earlier runs in the folder stays as well.

    Args:
        output_dir: the run's `output_dir`.
        keep_stages: keep the model after each stage, which other runs start from. The copy of the
            last of them in the output folder itself is deleted all the same.
    """
    run = RunFolder(output_dir)
    for checkpoint in run.checkpoints():
        shutil.rmtree(checkpoint)
    folders = [output_dir]
    if not keep_stages and run.stages.is_dir():
        folders += sorted(path for path in run.stages.iterdir() if path.is_dir())
    for folder in folders:
        for file in [*_weights(folder)]:
            file.unlink()


def _weights(folder: Path) -> Iterator[Path]:
    for pattern in _PATTERNS:
        yield from (file for file in folder.glob(pattern) if file.name != _SETTINGS)
