"""`python -m axolotl_dmt.toy.real_small DATA FOLDER`: prepare real data for a small model.

DATA is a folder with these files, as their projects publish them:

    gsm8k_train.jsonl, gsm8k_test.jsonl   openai/grade-school-math
    humaneval.jsonl                       openai/human-eval
    codealpaca_2k.json                    sahil280114/codealpaca
    oasst_en_trees.jsonl                  LAION-AI/Open-Assistant, English trees

The command writes into FOLDER what `yaml_templates/real_small.yaml` trains and scores on: the
files, the trees as chats, and a small untrained Llama with a tokenizer trained on these texts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json_rows
from axolotl_dmt.toy.model import make_tokenizer, save_untrained

FILES = (
    "gsm8k_train.jsonl",
    "gsm8k_test.jsonl",
    "humaneval.jsonl",
    "codealpaca_2k.json",
    "oasst_en_trees.jsonl",
)
VOCABULARY = 4096
CONTEXT = 1024
ROLES = {"prompter": "user", "assistant": "assistant"}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chats(tree: dict[str, Any]) -> Iterator[list[dict[str, str]]]:
    """Yield every conversation of a tree that ends with an answer, as messages.

    Args:
        tree: An Open-Assistant tree: `prompt` is its first message, and `replies` nest below it.

    Yields:
        Lists of messages with `role` and `content`.
    """

    def walk(message: dict[str, Any], before: list[dict[str, str]]) -> Iterator[Any]:
        if message.get("deleted"):
            return
        turns = [*before, {"role": ROLES[message["role"]], "content": message["text"]}]
        replies = message.get("replies") or []
        if not replies and turns[-1]["role"] == "assistant":
            yield turns
        for reply in replies:
            yield from walk(reply, turns)

    yield from walk(tree["prompt"], [])


def prepare(data: Path, folder: Path) -> None:
    """Write everything that `real_small.yaml` reads.

    Args:
        data: The folder with the published files.
        folder: The folder to write, which is created if it is missing.

    Raises:
        DMTError: If a file in `data` is missing.
        OSError: If a file cannot be written.
    """
    for name in FILES:
        if not (data / name).is_file():
            raise DMTError("DATA", f"there is no file {data / name}", f"put {name} there")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES[:-1]:
        shutil.copyfile(data / name, folder / name)
    trees = [tree for _, tree in read_json_rows(data / FILES[-1])]
    with (folder / "oasst_chats.jsonl").open("w", encoding="utf-8") as file:
        for tree in trees:
            for messages in chats(tree):
                file.write(json.dumps({"messages": messages}) + "\n")
    _save_base(folder)


def _save_base(folder: Path) -> None:
    texts = [
        (folder / name).read_text("utf-8")
        for name in ("gsm8k_train.jsonl", "codealpaca_2k.json", "oasst_chats.jsonl")
    ]
    tokenizer = make_tokenizer(
        (line for text in texts for line in text.splitlines()),
        vocabulary=VOCABULARY,
        context=CONTEXT,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT_TEMPLATE
    save_untrained(folder / "base", tokenizer, layers=4, hidden=128, inner=352)


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(data: Path, folder: Path) -> None:
    """Write data from the files in DATA, and a small base model, into FOLDER."""
    try:
        prepare(data, folder)
    except DMTError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Wrote real data and a small base model to {folder}")


if __name__ == "__main__":
    main()
