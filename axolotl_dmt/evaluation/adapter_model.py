"""An lm-eval model for a LoRA adapter that has embeddings of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import safe_open

from axolotl_dmt.evaluation.answering_model import AnsweringModel

WRAPPER = "base_model.model."
"""What PEFT writes before the name of each parameter."""


class AdapterModel(AnsweringModel):
    """Gives the base model as many embeddings as the adapter has before it loads the adapter.

    lm-eval gives it one for each token. An adapter has more where the embeddings are padded, as by
    `resize_token_embeddings_to_32x`, and could then not be loaded.
    """

    _model: Any

    def _create_model(self, *args: Any, peft: str, **kwargs: Any) -> None:
        super()._create_model(*args, **kwargs)
        rows = embedding_rows(self._model, Path(peft) / SAFETENSORS_WEIGHTS_NAME)
        if rows is not None and rows != self._model.get_input_embeddings().weight.shape[0]:
            self._model.resize_token_embeddings(rows)
        self._model = PeftModel.from_pretrained(self._model, peft)


def embedding_rows(model: Any, adapter: Path) -> int | None:
    """Return the number of rows of the embeddings in an adapter; None where it has none.

    Args:
        model: the base model.
        adapter: the adapter's file of weights.
    """
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    names = [name for name, module in model.named_modules() if any(module is e for e in embeddings)]
    with safe_open(adapter, "pt") as file:
        saved = set(file.keys())
        for name in names:
            key = f"{WRAPPER}{name}.weight"
            if key in saved:
                return int(file.get_slice(key).get_shape()[0])
    return None
