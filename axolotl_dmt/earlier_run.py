"""An earlier run's products are set aside whole where a new run starts in its output folder."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from axolotl_dmt.kept_config import CONFIG_FILE
from axolotl_dmt.model_card import START
from axolotl_dmt.resume import checkpoints

PLAN, NEXT_PLAN = "plan", "plan.next"
"""A run's plan; and that of a run that has not started to train, so that the folder is not its."""

_PRODUCTS = (
    "results.json",
    CONFIG_FILE,
    PLAN,
    "report.md",
    "report.html",
    "abilities.png",
    "hidden_states.png",
)
"""Not k.json, the trials of k and row_losses.parquet: a next run may be told to read them."""


def set_aside(output_dir: Path, *, with_checkpoints: bool) -> Path | None:
    """Move what a run left into a folder of its own, laid out as an output folder.

    The model in the output folder itself is Axolotl's and stays until the new run replaces it; the
    same weights are in the last stage's folder, which goes with the run.

    Args:
        output_dir: of the earlier run and the new one.
        with_checkpoints: move the checkpoints too; not where the new run goes on from one.

    Returns:
        The folder, or None where there is nothing.
    """
    dmt, card = output_dir / "dmt", output_dir / "README.md"
    found = [dmt / name for name in _PRODUCTS] + [output_dir / "stages"]
    found += checkpoints(output_dir) if with_checkpoints else []
    if card.is_file() and START in card.read_text(encoding="utf-8", errors="replace"):
        found.append(card)
    found = [path for path in found if path.exists()]
    if not found:
        return None
    folder = _new_folder(output_dir, found[0].stat().st_mtime)
    for path in found:
        target = folder / path.relative_to(output_dir)
        target.parent.mkdir(exist_ok=True)
        os.replace(path, target)
    return folder


def _new_folder(output_dir: Path, ended: float) -> Path:
    # The underscore keeps the trainer from uploading the folder with the model.
    name = time.strftime("_earlier-%Y%m%d-%H%M%S", time.localtime(ended))
    folder, count = output_dir / name, 1
    while folder.exists():
        count += 1
        folder = output_dir / f"{name}-{count}"
    folder.mkdir()
    return folder


def take_next_plan(dmt: Path) -> None:
    """Make the plan of the run that starts the folder's; arrays in use stay valid.

    Args:
        dmt: `OUTPUT_DIR/dmt`.
    """
    (dmt / PLAN).mkdir(exist_ok=True)
    # Another host may have done it, where the folder is shared.
    with contextlib.suppress(FileNotFoundError):
        for file in sorted((dmt / NEXT_PLAN).iterdir()):
            os.replace(file, dmt / PLAN / file.name)
        (dmt / NEXT_PLAN).rmdir()
