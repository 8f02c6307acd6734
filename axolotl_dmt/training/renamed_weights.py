"""Loads the weights of a checkpoint that are saved under other names than the model's own.

transformers saves some models, such as those that read images, under the names of their original
release. Its trainer looks for the model's own names when it resumes, finds none of them, and goes
on with the weights of the base model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from axolotl_dmt.training.weight_files import weight_files


def has_renamed_weights(folder: Path, model: Any) -> bool:
    """Return whether a checkpoint holds weights under names that its model does not have.

    Args:
        folder: the checkpoint; False if it holds no full model.
        model: the model that it was saved from.
    """
    return bool(weight_files(folder).keys() - set(model.state_dict()))


def load_renamed_weights(folder: Path, model: Any) -> None:
    """Load the weights of a checkpoint into its model, whatever their names.

    Args:
        folder: a checkpoint with a full model.
        model: the model that it was saved from; changed in place.
    """
    # In 32 bits nothing is lost, and loading casts each weight to the type that it has.
    saved = type(model).from_pretrained(folder, dtype=torch.float32)
    model.load_state_dict(saved.state_dict())
