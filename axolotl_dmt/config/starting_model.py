"""Whether the model that a run starts from is scored before it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axolotl_dmt.config.args import DMTConfig
from axolotl_dmt.config.run_keys import flag
from axolotl_dmt.toy import UNTRAINED


def scores_before(raw: Mapping[str, Any], config: DMTConfig) -> bool:
    """Return whether the model is scored before the first stage.

    `evaluate.before` decides; without it, a model with trained weights is scored. A run with
    `start_stage` begins with a model that an earlier run trained and scored.

    Args:
        raw: the YAML.
        config: its checked `dmt:` block.
    """
    evaluate = config.evaluate
    if evaluate is None or not config.evaluates:
        return False
    if evaluate.before is not None:
        return evaluate.before
    return config.start_stage is None and not has_random_weights(raw)


def has_random_weights(raw: Mapping[str, Any]) -> bool:
    """Return whether a run starts from random weights.

    They are those of `reinit_weights: true`, and of a `base_model` whose folder holds the file
    `UNTRAINED.txt`, as the models of `axolotl_dmt.toy` do.

    Args:
        raw: the YAML.
    """
    base_model = raw.get("base_model")
    return flag(raw.get("reinit_weights")) or (
        isinstance(base_model, str) and (Path(base_model) / UNTRAINED).is_file()
    )
