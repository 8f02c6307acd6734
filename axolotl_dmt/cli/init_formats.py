"""The prompt format of `axolotl dmt init`: one for all domains, whatever their columns are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.chat import columns_of_row
from axolotl_dmt.checks.data_files import first_rows
from axolotl_dmt.cli.init_model import BaseModel
from axolotl_dmt.console import printable
from axolotl_dmt.errors import DMTError
from axolotl_dmt.scoring.prompts import TEMPLATES

MOST_OF_COLUMNS: Final = 200
"""Characters of the names of columns that are shown."""
OUR_CHAT: Final = "axolotl_dmt.chat"
VICUNA: Final = "vicuna"
_SYSTEM = TEMPLATES[VICUNA].first.split(" USER:")[0]
VICUNA_JINJA: Final = (
    "{{ bos_token }}" + _SYSTEM + "{% for message in messages %}{% if message['role'] == 'user' %}"
    " USER: {{ message['content'] }}{% elif message['role'] == 'assistant' %} ASSISTANT: "
    "{{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
"""The prompt that the paper trains with, as a chat template."""


def template_lines(model: BaseModel, prompt: str | None) -> list[str]:
    """Return the lines of the YAML that choose the chat template of all datasets.

    Args:
        model: the base model.
        prompt: `vicuna` or the name of one of Axolotl's chat templates; None for the model's own
            or, if it has none, `vicuna`.

    Raises:
        DMTError: Axolotl has no such template.
    """
    if prompt is None and model.has_chat_template:
        source = (
            "the model's own" if model.is_read else "by the model's name: check that it has one"
        )
        return [f"chat_template: tokenizer_default   # {source}, for all datasets"]
    name = prompt or VICUNA
    if name == VICUNA:
        why = "the model has no chat template; this is the paper's prompt, for all datasets"
        return [
            f"chat_template: jinja             # {why if prompt is None else 'the Vicuna prompt'}",
            f'chat_template_jinja: "{VICUNA_JINJA}"',
        ]
    if name not in (known := axolotl_templates()):
        fix = f"choose one of: {', '.join([VICUNA, *known])}"
        raise DMTError("--prompt", f"{name!r} is unknown", fix)
    return [f"chat_template: {name}             # for all datasets"]


def axolotl_templates() -> list[str]:
    """Return the names of Axolotl's chat templates."""
    import importlib.util

    spec = importlib.util.find_spec("axolotl")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    folders = [Path(root) / "utils/chat_templates/templates" for root in roots]
    return sorted(file.stem for folder in folders for file in folder.glob("*.jinja"))


def type_lines(path: str) -> list[str]:
    """Return the lines of a dataset's entry that say how its rows become conversations."""
    rows = first_rows({"path": path})
    if not rows:
        return [f"    type: {OUR_CHAT}  # reads messages, or a question and an answer in columns"]
    row = rows[0]
    for column in ("messages", "conversations", "conversation"):
        if column in row:
            return _conversation(column, row)
    if columns_of_row(row) is not None:
        return [f"    type: {OUR_CHAT}"]
    # The names are a stranger's: a line break among them would end the comment.
    columns = printable(" ".join(", ".join(row).split()))[:MOST_OF_COLUMNS]
    return [
        f"    type: {OUR_CHAT}  # name the columns of the question and the answer: {columns}",
        "    field_human: question",
        "    field_model: answer",
    ]


def _conversation(column: str, row: Mapping[str, Any]) -> list[str]:
    lines = ["    type: chat_template"]
    if column != "messages":
        lines.append(f"    field_messages: {column}")
    messages: Sequence[Any] = row[column] if isinstance(row[column], list) else ()
    keys = set(messages[0]) if messages and isinstance(messages[0], dict) else set()
    if {"from", "value"} <= keys:
        lines.append("    message_property_mappings: {role: from, content: value}")
    return lines
