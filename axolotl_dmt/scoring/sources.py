"""Load a task's settings, rows and prompt template.

Every setting is looked up in the same order: in lm-eval's metadata (`--metadata
dmt_math_data=my.jsonl`, or `TaskManager(metadata=...)`), then in the environment
(`DMT_MATH_DATA=my.jsonl`). Otherwise a default applies: for rows, the public dataset on the hub.

lm-eval passes a task its metadata in one place only, the task's `custom_dataset` function. That
function therefore does all of this at once:

    @as_splits
    def dataset(generation=None, **metadata):
        set_generation(generation, metadata)
        rows = load_rows("dmt_math_data", metadata, fields=FIELDS, hub=HUB)
        template = prompt_template(metadata, "dmt_math", generation)
        return {"test": with_prompts(rows, "question", template)}
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import half_pair, parse_json, read_json_rows
from axolotl_dmt.scoring.prompts import (
    AS_TRAINED,
    PROMPTS_FILE,
    TEMPLATES,
    Template,
    TrainedPrompts,
    custom_template,
)

Metadata = Mapping[str, Any]
Row = dict[str, Any]
Splits = Mapping[str, Sequence[Row]]
"""The rows of each split of a task."""
Arguments = ParamSpec("Arguments")

RENDERED = "rendered_prompt"
"""The field of a document that holds its question, rendered into the prompt template."""
TARGET = "target"
"""The field that holds the answer as it follows that prompt, for few-shot examples."""
MODEL_FOLDERS = ("peft", "lora_local_path", "tokenizer", "pretrained")
"""The arguments of lm-eval's models that can name the folder of a stage."""


def env_name(name: str) -> str:
    """Return the environment variable of a setting: DMT_MATH_DATA for `dmt_math_data`."""
    return name.upper() if name.startswith("dmt_") else f"DMT_{name.upper()}"


def setting(name: str, metadata: Metadata) -> Any | None:
    """Return a setting's value from the metadata, else the environment; None if neither has it."""
    value = metadata.get(name)
    if value is None or value == "":
        value = os.environ.get(env_name(name)) or None
    return value


def flag(name: str, metadata: Metadata) -> bool:
    """Return the value of a boolean setting; False if it is unset.

    Raises:
        DMTError: If the value is not a boolean.
    """
    value = setting(name, metadata)
    if value is None or isinstance(value, bool):
        return bool(value)
    text = str(value).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise DMTError(name, f"{value!r} is not a boolean", "use true or false")


def integer(name: str, metadata: Metadata, default: int | None = None) -> int | None:
    """Return the value of a setting that is a positive whole number; `default` if it is unset.

    Raises:
        DMTError: If the value is not a positive whole number.
    """
    value = setting(name, metadata)
    if value is None:
        return default
    text = str(value).strip()
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or int(text) < 1:
        raise DMTError(name, f"{value!r} is not a positive whole number", "use one, such as 512")
    return int(text)


def set_generation(generation: MutableMapping[str, Any] | None, metadata: Metadata) -> None:
    """Set the maximum answer length in a task's generation settings from `dmt_max_gen_toks`.

    Args:
        generation: The task's own `generation_kwargs`, which is changed in place. The task's YAML
            passes it through an alias in `dataset_kwargs`. lm-eval applies `--gen_kwargs` later, so
            that option wins.
        metadata: The task's metadata.

    Raises:
        DMTError: If the setting is not a positive whole number.
    """
    tokens = integer("dmt_max_gen_toks", metadata)
    if generation is not None and tokens is not None:
        generation["max_gen_toks"] = tokens


# Rows


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A public dataset on the hub.

    Attributes:
        path: Its name on the hub.
        split: The split whose rows are read.
        configs: Its configurations; their rows are read one after another.
    """

    path: str
    split: str = "test"
    configs: tuple[str | None, ...] = (None,)

    def rows(self, name: str) -> list[Row]:
        """Read the rows through `datasets`.

        Args:
            name: The setting that can name a local file instead, for the error message.

        Raises:
            DMTError: If the dataset cannot be read from the hub or, offline, from its cache.
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
                f"go online once, or set {name} or {env_name(name)} to a local .jsonl file",
            ) from error


