"""Measures losses on the held-out rows of a YAML, with the trainer that would train by it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.config.run_keys import val_set_size


def losses_of_base_model(raw: Mapping[str, Any]) -> dict[str, float]:
    """Return {domain: loss on its held-out rows} of the base model of a YAML.

    The rows, their batches and the loss are those of a training by the same YAML.

    Args:
        raw: the content of the YAML.

    Returns:
        The losses in nats per token; empty if the YAML holds out no rows.

    Raises:
        DMTError: the YAML has a mistake, or the model cannot be loaded.
    """
    has_rows = raw.get("test_datasets") or raw["dmt"].get("val_rows") or val_set_size(raw)
    if not has_rows:
        return {}
    from axolotl.integrations.base import PluginManager
    from axolotl.train import setup_model_and_trainer

    from axolotl_dmt.evaluation.live import held_out_losses
    from axolotl_dmt.training.load_run import load_run

    with tempfile.TemporaryDirectory(prefix="axolotl-dmt-") as scratch:
        path = Path(scratch) / "config.yaml"
        path.write_text(yaml.safe_dump(dict(raw)))
        cfg, _ = load_run(str(path))
        cfg.output_dir = scratch
        trainer: Any = setup_model_and_trainer(
            cfg, PluginManager.get_instance().load_datasets(cfg)
        )[0]
        return held_out_losses(trainer)
