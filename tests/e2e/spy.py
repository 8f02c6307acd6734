"""An Axolotl plugin that records every row that the model is trained on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from axolotl.integrations.base import BasePlugin
from safetensors.torch import load_file
from transformers import TrainerCallback


class SpyPlugin(BasePlugin):
    """Appends a line for each micro batch to SPY_FILE: its step, rank, loss, rows and labels."""

    def get_training_args(self, cfg: Any) -> dict[str, Any]:
        """Set `use_cpu`: transformers needs it for bf16 on a CPU, and no YAML key sets it."""
        return {"use_cpu": True} if cfg.bf16 else {}

    def post_model_load(self, cfg: Any, model: Any) -> None:
        """Start from the file WEIGHTS, if set: several CPU processes cannot load a model."""
        if path := os.environ.get("WEIGHTS"):
            model.load_state_dict(load_file(path), strict=False)

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        path = Path(os.environ["SPY_FILE"]).with_suffix(f".{trainer.args.process_index}.jsonl")
        original = trainer.training_step

        def training_step(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            loss = original(model, inputs, *args, **kwargs)
            record = {
                "step": trainer.state.global_step,
                "rank": trainer.args.process_index,
                "loss": float(loss),
                "rows": inputs["input_ids"].tolist(),
                "labels": inputs["labels"].tolist(),
            }
            with path.open("a") as file:
                file.write(json.dumps(record) + "\n")
            return loss

        trainer.training_step = training_step
        return []


def read(folder: Path) -> list[dict[str, Any]]:
    """Return all micro batches of all ranks, in the order of the steps."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.open()]
    return sorted((json.loads(line) for line in lines), key=lambda seen: seen["step"])


def trained_rows(seen: dict[str, Any]) -> list[tuple[int, ...]]:
    """Return the rows of a micro batch that count in the loss, without padding (token 0)."""
    return [
        tuple(token for token in row if token != 0)
        for row, labels in zip(seen["rows"], seen["labels"], strict=True)
        if any(label != -100 for label in labels)
    ]