def read_rows(name: str, path: str | os.PathLike[str], fields: Mapping[str, type]) -> list[Row]:
    """Read the rows of a local file: one JSON object per line, or one array of objects.

    Args:
        name: The setting that names the file, for error messages.
        path: The file; a relative path starts at the current folder.
        fields: The fields that each row must have, with their types.

    Raises:
        DMTError: If the file cannot be read, is not JSON, or is empty, or if a row lacks a field or
            holds half a surrogate pair.
    """
    file = Path(path).expanduser()
    row_format = "a line is {" + ", ".join(f'"{field}": ...' for field in fields) + "}"
    try:
        numbered = read_json_rows(file)
    except (OSError, UnicodeDecodeError) as error:
        fix = "give the path of a .jsonl file"
        raise DMTError(name, f"cannot read {file} ({error})", fix) from error
    except ValueError as error:  # not JSON, too large, nested too deeply, or too long a number
        reason = str(error).partition(";")[0]  # what follows in Python's message is for programs
        fix = f"correct or shorten it: {row_format}"
        raise DMTError(name, f"{file} cannot be read as JSON lines ({reason})", fix) from error
    if not numbered:
        raise DMTError(name, f"{file} has no rows", row_format)
    for number, row in numbered:
        if not isinstance(row, dict):
            raise DMTError(name, f"row {number} of {file} is not an object", row_format)
        for field, kind in fields.items():
            if not isinstance(row.get(field), kind):
                problem = f"row {number} of {file} has no {kind.__name__} `{field}`"
                raise DMTError(name, problem, row_format)
        if (half := half_pair(row)) is not None:
            problem = f"row {number} of {file} holds {half}, half of a character"
            raise DMTError(name, problem, "write both halves of its surrogate pair, or neither")
    return [row for _, row in numbered]


def each_row(name: str, rows: Iterable[Row], read: Callable[[Row], Row]) -> list[Row]:
    """Return what a function makes of each row.

    Raises:
        DMTError: If the function does; the message names the row.
    """
    read_rows = []
    for number, row in enumerate(rows, 1):
        try:
            read_rows.append(read(row))
        except DMTError as error:
            raise DMTError(name, f"row {number}: {error.problem}", error.fix) from error
    return read_rows


def load_rows(name: str, metadata: Metadata, *, fields: Mapping[str, type], hub: Hub) -> list[Row]:
    """Return a task's rows: those of the file that setting `name` names, else the public dataset.

    Raises:
        DMTError: If the file or the dataset cannot be read, or a row of the file lacks a field.
    """
    path = setting(name, metadata)
    return hub.rows(name) if path is None else read_rows(name, path, fields)


def load_examples(
    name: str,
    metadata: Metadata,
    *,
    fields: Mapping[str, type],
    built_in: Iterable[tuple[str, str]],
) -> list[Row]:
    """Return a task's few-shot examples: those of the file that setting `name` names, if it is set.

    Args:
        name: The setting.
        metadata: The task's metadata.
        fields: The fields that each row of a file must have, with their types.
        built_in: The questions and answers to use if the setting is unset.

    Raises:
        DMTError: If the file cannot be read, or a row of it lacks a field.
    """
    path = setting(name, metadata)
    if path is not None:
        return read_rows(name, path, fields)
    return [{"question": question, "answer": answer} for question, answer in built_in]


def as_splits(read: Callable[Arguments, Splits]) -> Callable[Arguments, Any]:
    """Make a function that reads the rows of each split return lm-eval's `DatasetDict` of them.

    `inspect.unwrap` returns the function itself, for callers that only want the rows: importing
    `datasets` takes seconds. Arrow needs the same fields in every row, so only the fields that all
    rows of a split have are included. A field whose values Arrow cannot hold becomes JSON text.
    """

    @functools.wraps(read)
    def dataset(*arguments: Arguments.args, **settings: Arguments.kwargs) -> Any:
        rows = read(*arguments, **settings)
        import datasets

        tables = {}
        for split, items in rows.items():
            shared = [field for field in items[0] if all(field in row for row in items)]
            tables[split] = _table({field: [row[field] for row in items] for field in shared})
        return datasets.DatasetDict(tables)

    return dataset


def _table(columns: Mapping[str, Sequence[Any]]) -> Any:
    """Return columns as a `Dataset`; those that Arrow cannot hold, and no score needs, as JSON."""
    import datasets

    try:
        return datasets.Dataset.from_dict(columns)
    except Exception:  # of Arrow: several types, too large a number, too deep a nesting
        if len(columns) > 1:
            tables = [_table({field: values}) for field, values in columns.items()]
            return datasets.concatenate_datasets(tables, axis=1)
        ((field, values),) = columns.items()
        if all(isinstance(value, str) for value in values):
            raise
        return datasets.Dataset.from_dict({field: [json.dumps(value) for value in values]})


