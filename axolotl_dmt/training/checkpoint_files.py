"""Whether the files of a checkpoint are whole, and whether training can continue from them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axolotl_dmt.files import parse_json, read_json
from axolotl_dmt.training.weight_files import missing_files

STATE_FILE = "trainer_state.json"

WEIGHTS = (
    "*.safetensors",
    "pytorch_model*",  # also FSDP's folder of shards
    "adapter_model*",
    "global_step*",  # DeepSpeed's folder, which also holds its optimiser's state
)
"""Files and folders of which a whole checkpoint has at least one."""

OPTIMIZER = ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*")
"""Files and folders of which a checkpoint that training can continue from has at least one."""

SCHEDULER = ("scheduler.pt", "global_step*")

TORCH_FILES = (".pt", ".pth", ".bin")
PICKLE = b"\x80"
"""The first byte of a file in PyTorch's old format, which is no zip archive."""


def read_state(checkpoint: Path) -> dict[str, Any] | None:
    """Return the trainer's state in a checkpoint, or None where it is missing or cut off."""
    try:
        state = read_json(checkpoint / STATE_FILE)
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def defect(checkpoint: Path) -> str | None:
    """Return what is wrong with the files of a checkpoint, or None where they are whole.

    The trainer writes its state last, but a full disk or an interrupted copy may spare that file
    and cut off another one.
    """
    if read_state(checkpoint) is None:
        return f"{STATE_FILE} is missing or cut off"
    try:
        return next(_defects(checkpoint), None)
    except (OSError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"


def lacks_optimizer(checkpoint: Path) -> bool:
    """Return whether a checkpoint holds the model only, as with `save_only_model`."""
    return not (_holds(checkpoint, OPTIMIZER) and _holds(checkpoint, SCHEDULER))


def _defects(checkpoint: Path) -> Iterator[str]:
    for file in sorted(checkpoint.rglob("*")):
        if file.is_file() and _is_cut_off(file):
            yield f"{file.name} is cut off"
    for index in checkpoint.glob("*.index.json"):
        if missing := missing_files(index):
            yield f"{missing[0]} is missing"
    if not _holds(checkpoint, WEIGHTS):
        yield "the weights are missing"


def _holds(checkpoint: Path, patterns: tuple[str, ...]) -> bool:
    return any(any(checkpoint.glob(pattern)) for pattern in patterns)


def _is_cut_off(file: Path) -> bool:
    if file.suffix == ".safetensors":
        return not _is_whole_safetensors(file)
    return file.suffix in TORCH_FILES and not _is_whole_archive(file)


def _is_whole_archive(file: Path) -> bool:
    with file.open("rb") as opened:
        start = opened.read(1)
    return start == PICKLE or zipfile.is_zipfile(file)


def _is_whole_safetensors(file: Path) -> bool:
    """Return whether a file is as long as its header says, or longer."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 0 < length <= size - 8:
            return False
        header = parse_json(opened.read(length))
    ends = (tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
    return bool(size >= 8 + length + max(ends, default=0))
