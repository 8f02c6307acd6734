"""Where a task's rows, its prompt and its settings come from.

Every setting is looked up in the same order: lm-eval's metadata (`--metadata
dmt_math_data=my.jsonl`, or `TaskManager(metadata=...)`), then the environment
(`DMT_MATH_DATA=my.jsonl`), then a default; for rows the default is the public dataset on the hub.

A task's `custom_dataset` function is the one place where lm-eval hands a task its metadata, so it
does all of this at once:

    def dataset(generation=None, **metadata):
        set_generation(generation, metadata)
        rows = load_rows("dmt_math_data", metadata, fields=FIELDS, hub=HUB)
        return splits(test=with_prompts(rows, "question", prompt_template(metadata)))
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json_rows

Metadata = Mapping[str, Any]
Row = dict[str, Any]

RENDERED = "rendered_prompt"
"""The field of a document that holds its question inside the prompt template."""
TARGET = "target"
"""The field that holds its answer as it follows that prompt, when it serves as an example."""

_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
_INSTRUCT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)


def env_name(name: str) -> str:
    """The environment variable of a setting: `dmt_math_data` is DMT_MATH_DATA."""
    return name.upper() if name.startswith("dmt_") else f"DMT_{name.upper()}"


def setting(name: str, metadata: Metadata) -> Any | None:
    """A setting's value from the metadata or else the environment; None where neither has it."""
    value = metadata.get(name)
    if value is None or value == "":
        value = os.environ.get(env_name(name)) or None
    return value


def flag(name: str, metadata: Metadata) -> bool:
    """A yes-or-no setting; unset means no.

    Raises:
        DMTError: the value is neither.
    """
    value = setting(name, metadata)
    if value is None or isinstance(value, bool):
        return bool(value)
    text = str(value).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise DMTError(name, f"{value!r} is neither yes nor no", "give true or false")


def integer(name: str, metadata: Metadata, default: int | None = None) -> int | None:
    """A positive whole number.

    Raises:
        DMTError: the value is something else.
    """
    value = setting(name, metadata)
    if value is None:
        return default
    text = str(value).strip()
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or int(text) < 1:
        raise DMTError(name, f"{value!r} is not a positive whole number", "give one, such as 512")
    return int(text)


def set_generation(generation: MutableMapping[str, Any] | None, metadata: Metadata) -> None:
    """Let `dmt_max_gen_toks` replace the answer length that a task's YAML gives.

    Args:
        generation: the task's own `generation_kwargs`, handed over through a YAML alias in
            `dataset_kwargs`, so that a change is seen by the task. lm-eval's `--gen_kwargs` is
            applied later and wins.
        metadata: where to look for the setting.
    """
    tokens = integer("dmt_max_gen_toks", metadata)
    if generation is not None and tokens is not None:
        generation["max_gen_toks"] = tokens


# Rows


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A public dataset: the rows of one split of each of its configurations, one after another."""

    path: str
    split: str = "test"
    configs: tuple[str | None, ...] = (None,)

    def rows(self, name: str) -> list[Row]:
        """Read it through `datasets`.

        Args:
            name: the setting that would have named a local file, for the error.

        Raises:
            DMTError: the hub, or its cache when offline, does not give it.
        """
        import datasets

        try:
            return [
                dict(row)
                for config in self.configs
                for row in datasets.load_dataset(self.path, config, split=self.split)
            ]
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise DMTError(
                name,
                f"{self.path} cannot be read from the hub ({reason[0][:200]})",
                f"go online once, or name a local .jsonl file in {name} or {env_name(name)}",
            ) from error


def read_rows(name: str, path: str | os.PathLike[str], fields: Mapping[str, type]) -> list[Row]:
    """The rows of a local file: JSON objects, one a line or in one array.

    Args:
        name: the setting that named the file, for errors.
        path: the file; a relative one is taken from the current folder.
        fields: the fields each row must have, with their types.

    Raises:
        DMTError: no such file, not JSON, no rows, or a row without a field.
    """
    file = Path(path).expanduser()
    shape = "{" + ", ".join(f'"{field}": ...' for field in fields) + "}"
    try:
        numbered = read_json_rows(file)
    except json.JSONDecodeError as error:
        raise DMTError(name, f"{file} is not JSON lines ({error})", f"a line is {shape}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DMTError(name, f"cannot read {file} ({error})", "name a .jsonl file") from error
    if not numbered:
        raise DMTError(name, f"{file} holds no rows", f"a line is {shape}")
    for number, row in numbered:
        if not isinstance(row, dict):
            raise DMTError(name, f"row {number} of {file} is no object", f"a line is {shape}")
        for field, kind in fields.items():
            if not isinstance(row.get(field), kind):
                problem = f"row {number} of {file} has no {kind.__name__} `{field}`"
                raise DMTError(name, problem, f"a line is {shape}")
    return [row for _, row in numbered]


def load_rows(name: str, metadata: Metadata, *, fields: Mapping[str, type], hub: Hub) -> list[Row]:
    """A task's rows: the local file that setting `name` gives, else the public dataset."""
    path = setting(name, metadata)
    return hub.rows(name) if path is None else read_rows(name, path, fields)


