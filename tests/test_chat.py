"""`type: axolotl_dmt.chat` turns rows of any common columns into the same conversation."""

from __future__ import annotations

from typing import Any

import pytest

from axolotl_dmt.chat import columns_of_row, messages_of
from tests.tiny_model import CHATML, make_tokenizer

USER, ASSISTANT = {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}


@pytest.mark.parametrize(
    "row",
    [
        {"question": "1+1?", "answer": "2"},
        {"instruction": "1+1?", "input": "", "output": "2"},
        {"instruction": "1+1?", "input": None, "output": "2"},
        {"prompt": "1+1?", "completion": "2"},
        {"prompt": "1+1?", "response": "2", "system": ""},
        {"input": "1+1?", "output": "2"},
        {"problem": "1+1?", "solution": "2", "level": 3},
    ],
)
def test_a_question_and_an_answer_become_two_messages(row: dict[str, Any]) -> None:
    assert messages_of(row) == [USER, ASSISTANT]


def test_an_input_and_a_system_message_are_kept() -> None:
    row = {"instruction": "Add.", "input": "1 1", "output": "2", "system": "Be brief."}
    system, user, _ = messages_of(row) or []
    assert (system["role"], system["content"]) == ("system", "Be brief.")
    assert user["content"] == "Add.\n\n1 1"


def test_an_entry_may_name_the_columns_and_the_keys() -> None:
    entry = {
        "field_human": "left",
        "field_model": "right",
        "message_property_mappings": {"role": "from", "content": "value"},
    }
    assert messages_of({"left": "1+1?", "right": "2"}, entry) == [
        {"from": "user", "value": "1+1?"},
        {"from": "assistant", "value": "2"},
    ]
    assert columns_of_row({"left": 1, "right": 2}) is None


def test_axolotl_loads_the_strategy_and_can_send_it_to_other_processes() -> None:
    dill = pytest.importorskip("dill")
    strategies = pytest.importorskip("axolotl.prompt_strategies")
    from axolotl.utils.dict import DictDefault

    tokenizer = make_tokenizer(CHATML)
    cfg = DictDefault({"sequence_len": 99, "train_on_inputs": False})
    entry = DictDefault({"type": "axolotl_dmt.chat"})
    strategy = strategies.load("axolotl_dmt.chat", tokenizer, cfg, entry)
    rows = [{"question": "1+1?", "answer": "2"}, {"messages": [USER, ASSISTANT]}]
    tokenise = dill.loads(dill.dumps(strategy.tokenize_prompt))
    first, second = (tokenise(row) for row in rows)
    assert first == second
    trained = [i for i, label in zip(first["input_ids"], first["labels"], strict=True) if label > 0]
    assert tokenizer.decode(trained).startswith("2")
    with pytest.raises(ValueError, match="left"):
        tokenise({"left": "x"})
    half = DictDefault({"type": "axolotl_dmt.chat", "field_human": "left"})
    with pytest.raises(ValueError, match="field_human"):
        strategies.load("axolotl_dmt.chat", tokenizer, cfg, half)
