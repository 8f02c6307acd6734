"""Measures the losses on held-out rows of merges of two stages, without writing a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.run_keys import holds_out_rows
from axolotl_dmt.errors import DMTError
from axolotl_dmt.evaluation.live import held_out_losses
from axolotl_dmt.results.results import losses_by_domain
from axolotl_dmt.training.held_out_losses import trainer_of
from axolotl_dmt.training.merge import DIFFERENT, merge_tensors, two_models

_NOT_MEASURED: Final = ("adapter", "load_in_4bit", "load_in_8bit", "peft", "lora_", "qlora_")
"""Beginnings of the keys of adapters. What is merged are full models."""
_MANY_PROCESSES: Final = ("deepspeed", "fsdp", "context_parallel", "tensor_parallel", "dp_")
"""Beginnings of the keys that need a launcher. The losses are measured by one process."""


def losses_of_merges(
    raw: Mapping[str, Any],
    output_dir: Path,
    stages: Sequence[str],
    *,
    method: str,
    weights: Sequence[float],
) -> dict[float, dict[str, float]]:
    """Return {weight of the second model: {domain: loss on its held-out rows, in nats per token}}.

    The rows, their batches and the loss are those of a training by the same YAML. Both models are
    in main memory, in the data type of their files; the merge is on the device that would train.

    Args:
        raw: the content of the run's YAML.
        output_dir: the run's folder.
        stages: two names of the run's stages, or folders of models.
        method: "linear" or "slerp".
        weights: weights of the second model, from 0 to 1.

    Raises:
        DMTError: the YAML holds out no rows, a stage or folder does not exist or holds no full
            model, or the models do not fit together or to the YAML.
    """
    if not holds_out_rows(raw, read_config(raw.get("dmt")).val_rows):
        fix = "name rows in test_datasets in a copy of the run's YAML, and add --config COPY"
        raise DMTError("val_rows", "the run holds out no rows to measure losses on", fix)
    folders = two_models(output_dir, stages)
    skipped = (*_NOT_MEASURED, *_MANY_PROCESSES)
    losses = {}
    with trainer_of({k: v for k, v in raw.items() if not k.startswith(skipped)}) as trainer:
        model = trainer.model
        first, second = (_tensors(folder, model) for folder in folders)
        for weight in weights:
            for name, tensor in model.state_dict().items():
                pair = first[name], second[name]
                tensor.copy_(merge_tensors(name, *pair, method=method, weight=weight))
            losses[weight] = losses_by_domain(held_out_losses(trainer))
    return losses


def _tensors(folder: Path, model: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a model's folder, under the names that the model has for them.

    Raises:
        DMTError: the folder holds another architecture.
    """
    saved = type(model).from_pretrained(folder, dtype="auto")
    tensors: dict[str, torch.Tensor] = saved.state_dict()
    own = model.state_dict()
    if unmatched := tensors.keys() ^ own.keys():
        problem = f"only one of {folder} and the model of the YAML has the tensor {min(unmatched)}"
        raise DMTError("--stages", problem, DIFFERENT)
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            shapes = f"{tuple(tensor.shape)} and {tuple(own[name].shape)}"
            problem = f"{name} has the shapes {shapes} in {folder} and in the model of the YAML"
            raise DMTError("--stages", problem, DIFFERENT)
    return tensors
