"""The estimate of a run's disk use."""

from __future__ import annotations

import re
from pathlib import Path

from axolotl_dmt.training.disk import DiskUse, disk_use


def test_stages_and_checkpoints_are_counted(tmp_path: Path) -> None:
    use = disk_use(tmp_path / "not/yet/there", saved=100, trained=10, stages=2, kept=4)
    assert use.stages == 300  # two stages and the final model
    assert use.checkpoints == 5 * (100 + 80)  # four kept and the one being written
    assert use.fits


def test_no_checkpoints_take_no_disk(tmp_path: Path) -> None:
    assert disk_use(tmp_path, saved=100, trained=10, stages=1, kept=0).checkpoints == 0


def test_too_little_space_is_detected_and_shown_in_readable_units() -> None:
    use = DiskUse(stages=40_000_000_000, checkpoints=200_000_000_000, free=5_300_000)
    assert not use.fits
    assert re.findall(r"[\d.]+ [MG]B", str(use)) == ["240 GB", "40 GB", "200 GB", "5.3 MB"]
