"""`type: axolotl_dmt.chat`: trains questions and answers in the model's chat template.

Axolotl's `chat_template` reads conversations only. This prompt strategy also reads rows with a
question and an answer in columns of their own, so that all domains of a run can be trained in one
format:

    datasets:
      - {path: math.jsonl, type: axolotl_dmt.chat, domain: math}

Axolotl's keys for chat templates apply. `field_human` and `field_model` together name the columns
of the question and the answer, if they are none of `COLUMNS`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

COLUMNS: Final = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("instruction", "completion"),
    ("question", "answer"),
    ("question", "response"),
    ("problem", "solution"),
    ("problem", "answer"),
    ("query", "response"),
    ("query", "answer"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("input", "output"),
    ("input", "response"),
)
"""Pairs of columns for a question and its answer; the first pair that a row has is read."""
PAIR: Final = ("field_human", "field_model")
"""The keys of an entry that name the columns of a question and its answer, both or neither."""
INPUT: Final = "input"
"""The column that adds to an `instruction`, as in Alpaca's rows."""
SYSTEM: Final = ("system", "system_prompt")
"""The columns that may hold a system message."""


def columns_of_row(
    row: Mapping[str, Any], entry: Mapping[str, Any] | None = None
) -> tuple[str, str] | None:
    """Return the columns of a row's question and answer, or None.

    Args:
        row: the row; only its keys are read.
        entry: the dataset's entry in the YAML, which may name the columns.
    """
    question, answer = (str((entry or {}).get(name) or "") for name in PAIR)
    if question and answer:
        return question, answer
    return next((pair for pair in COLUMNS if row.keys() >= set(pair)), None)


def half_of_pair(entry: Mapping[str, Any]) -> str | None:
    """Return the key of `PAIR` that an entry gives without the other; None if there is none."""
    named = [name for name in PAIR if entry.get(name)]
    return named[0] if len(named) == 1 else None


def messages_of(
    row: Mapping[str, Any], entry: Mapping[str, Any] | None = None
) -> list[dict[str, Any]] | None:
    """Return a row with a question and an answer as messages; None if it has no such columns.

    The keys of the messages are those that the entry's `message_property_mappings` name.

    Args:
        row: the row.
        entry: the dataset's entry in the YAML.
    """
    columns = columns_of_row(row, entry)
    if columns is None:
        return None
    mappings = (entry or {}).get("message_property_mappings") or {}
    role, content = str(mappings.get("role", "role")), str(mappings.get("content", "content"))
    question, answer = (_text(row.get(column)) for column in columns)
    context = _text(row.get(INPUT)) if columns[0] == "instruction" else ""
    if context.strip():
        question = f"{question}\n\n{context}"
    system = next((_text(row[name]) for name in SYSTEM if row.get(name)), "")
    messages = [{role: "system", content: system}] if system.strip() else []
    return [*messages, {role: "user", content: question}, {role: "assistant", content: answer}]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


class ReadsColumns:
    """Makes a chat strategy of Axolotl's also read rows with a question and an answer in columns.

    Attributes:
        dmt_entry: the dataset's entry in the YAML.
    """

    dmt_entry: Mapping[str, Any] = {}

    @property
    def supports_batched(self) -> bool:
        """Always false: Axolotl recognises a batch by its column of messages."""
        return False

    def tokenize_prompt(self, prompt: dict[str, Any]) -> Any:
        """Tokenise one row.

        Raises:
            ValueError: the row has neither messages nor a question and an answer.
        """
        column = self.prompter.field_messages  # type: ignore[attr-defined]
        if prompt.get(column) is None:
            messages = messages_of(prompt, self.dmt_entry)
            if messages is None:
                raise ValueError(f"no question and answer among the columns {', '.join(prompt)}")
            prompt = {column: messages}
        return super().tokenize_prompt(prompt)  # type: ignore[misc]


def load(tokenizer: Any, cfg: Any, ds_cfg: Any = None, processor: Any = None) -> Any:
    """Return the prompt strategy; Axolotl calls this for `type: axolotl_dmt.chat`.

    Raises:
        ValueError: the entry names the column of the question or of the answer alone.
    """
    if half := half_of_pair(ds_cfg or {}):
        raise ValueError(f"{half} is given alone, but {' and '.join(PAIR)} belong together")
    from axolotl.prompt_strategies.chat_template import StrategyLoader

    class Loader(StrategyLoader):  # type: ignore[misc]  # Axolotl is untyped
        def _get_strategy_cls(self, cfg: Any) -> Any:
            return type("ChatStrategy", (ReadsColumns, super()._get_strategy_cls(cfg)), {})

    strategy = Loader()(tokenizer, cfg, ds_cfg, processor=processor)
    strategy.dmt_entry = dict(ds_cfg or {})
    return strategy
