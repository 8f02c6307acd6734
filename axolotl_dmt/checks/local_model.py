"""What the files of a base model on this machine say about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.files import read_json

CONTEXT_KEYS: Final = ("n_positions", "max_position_embeddings", "n_ctx", "max_seq_len")
CONFIG_FILE: Final = "config.json"


def model_file(name: Any, file: str) -> Path | None:
    """Return a file of a model that is a local folder or in the Hub's cache; None without it.

    Args:
        name: a folder, or a name on the Hub.
        file: the name of the file.
    """
    if not isinstance(name, str) or not name:
        return None
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, file)
    except HFValidationError:
        return None
    return Path(cached) if isinstance(cached, str) else None


def model_config(name: Any) -> dict[str, Any] | None:
    """Return a model's `config.json`; None if it is not on this machine or not readable."""
    path = model_file(name, CONFIG_FILE)
    if path is None:
        return None
    try:
        config = read_json(path)
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def context_of(raw: Mapping[str, Any]) -> int | None:
    """Return the context of a YAML's base model in tokens; None where it is not known."""
    config = model_config(raw.get("base_model")) or {}
    text_config = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    for part in (config, text_config or {}):
        for key in CONTEXT_KEYS:
            if isinstance(part.get(key), int):
                return int(part[key])
    return None
