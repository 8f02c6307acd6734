"""Prepares rows of three domains from public datasets: GSM8K, Code Alpaca and Open-Assistant.

The datasets come from the hub, or from a folder with the files that their projects publish. The
rows of each domain are split into rows to train on, held-out rows and items to score.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json, read_json_rows, write_text

Row = dict[str, Any]
ROLES = {"prompter": "user", "assistant": "assistant"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A public dataset.

    Attributes:
        file: the name of the file that its project publishes.
        hub: its name on the hub.
        config: the name of its configuration on the hub, or None.
        split: the split on the hub.
    """

    file: str
    hub: str
    config: str | None = None
    split: str = "train"


MATH = Source(file="gsm8k_train.jsonl", hub="openai/gsm8k", config="main")
MATH_TEST = Source(file="gsm8k_test.jsonl", hub="openai/gsm8k", config="main", split="test")
CODE = Source(file="codealpaca_2k.json", hub="sahil2801/CodeAlpaca-20k")
CODE_TEST = Source(file="humaneval.jsonl", hub="openai/openai_humaneval", split="test")
GENERAL = Source(file="oasst_en_trees.jsonl", hub="OpenAssistant/oasst1")
GENERAL_TEST = Source(file="ifeval_input_data.jsonl", hub="google/IFEval")
SOURCES = (MATH, MATH_TEST, CODE, CODE_TEST, GENERAL, GENERAL_TEST)


def write_domains(
    folder: Path,
    *,
    data: Path | None,
    train: Mapping[str, int],
    held_out: Mapping[str, int],
    seed: int,
) -> dict[str, int]:
    """Write the rows of math, code and general into a folder.

    For each domain there are `<domain>.jsonl` to train on, `held_out/<domain>.jsonl`, whose loss is
    measured, and `<domain>_test.jsonl`, whose items are scored.

    Args:
        folder: The folder to write, which is created if it is missing.
        data: A folder with the published files; None loads the datasets from the hub.
        train: The number of rows to train on, by domain. There are fewer if a dataset is smaller.
        held_out: The number of held-out rows, by domain.
        seed: The seed that chooses the rows.

    Returns:
        {name of the file: number of rows}.

    Raises:
        DMTError: A file in `data` is missing, or a dataset cannot be loaded.
        OSError: If a file cannot be written.
    """
    if data is not None:
        missing = [source.file for source in SOURCES if not (data / source.file).is_file()]
        if missing:
            fix = "download these files from their projects, or leave --data out to use the hub"
            raise DMTError("--data", f"there is no {', '.join(missing)} in {data}", fix)
    files: dict[str, Sequence[Row]] = {
        "math_test": load(MATH_TEST, data),
        "code_test": load(CODE_TEST, data),
        "general_test": load(GENERAL_TEST, data),
    }
    generator = random.Random(seed)
    for domain, source in (("math", MATH), ("code", CODE)):
        rows = load(source, data)
        generator.shuffle(rows)
        files[f"held_out/{domain}"] = rows[: held_out[domain]]
        files[domain] = rows[held_out[domain] :][: train[domain]]
    trees = chats_by_tree(load(GENERAL, data))
    generator.shuffle(trees)
    # The conversations of a tree share their first turns, so a tree is held out as a whole.
    files["held_out/general"], rest = _take(trees, held_out["general"])
    files["general"], _ = _take(rest, train["general"])
    (folder / "held_out").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        lines = (json.dumps(row, ensure_ascii=False) for row in content)
        write_text(folder / f"{name}.jsonl", "".join(f"{line}\n" for line in lines))
    return {f"{name}.jsonl": len(content) for name, content in files.items()}


def load(source: Source, data: Path | None) -> list[Row]:
    """Return the rows of a dataset from a folder or, without one, from the hub.

    Raises:
        DMTError: The dataset cannot be loaded.
    """
    if data is not None:
        path = data / source.file
        if path.suffix == ".json":
            rows: list[Row] = read_json(path)
            return rows
        return [row for _, row in read_json_rows(path)]
    from datasets import load_dataset

    try:
        return [dict(row) for row in load_dataset(source.hub, source.config, split=source.split)]
    except Exception as error:  # the hub's client raises errors of many libraries
        problem = f"{source.hub} cannot be loaded from the hub: {str(error).splitlines()[0]}"
        fix = "check the connection, or name a folder with the published files by --data"
        raise DMTError("--data", problem, fix) from None


def chats_by_tree(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the conversations of each Open-Assistant tree as rows with `messages`.

    Args:
        rows: The trees, as the project publishes them, or the English messages of the dataset on
            the hub, which name their parents.
    """
    trees = list(rows) if rows and "prompt" in rows[0] else _trees_of_messages(rows)
    return [[{"messages": messages} for messages in chats(tree)] for tree in trees]


def chats(tree: Row) -> Iterator[list[dict[str, str]]]:
    """Yield every conversation of a tree that ends with an answer, as messages.

    Args:
        tree: An Open-Assistant tree: `prompt` is its first message, and `replies` nest below it.

    Yields:
        Lists of messages with `role` and `content`.
    """

    def walk(message: Row, before: list[dict[str, str]]) -> Iterator[Any]:
        if message.get("deleted"):
            return
        turns = [*before, {"role": ROLES[message["role"]], "content": message["text"]}]
        replies = message.get("replies") or []
        if not replies and turns[-1]["role"] == "assistant":
            yield turns
        for reply in replies:
            yield from walk(reply, turns)

    yield from walk(tree["prompt"], [])


def _trees_of_messages(messages: Sequence[Row]) -> list[Row]:
    """Return the English trees of a table of messages, in order of their first messages."""
    english = [message for message in messages if message["lang"] == "en"]
    by_id = {message["message_id"]: {**message, "replies": []} for message in english}
    roots = []
    for message in by_id.values():
        parent = by_id.get(message["parent_id"])
        if parent is not None:
            parent["replies"].append(message)
        elif message["parent_id"] is None:
            roots.append({"prompt": message})
    return roots


def _take(trees: Sequence[list[Row]], count: int) -> tuple[list[Row], list[list[Row]]]:
    """Return the conversations of whole trees, about `count` of them, and the trees left over."""
    rows: list[Row] = []
    for number, tree in enumerate(trees):
        if len(rows) >= count:
            return rows, list(trees[number:])
        rows += tree
    return rows, []
