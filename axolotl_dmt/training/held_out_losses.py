"""Measures losses on the held-out rows of a YAML, with the trainer that would train by it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

_TRAINING_ONLY: Final = (
    "resume_from_checkpoint",
    "auto_resume_from_checkpoints",
    "hub_model_id",
    "use_wandb",
    "use_mlflow",
    "use_comet",
    "use_trackio",
    "use_tensorboard",
)
"""Keys of checkpoints, uploads and trackers: measuring continues, uploads and reports nothing."""

_MANY_PROCESSES: Final = (
    "context_parallel",
    "deepspeed",
    "dp_",
    "fp32_norms",
    "fp8_enable_fsdp",
    "fsdp",
    "sequence_parallel",
    "tensor_parallel",
)
"""Beginnings of the keys that need a launcher. One process measures the losses."""


def losses_of_base_model(raw: Mapping[str, Any]) -> dict[str, float]:
    """Return {domain: loss on its held-out rows, in nats per token} of the base model of a YAML.

    The rows, their batches and the loss are those of a training by the same YAML.

    Args:
        raw: the content of the YAML.

    Raises:
        DMTError: the YAML has a mistake, or the model cannot be loaded.
    """
    from axolotl_dmt.evaluation.live import held_out_losses

    with trainer_of(raw) as trainer:
        return held_out_losses(trainer)


def for_one_process(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a YAML without the keys that need a launcher."""
    return {key: value for key, value in raw.items() if not key.startswith(_MANY_PROCESSES)}


@contextlib.contextmanager
def trainer_of(raw: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the trainer that `axolotl train` would use for a YAML; it writes to a scratch folder.

    Args:
        raw: the content of the YAML.

    Raises:
        DMTError: the YAML has a mistake, or the model cannot be loaded.
    """
    from axolotl.integrations.base import PluginManager
    from axolotl.train import setup_model_and_trainer

    from axolotl_dmt.training.load_run import load_run

    with tempfile.TemporaryDirectory(prefix="axolotl-dmt-") as scratch:
        path = Path(scratch) / "config.yaml"
        path.write_text(yaml.safe_dump(for_one_process(raw)))
        cfg, _ = load_run(str(path))
        cfg.output_dir = scratch
        for key in _TRAINING_ONLY:
            cfg[key] = None
        # Axolotl would start a process that loads the rows, for each measurement anew. With a few
        # hundred rows, that takes longer than loading them.
        cfg.dataloader_num_workers, cfg.dataloader_prefetch_factor = 0, None
        datasets = PluginManager.get_instance().load_datasets(cfg)
        trainer = setup_model_and_trainer(cfg, datasets)[0]
        # Without a launcher, the trainer would divide each batch among all GPUs.
        trainer.args._n_gpu = min(1, trainer.args.n_gpu)
        yield trainer