def splits(**rows: Iterable[Row]) -> Any:
    """The `DatasetDict` that lm-eval expects from a `custom_dataset` function.

    Rows are cut to the fields that all rows of the split share, as Arrow wants one shape.
    """
    import datasets

    tables = {}
    for split, items in rows.items():
        listed = list(items)
        shared = [field for field in listed[0] if all(field in row for row in listed)]
        tables[split] = datasets.Dataset.from_list([{f: row[f] for f in shared} for row in listed])
    return datasets.DatasetDict(tables)


# Prompts


@dataclass(frozen=True, kw_only=True)
class Template:
    """A training prompt: what stands around a question.

    `first` opens a conversation and `later` continues one after an answer; both hold `{question}`.
    """

    first: str
    later: str

    def render(self, question: str, history: Sequence[tuple[str, str]] = ()) -> str:
        """The prompt for a question, after earlier (question, answer) turns."""
        text = ""
        for asked, answered in history:
            prompt = text + self._turn(asked, text)
            text = f"{prompt}{self.gap(prompt)}{answered.strip()}"
        return text + self._turn(question, text)

    def _turn(self, question: str, before: str) -> str:
        turn = self.later if before else self.first
        # A question that ends its own line (a function's head, say) gets no empty line after it.
        if question.endswith("\n") and "{question}\n" in turn:
            question = question[:-1]
        return turn.replace("{question}", question)

    @staticmethod
    def gap(prompt: str) -> str:
        """What separates a prompt from its answer: a space where the prompt ends in a word."""
        return "" if prompt[-1:].isspace() else " "


TEMPLATES: Mapping[str, Template] = {
    "plain": Template(first="{question}\n", later="\n\n{question}\n"),
    # FastChat's vicuna_v1.1, which the paper trains with.
    "vicuna": Template(
        first=f"{_SYSTEM} USER: {{question}} ASSISTANT:", later="</s>USER: {question} ASSISTANT:"
    ),
    "alpaca": Template(
        first=f"{_INSTRUCT}\n\n### Instruction:\n{{question}}\n\n### Response:\n",
        later="\n\n### Instruction:\n{question}\n\n### Response:\n",
    ),
}


def prompt_template(metadata: Metadata) -> Template:
    r"""The template that `dmt_prompt` names or spells out; `plain` where it is unset.

    In a spelled-out template a backslash and `n` stand for a new line, so that one fits in a shell
    variable; later turns repeat it after an empty line.

    Raises:
        DMTError: neither a known name nor a text with `{question}`.
    """
    value = str(setting("dmt_prompt", metadata) or "plain")
    if value in TEMPLATES:
        return TEMPLATES[value]
    if "{question}" not in value:
        raise DMTError(
            "dmt_prompt",
            f"{value!r} holds no {{question}}",
            f"give one of {', '.join(TEMPLATES)}, or a template such as 'Q: {{question}}\\nA:'",
        )
    text = value.replace("\\n", "\n")
    return Template(first=text, later=f"\n\n{text}")


def with_prompts(
    rows: Iterable[Row], question: str, template: Template, *, answer: str | None = None
) -> list[Row]:
    """Rows with their prompt, and where `answer` names a field their target, as new fields.

    Args:
        rows: the documents.
        question: the field that holds the bare question.
        template: what to render it into.
        answer: the field with the answer, for tasks with few-shot examples.
    """
    prompted = []
    for row in rows:
        rendered = template.render(row[question])
        extra = {} if answer is None else {TARGET: template.gap(rendered) + row[answer]}
        prompted.append({**row, RENDERED: rendered, **extra})
    return prompted


class Prompt(str):
    """A question that becomes its rendered prompt where lm-eval writes plain text.

    lm-eval makes one message of a question before it decides between a chat, for which it hands the
    contents to the tokenizer's chat template, and a text, for which it adds a delimiter to each
    content. A chat template replaces ours, so the string itself is the bare question; adding the
    empty delimiter, which our tasks use, gives the rendered prompt.
    """

    __slots__ = ("rendered",)
    rendered: str

    def __new__(cls, question: str, rendered: str) -> Prompt:
        """Make it from the bare question and the rendered prompt."""
        self = super().__new__(cls, question)
        self.rendered = rendered
        return self

    def __add__(self, other: str) -> str:
        """The rendered prompt if `other` is empty; chat templates may well add something else."""
        return self.rendered if other == "" else super().__add__(other)


def prompt_of(doc: Row, field: str) -> Prompt:
    """The prompt of a document that `with_prompts` made; for `doc_to_text`."""
    return Prompt(doc[field], doc[RENDERED])
