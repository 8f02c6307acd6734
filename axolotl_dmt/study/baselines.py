"""Which runs of a study start from the same model, which is then scored by one of them only."""

from __future__ import annotations

import json
from collections.abc import Sequence

from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.starting_model import scores_before
from axolotl_dmt.study.cells import StudyRun
from axolotl_dmt.study.stages import SCHEDULE_KEYS

_AFTER_THE_START = (*SCHEDULE_KEYS, "replay")
"""Keys of the `dmt` block that change nothing before the first step."""


def same_starts(runs: Sequence[StudyRun]) -> dict[str, tuple[StudyRun, ...]]:
    """Return, for each run that scores the model before training, the runs that score it alike.

    Their configurations differ in the schedule only: the model, the test items, the prompts and the
    held-out rows are the same.

    Args:
        runs: the runs of a study.

    Returns:
        {key of a run: the runs, including itself, in the order of the study}.

    Raises:
        DMTError: a run's `dmt` block has a mistake.
    """
    groups: dict[str, list[StudyRun]] = {}
    for run in runs:
        if run.parent is None and scores_before(run.config, read_config(run.config["dmt"])):
            block = {k: v for k, v in run.config["dmt"].items() if k not in _AFTER_THE_START}
            text = json.dumps({**run.config, "dmt": block}, sort_keys=True, default=str)
            groups.setdefault(text, []).append(run)
    return {run.key: tuple(group) for group in groups.values() for run in group}
