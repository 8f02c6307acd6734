"""A model or tokenizer that cannot be loaded, told in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from axolotl_dmt.errors import DMTError


@contextlib.contextmanager
def loading(cfg: Mapping[str, Any]) -> Iterator[None]:
    """Meanwhile the configuration or the tokenizer of the base model is loaded.

    Args:
        cfg: Axolotl's configuration, or the raw one.

    Raises:
        DMTError: it is neither there nor to be had from the hub.
    """
    try:
        yield
    except OSError as error:  # what transformers raises for all of it
        key = "tokenizer_config" if cfg.get("tokenizer_config") else "base_model"
        base = cfg.get("base_model")
        why = (str(error).splitlines() or [type(error).__name__])[0]
        problem = f"{cfg.get(key)} could not be loaded ({why})"
        fix = f"name a model's folder, or download it first: hf download {base}"
        raise DMTError(key, problem, fix) from error
