"""Checks rows that the collator tokenises, before the model is loaded.

The collator would fail at the first bad row, in the middle of the training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from axolotl.utils.chat_templates import get_chat_template_from_config
from axolotl.utils.dict import DictDefault
from datasets import Dataset, LargeList, List, Value

from axolotl_dmt.checks.collated_rows import message_columns, unreadable_columns
from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.training.raw_rows import IMAGES, SUFFIXES, plain_rows

IMAGE_KEYS = ("path", "image", "url")
"""The keys of a part of a message that may hold the path of an image."""
ROLES = {"human": "user", "gpt": "assistant"}
"""Axolotl's names of the roles in the older form of messages."""

Render = Callable[[Sequence[Mapping[str, Any]]], object]
"""Applies a chat template to messages."""


def check_rows(rows: Dataset, key: str, cfg: DictDefault, tokenizer: Any, processor: Any) -> None:
    """Check the rows of a configuration's only dataset, without reading their images.

    Args:
        rows: the rows as they are in the file.
        key: the dataset's key in the YAML.
        cfg: Axolotl's validated configuration.
        tokenizer: the tokenizer of the base model.
        processor: its processor.

    Raises:
        DMTError: the rows are tokenised, one has no messages, the chat template refuses them, or
            the file of an image is missing.
    """
    path = str(cfg[key.partition("[")[0]][0].path)
    names = message_columns(cfg)
    if error := unreadable_columns(key, path, rows.column_names, names):
        raise error
    images = next((name for name in IMAGES if name in rows.column_names), None)
    if images and not isinstance(rows.features[images], (List, LargeList)):
        problem = f"{path}: its column {images} holds single images, and the collator reads lists"
        raise DMTError(key, problem, f"write a list in every row, such as {images}: [a.png]")
    names = [name for name in names if name in rows.column_names]
    # Images that are stored in the rows are not read.
    read = (
        [*names, images] if images and rows.features[images].feature == Value("string") else names
    )
    render = _renderer(cfg, tokenizer, processor)
    for number, row in enumerate(plain_rows(rows.select_columns(read))):
        messages = next((row[name] for name in names if row[name] is not None), None)
        for problem in _problems(messages, row.get(images or ""), render):
            fix = "correct the row, or remove it (the first is row 0)"
            raise DMTError(key, f"{path}: row {number} {problem}", fix)


def _renderer(cfg: DictDefault, tokenizer: Any, processor: Any) -> Render | None:
    """Return what applies the chat template that the collator applies; None if that is its own."""
    if cfg.tokenizer_use_mistral_common:
        return None
    template = tokenizer.chat_template
    if cfg.chat_template not in (None, "tokenizer_default"):
        template = get_chat_template_from_config(cfg=cfg, tokenizer=tokenizer)

    def render(messages: Sequence[Mapping[str, Any]]) -> object:
        return processor.apply_chat_template(messages, tokenize=False, chat_template=template)

    return render


def _problems(messages: Any, images: Any, render: Render | None) -> Iterator[str]:
    """Yield what is wrong with a row."""
    if not messages:
        yield "has no messages"
        return
    if not isinstance(messages, list) or not all(isinstance(part, dict) for part in messages):
        yield "has messages that are not a list of objects"
        return
    for image in _image_paths(messages, images):
        if not Path(image).is_file():
            yield f"names the image {image}, which does not exist"
    try:
        normal = [_normal(message) for message in messages]
    except KeyError as error:
        yield f"has a message without {error}"
        return
    try:
        if render is not None:
            render(normal)
    except Exception as error:  # a template raises errors of its own
        yield f"does not fit the chat template ({type(error).__name__}: {first_line(error)})"


def _normal(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as the collator passes it to the template.

    Raises:
        KeyError: the message has no role or no content.
    """
    if message.get("from") is not None and message.get("value") is not None:
        message = {"role": ROLES.get(message["from"], message["from"]), "content": message["value"]}
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    parts = [
        {name: value for name, value in part.items() if value is not None} for part in content or ()
    ]
    return {"role": message["role"], "content": parts}


def _image_paths(messages: Sequence[Mapping[str, Any]], images: Any) -> Iterator[str]:
    """Yield the paths of images in a row."""
    values = list(images or ())
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            values += [part.get(name) for name in IMAGE_KEYS] if isinstance(part, dict) else []
    for value in values:
        # Other texts may be an image in base64.
        if isinstance(value, str) and value.lower().endswith(SUFFIXES) and "://" not in value:
            yield value
