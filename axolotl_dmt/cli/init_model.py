"""What `axolotl dmt init` reads about the base model and the rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axolotl_dmt.checks.data_files import first_rows
from axolotl_dmt.checks.local_model import context_of, model_file
from axolotl_dmt.files import read_json

CHAT_NAMES = re.compile(r"(?i)(instruct|chat|[-_]it\b|[-_]sft\b|[-_]dpo\b)")
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
SEQUENCE_LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
FIRST_LENGTH = 2048
TOKENS_OF_FORMAT = 64
"""Tokens that a prompt format adds to a row, about."""


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """What the files of a base model say.

    Attributes:
        name: a folder, or a name on the Hub.
        has_chat_template: whether its tokenizer has a chat template.
        is_read: whether its files could be read; otherwise the name decides.
        context: its context in tokens, or None.
        dtype: the type of its weights, or None.
    """

    name: str
    has_chat_template: bool
    is_read: bool
    context: int | None
    dtype: str | None

    @classmethod
    def read(cls, name: str) -> BaseModel:
        """Read a model's configuration from its folder or the Hub, if possible."""
        config = _json(_file(name, "config.json"))
        tokenizer = _json(_file(name, "tokenizer_config.json"))
        is_read = bool(tokenizer)
        named = bool(CHAT_NAMES.search(Path(name).name))
        has_template = bool(tokenizer.get("chat_template")) or any(
            _file(name, file) for file in (TEMPLATE_FILES if is_read else ())
        )
        dtype = config.get("dtype") or config.get("torch_dtype")
        return cls(
            name=name,
            has_chat_template=has_template if is_read else named,
            is_read=is_read,
            context=context_of({"base_model": name}),
            dtype=str(dtype).removeprefix("torch.") if dtype else None,
        )

    def billions(self) -> float | None:
        """Return the number of parameters in billions by the size of local weights, or None."""
        folder = Path(self.name)
        if not folder.is_dir():
            return None
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        return round(size / BYTES.get(self.dtype or "", 2) / 1e9, 3) or None


def _file(name: str, file: str) -> Path | None:
    path = model_file(name, file)
    if path is not None or Path(name).is_dir():
        return path
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(name, file, etag_timeout=5))
    except Exception:  # offline, or there is no such model or file
        return None


def _json(path: Path | None) -> dict[str, Any]:
    try:
        value = read_json(path) if path else {}
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True, kw_only=True)
class Length:
    """The `sequence_len` of a YAML, and why.

    Attributes:
        tokens: the length.
        reason: the comment beside it.
    """

    tokens: int
    reason: str


def sequence_length(model: BaseModel, paths: Sequence[str]) -> Length:
    """Return the shortest usual length that fits the first rows of some files and the model.

    Args:
        model: the base model; its tokenizer counts, if it is on this machine.
        paths: the data files; those that cannot be read quickly are skipped.
    """
    texts = [_text(row) for path in paths for row in first_rows({"path": path}) or ()]
    most = model.context or SEQUENCE_LENGTHS[-1]
    if not texts:
        tokens = min(FIRST_LENGTH, most)
        return Length(tokens=tokens, reason="a guess: the rows are not on this machine")
    longest = max(_counts(model, texts)) + TOKENS_OF_FORMAT
    fitting = (length for length in SEQUENCE_LENGTHS if length >= longest)
    tokens = min(next(fitting, SEQUENCE_LENGTHS[-1]), most)
    reason = f"the longest of the first {len(texts)} rows has about {longest} tokens"
    if longest > tokens:
        reason += f", more than the model's context of {most}: longer rows are dropped"
    return Length(tokens=tokens, reason=reason)


def _counts(model: BaseModel, texts: Sequence[str]) -> list[int]:
    file = model_file(model.name, "tokenizer.json")
    if file is None:
        return [len(text) // 3 for text in texts]
    from tokenizers import Tokenizer

    encoded = Tokenizer.from_file(str(file)).encode_batch(list(texts), add_special_tokens=False)
    return [len(encoding.ids) for encoding in encoded]


def _text(value: Any) -> str:
    """Return all text of a row."""
    if isinstance(value, dict):
        return "\n".join(_text(item) for item in value.values())
    if isinstance(value, list):
        return "\n".join(_text(item) for item in value)
    return value if isinstance(value, str) else ""
