"""Sets aside the files of an earlier run when a new run starts in the same output folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from axolotl_dmt.files import LARGEST, readable_text
from axolotl_dmt.report.model_card import START
from axolotl_dmt.results.contamination import CONTAMINATION_FILE
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.nearest_rows import NEAREST_FILE


def set_aside(output_dir: Path, *, with_checkpoints: bool) -> Path | None:
    """Move the files of an earlier run to a new folder, which is laid out like an output folder.

    The model in the output folder itself is Axolotl's and stays until the new run replaces it; the
    same weights are in the folder of the last stage, which is moved.

    Args:
        output_dir: the `output_dir` of both runs.
        with_checkpoints: move the checkpoints too. Must be false where the new run resumes from one
            of them.

    Returns:
        The new folder, or None where there is nothing to move.
    """
    run = RunFolder(output_dir)
    paths = [path for path in _products(run) if path.exists()]
    paths += run.checkpoints() if with_checkpoints else []
    if _has_our_section(run.model_card):
        paths.append(run.model_card)
    if not paths:
        return None
    folder = run.new_earlier_run(paths[0].stat().st_mtime)
    folder.mkdir()
    for path in paths:
        target = folder / path.relative_to(output_dir)
        target.parent.mkdir(exist_ok=True)
        os.replace(path, target)
    return folder


def _products(run: RunFolder) -> tuple[Path, ...]:
    """Return the paths of everything that a run writes, except checkpoints and the model card."""
    # Not row_losses.parquet or what `solve` found: the YAML of the new run may read them.
    return (
        run.results,
        run.items,
        run.config,
        run.plan,
        run.report_markdown,
        run.report_html,
        run.dmt / CONTAMINATION_FILE,
        run.dmt / NEAREST_FILE,
        run.picture,
        run.hidden_states,
        run.stages,
    )


def _has_our_section(card: Path) -> bool:
    """Whether a model card has the section that a run of this plugin adds."""
    return START in readable_text(card, most_bytes=LARGEST)


def take_next_plan(output_dir: Path) -> None:
    """Move the files of `plan.next` to `plan`, one by one, so that memory-mapped arrays stay valid.

    What the search for contamination found for the plan goes to its place beside the results.

    Args:
        output_dir: the `output_dir` of the run that starts to train.
    """
    run = RunFolder(output_dir)
    run.plan.mkdir(exist_ok=True)
    # Another host may have moved them already, where the folder is shared.
    with contextlib.suppress(FileNotFoundError):
        for file in sorted(run.next_plan.iterdir()):
            to = run.dmt if file.name == CONTAMINATION_FILE else run.plan
            os.replace(file, to / file.name)
        run.next_plan.rmdir()