# Prompts


def prompt_template(
    metadata: Metadata, task: str, generation: MutableMapping[str, Any] | None = None
) -> Template:
    r"""Return the format that `dmt_prompt` selects, and set the task's stop strings by it.

    The setting is the name of a format, a text with `{question}`, in which a backslash followed by
    `n` stands for a newline (so that it fits in a shell variable), `as_trained`, or the formats of
    a run: the folder or file that holds them, or their JSON. If it is unset, the formats saved
    beside the model apply, and `plain` for a model without them.

    Args:
        metadata: The task's metadata; lm-eval includes the model's arguments.
        task: The name of the task.
        generation: The task's own `generation_kwargs`, which is changed in place.

    Raises:
        DMTError: If the value is none of these, or does not say how the task is asked.
    """
    template = _template(metadata, task)
    if generation is not None:
        generation["until"] = list(template.stop)
    return template


def _template(metadata: Metadata, task: str) -> Template:
    value = setting("dmt_prompt", metadata)
    if value in (None, AS_TRAINED):
        trained = TrainedPrompts.beside(*(metadata.get(name) for name in MODEL_FOLDERS))
        if trained is not None:
            return trained.of(task)
        if value == AS_TRAINED:
            problem = f"there is no {PROMPTS_FILE} beside the model, so its format is unknown"
            raise DMTError("dmt_prompt", problem, f"use one of {', '.join(TEMPLATES)}")
        return TEMPLATES["plain"]
    if isinstance(value, Mapping):
        return TrainedPrompts.from_json(value).of(task)
    text = str(value)
    if text in TEMPLATES:
        return TEMPLATES[text]
    if (formats := _json_of_formats(text)) is not None:
        return TrainedPrompts.from_json(formats).of(task)
    if "{question}" in text:
        return custom_template(text.replace("\\n", "\n"))
    if Path(text).exists():
        return TrainedPrompts.load(Path(text)).of(task)
    raise DMTError(
        "dmt_prompt",
        f"{text!r} holds no {{question}}",
        f"use {AS_TRAINED}, one of {', '.join(TEMPLATES)}, or a template such as "
        "'Q: {question}\\nA:'",
    )


def _json_of_formats(text: str) -> Any | None:
    """Return the formats of a run from their JSON; None for another text."""
    if not text.startswith("{"):
        return None
    try:
        value = parse_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "domains" in value else None


def with_prompts(
    rows: Iterable[Row], question: str, template: Template, *, answer: str | None = None
) -> list[Row]:
    """Add the prompt to each row, and the target if `answer` is given, as new fields.

    Args:
        rows: The documents.
        question: The field that holds the bare question.
        template: The template to render the question into.
        answer: The field that holds the answer, for tasks with few-shot examples.
    """
    prompted = []
    for row in rows:
        rendered = template.render(row[question])
        extra = {}
        if answer is not None:
            extra = {TARGET: template.gap(rendered) + row[answer] + template.end}
        prompted.append({**row, RENDERED: rendered, **extra})
    return prompted


class Prompt(str):
    """A question that turns into its rendered prompt where lm-eval builds plain text.

    lm-eval turns a question into a message before it decides between a chat, where the tokenizer's
    chat template receives the message's content, and plain text, where a delimiter is added to the
    content. A chat template replaces ours, so the string itself is the bare question. Adding the
    empty delimiter, which our tasks use, gives the rendered prompt.
    """

    __slots__ = ("rendered",)
    rendered: str

    def __new__(cls, question: str, rendered: str) -> Prompt:
        """Create the string from the bare question, and attach the rendered prompt."""
        self = super().__new__(cls, question)
        self.rendered = rendered
        return self

    def __add__(self, other: str) -> str:
        """Return the rendered prompt if `other` is empty; chat templates may add other text."""
        return self.rendered if other == "" else super().__add__(other)


def prompt_of(doc: Row, field: str) -> Prompt:
    """Return the prompt of a document that `with_prompts` made; for `doc_to_text`."""
    return Prompt(doc[field], doc[RENDERED])
