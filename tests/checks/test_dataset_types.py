"""A dataset's type that is missing, misspelt or removed is reported before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.checks.dataset_types import HANDLED, listed_names, strategies, wrong_types
from tests.mistakes import assert_mistake

CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chat.jsonl").write_text(json.dumps(CHAT) + "\n")
    tokenised = {"input_ids": [1], "attention_mask": [1], "labels": [1], "source": "x"}
    Path("tokenised.jsonl").write_text(json.dumps(tokenised) + "\n")


def mistakes(kind: Any) -> list[str]:
    entries = [{"path": "tokenised.jsonl"}, {"path": "chat.jsonl", "type": kind}]
    return [str(error) for error in wrong_types({"datasets": entries})]


@pytest.mark.parametrize("entry", [{}, {"type": None}, {"type": ""}])
def test_a_missing_type_is_reported_with_the_columns(entry: dict[str, Any]) -> None:
    (error,) = wrong_types({"test_datasets": [{"path": "chat.jsonl", **entry}]})
    assert_mistake(str(error), "test_datasets[0].type", "chat.jsonl", "type: ", "messages")


def test_tokenised_rows_and_those_that_are_not_read_here_need_no_type() -> None:
    for path in ("tokenised.jsonl", "org/hub", "nowhere.jsonl", "."):
        assert not list(wrong_types({"datasets": [{"path": path}]}))


@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        ("chat_tempalte", "chat_template?"),
        ("alpacca", "alpaca?"),
        ("alpacca:chat", "alpaca"),
        ("alpaca_chat.load_qs", "alpaca_chat.load_qa?"),
        ("sharegpt", "field_messages"),
        ("sharegpt:chat", "field_messages"),
        ("nothing.like_it", "type: "),
        ("zzz", "type: "),
    ],
)
def test_an_unknown_type_is_reported_with_the_nearest_name(kind: str, fix: str) -> None:
    (line,) = mistakes(kind)
    assert_mistake(line, "datasets[1].type", repr(kind), fix)


@pytest.mark.parametrize(
    "kind",
    [
        "alpaca",
        "alpaca:chat",
        "alpaca_chat.load_qa",
        "alpaca_chat.load",
        "chat_template",
        "messages",
        "input_output",
        "completion",
        "oasst",
        "axolotl.prompt_strategies.chat_template",
        "own_module.prompts",
        {"field_instruction": "a"},
    ],
)
def test_types_of_axolotl_and_of_modules_that_exist_are_accepted(kind: Any) -> None:
    Path("own_module").mkdir()
    assert mistakes(kind) == []


def test_the_known_types_are_those_of_axolotl() -> None:
    from axolotl.utils.data.wrappers import DATASET_HANDLERS

    assert set(HANDLED) == set(DATASET_HANDLERS)
    assert {"chat_template", "alpaca_w_system.load_open_orca", "messages"} <= strategies()


def test_a_list_of_names_is_reported_with_its_entry() -> None:
    assert not list(listed_names({"datasets": [{"path": "org/a", "name": "main"}]}))
    entries = [{"path": "org/a"}, {"path": "org/b", "name": ["easy", "hard"]}]
    (error,) = listed_names({"datasets": entries})
    assert_mistake(str(error), "datasets[1].name", "easy", "hard", "an entry of its own")
