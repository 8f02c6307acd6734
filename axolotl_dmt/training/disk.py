"""Estimates how much disk space a run will need, before it starts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """The largest amount of disk space that a run needs at any time.

    Attributes:
        stages: bytes of the models of all stages and the final model.
        checkpoints: bytes of the checkpoints that are kept and of the one that is being written.
        free: bytes available on the disk of the output folder.
    """

    stages: int
    checkpoints: int
    free: int

    @property
    def total(self) -> int:
        """The bytes for stages and checkpoints together."""
        return self.stages + self.checkpoints

    @property
    def fits(self) -> bool:
        """Whether the free space is sufficient."""
        return self.total <= self.free

    def __str__(self) -> str:
        return (
            f"about {_size(self.total)} at most ({_size(self.stages)} of stages, "
            f"{_size(self.checkpoints)} of checkpoints), {_size(self.free)} are free"
        )


def disk_use(
    output_dir: Path,
    *,
    saved: int,
    trained: int,
    stages: int,
    kept: int,
) -> DiskUse:
    """Estimate the disk use of a run.

    Args:
        output_dir: the run's output folder; it need not exist yet.
        saved: bytes of one saved model, or of the adapter alone where one is trained.
        trained: number of trained parameters; AdamW keeps two 32-bit numbers for each.
        stages: number of stages.
        kept: number of checkpoints kept at a time, 0 for none.
    """
    folder = output_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    checkpoint = saved + 8 * trained
    return DiskUse(
        stages=saved * (stages + 1),
        checkpoints=checkpoint * (kept + 1) if kept else 0,
        free=shutil.disk_usage(folder).free,
    )


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
