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

_ADAPTERS: Final = (
    "adapter",
    "load_in_4bit",
    "load_in_8bit",
    "lora_",
    "peft",
    "ple_cpu_offload",
    "qlora_",
)
"""Beginnings of the keys of adapters. What is merged are full models."""


def losses_of_merges(
    raw: Mapping[str, Any],
    output_dir: Path,
    stages: Sequence[str],
    *,
    method: str,
    weights: Sequence[float],
) -> dict[float, dict[str, float]]:
    """Return {weight of the second model: {domain: loss on its held-out rows, in nats per token}}.

    The rows, their batches and the loss are those of a training by the same YAML, in one process.
    Both models and the merge are in main memory; the losses are computed where the YAML trains.

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
    losses = {}
    with trainer_of(without_adapters(raw)) as trainer:
        model = trainer.model
        first, second = (tensors_of(folder, model) for folder in folders)
        for weight in weights:
            for name, tensor in model.state_dict().items():
                pair = first[name], second[name]
                tensor.copy_(merge_tensors(name, *pair, method=method, weight=weight))
            losses[weight] = losses_by_domain(held_out_losses(trainer))
    return losses


def without_adapters(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a YAML that trains full models, with the same rows."""
    plain = {key: value for key, value in raw.items() if not key.startswith(_ADAPTERS)}
    block = dict(plain["dmt"])
    if isinstance(stages := block.get("stages"), list):
        block["stages"] = [_without_adapter(stage) for stage in stages]
    if isinstance(overrides := block.get("overrides"), Mapping):
        block["overrides"] = {name: _without_adapter(stage) for name, stage in overrides.items()}
    return {**plain, "dmt": block}


def _without_adapter(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stage.items() if key != "adapter"}


def tensors_of(folder: Path, model: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a model's folder, under the names that the model has for them.

    Raises:
        DMTError: the folder holds another architecture, or tensors that the model has tied.
    """
    saved = type(model).from_pretrained(folder, dtype="auto")
    tensors: dict[str, torch.Tensor] = saved.state_dict()
    own = model.state_dict()
    if unmatched := tensors.keys() ^ own.keys():
        problem = f"only one of {folder} and the model of the YAML has the tensor {min(unmatched)}"
        raise DMTError("--stages", problem, DIFFERENT)
    first_of: dict[int, str] = {}
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            shapes = f"{tuple(tensor.shape)} and {tuple(own[name].shape)}"
            problem = f"{name} has the shapes {shapes} in {folder} and in the model of the YAML"
            raise DMTError("--stages", problem, DIFFERENT)
        other = first_of.setdefault(own[name].data_ptr(), name)
        if other != name and not torch.equal(tensor, tensors[other]):
            problem = f"{name} and {other} differ in {folder}, and the model of the YAML ties them"
            fix = "write the merge with --to, and score it with axolotl-dmt evaluate"
            raise DMTError("--stages", problem, fix)
    return tensors
