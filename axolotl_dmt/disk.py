"""How much disk a run will fill, said before it starts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Bytes that a run writes at its fullest.

    Attributes:
        stages: the stages' ends and the final model.
        checkpoints: as many checkpoints as are kept at a time, and the one being written.
        free: on the disk that they go to.
    """

    stages: int
    checkpoints: int
    free: int

    @property
    def total(self) -> int:
        """Of stages and checkpoints."""
        return self.stages + self.checkpoints

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
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
    """Estimate a run's disk use.

    Args:
        output_dir: where it goes; need not exist yet.
        saved: bytes of one saved model, or of the adapter alone where one is trained.
        trained: number of trained parameters; AdamW keeps two 32-bit numbers for each.
        stages: number of stages.
        kept: checkpoints kept at a time, 0 for none.
    """
    there = output_dir.absolute()
    while not there.exists():
        there = there.parent
    checkpoint = saved + 8 * trained
    return DiskUse(
        stages=saved * (stages + 1),
        checkpoints=checkpoint * (kept + 1) if kept else 0,
        free=shutil.disk_usage(there).free,
    )


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
