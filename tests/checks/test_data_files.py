"""Columns that a local file does not have are reported before anything is loaded."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from axolotl_dmt.checks import data_files
from axolotl_dmt.checks.data_files import may_be_gone, wrong_columns
from axolotl_dmt.checks.data_paths import missing_files
from tests.mistakes import assert_mistake, assert_mistakes

ROWS = [{"question": f"{n}?", "answer": str(n), "context": ""} for n in range(5)]
CHAT = [{"chat": [{"from": "user", "value": "a"}, {"from": "gpt", "value": "b"}], "tag": "x"}]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, rows: list[dict[str, Any]]) -> str:
    path = Path(name)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def mistakes(entry: dict[str, Any], **settings: Any) -> list[str]:
    return [str(error) for error in wrong_columns({"datasets": [entry], **settings})]


def custom(path: str, **fields: str) -> dict[str, Any]:
    return {"path": path, "type": {"format": "{instruction}", **fields}}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet"])
def test_a_custom_prompts_columns_are_looked_for_in_every_kind_of_file(name: str) -> None:
    write(name, ROWS)
    assert mistakes(custom(name, field_instruction="question", field_output="answer")) == []
    columns = "question, answer, context"
    assert_mistakes(
        mistakes(custom(name, field_instruction="questoin", field_output="anwser")),
        ("datasets[0].type.field_instruction", "'questoin'", name, columns, "'question'?"),
        ("datasets[0].type.field_output", "'anwser'", name, columns, "'answer'?"),
    )


def test_a_column_that_is_not_named_has_axolotls_default_name() -> None:
    write("rows.jsonl", ROWS)
    (line,) = mistakes(custom("rows.jsonl", field_instruction="question"))
    assert_mistake(line, "datasets[0].type.field_output", "'output'")
    # with nothing masked, the instruction alone can be trained on
    assert mistakes(custom("rows.jsonl", field_instruction="question"), train_on_inputs=True) == []


def test_an_optional_column_is_reported_only_if_another_has_a_similar_name() -> None:
    write("rows.jsonl", ROWS)
    fields = {"field_instruction": "question", "field_output": "answer"}
    assert (
        mistakes(custom("rows.jsonl", **fields, field_input="input", field_system="system")) == []
    )
    (line,) = mistakes(custom("rows.jsonl", **fields, field_input="contxt"))
    assert_mistake(line, "datasets[0].type.field_input", "'contxt'", "'context'?")


def test_axolotls_own_types_need_their_columns_and_no_input() -> None:
    write("alpaca.jsonl", [{"instruction": "a", "output": "b"}])
    write("rows.jsonl", ROWS)
    write("text.jsonl", [{"text": "a"}])
    for kind in ("alpaca", "alpaca:chat", "my.own_type", "sharegpt"):
        assert mistakes({"path": "alpaca.jsonl", "type": kind}) == []
    assert mistakes({"path": "rows.jsonl", "type": "alpaca_chat.load_qa"}) == []
    assert mistakes({"path": "text.jsonl", "type": "completion"}) == []
    (line,) = mistakes({"path": "rows.jsonl", "type": "alpaca"})
    assert_mistake(line, "datasets[0].type", "alpaca", "'instruction'", "'output'", "rows.jsonl")
    assert_mistake(line, "datasets[0].type", "question, answer, context", "type: ")
    (line,) = mistakes({"path": "rows.jsonl", "type": "completion", "field": "txt"})
    assert_mistake(line, "datasets[0].field", "'txt'", "rows.jsonl")


@pytest.mark.parametrize("name", ["chat.jsonl", "chat.parquet", "text.jsonl"])
def test_messages_and_their_keys_are_looked_for(name: str) -> None:
    as_text = [{**row, "chat": json.dumps(row["chat"])} for row in CHAT]
    write(name, as_text if name == "text.jsonl" else CHAT)
    entry = {"path": name, "type": "chat_template", "field_messages": "chat"}
    right = {"role": "from", "content": "value"}
    assert mistakes({**entry, "message_property_mappings": right}) == []
    assert mistakes({**entry, "message_field_role": "from", "message_field_content": "value"}) == []
    assert_mistakes(
        mistakes(entry),
        ("datasets[0].message_property_mappings.role", "'role'", name, "from, value"),
        ("datasets[0].message_property_mappings.content", "'content'", name, "from, value"),
    )
    key = "datasets[0].message_property_mappings.content"
    (line,) = mistakes({**entry, "message_property_mappings": {**right, "content": "valeu"}})
    assert_mistake(line, key, "'valeu'", "from, value", "'value'?")
    assert mistakes({**entry, "chat_template_jinja": "{{ messages[0]['from'] }}"}) == []
    (line,) = mistakes({"path": name, "type": "chat_template"})
    assert_mistake(line, "datasets[0].field_messages", "'messages'", name)


def test_our_chats_columns_are_named_both_or_neither() -> None:
    entry = {"path": write("rows.jsonl", ROWS), "type": "axolotl_dmt.chat"}
    assert mistakes(entry) == []
    assert mistakes({**entry, "field_human": "context", "field_model": "answer"}) == []
    alone = mistakes({**entry, "field_human": "question"})
    assert_mistakes(alone, ("datasets[0].field_model", "field_human"))
    assert_mistakes(
        mistakes({**entry, "field_model": "answer"}), ("datasets[0].field_human", "field_model")
    )
    wrong = mistakes({**entry, "field_human": "questoin"})
    assert_mistakes(wrong, ("datasets[0].field_human", "'questoin'", "'question'?"))


def test_a_list_in_a_text_that_is_nested_without_end_is_no_list_of_messages() -> None:
    write("deep.jsonl", [{"chat": "[" * 100_000}] * 2)
    entry = {"path": "deep.jsonl", "type": "chat_template", "field_messages": "chat"}
    assert mistakes(entry) == []


def test_columns_of_some_rows_are_columns() -> None:
    rows: list[dict[str, Any]] = [{"question": "a"}] * 200 + [{"question": "a", "answer": "b"}]
    write("rows.jsonl", rows)
    assert mistakes(custom("rows.jsonl", field_instruction="question", field_output="answer")) == []
    turns = [{"role": "user", "content": "a"}, {"role": "tool", "name": "t", "content": None}]
    write("chat.jsonl", [{"messages": []}, {"messages": turns}])
    assert mistakes({"path": "chat.jsonl", "type": "chat_template"}) == []


def test_files_that_cannot_be_read_quickly_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("folder").mkdir()
    tokenised = [{"input_ids": [1], "attention_mask": [1], "labels": [1]}]
    write("tokenised.jsonl", tokenised)
    Path("empty.jsonl").write_text("")
    Path("broken.json").write_text('[{"a": 1')
    Path("broken.jsonl").write_text('{"a": 1}\nnot json\n')
    Path("broken.parquet").write_text("nothing")
    Path("list.jsonl").write_text("[1, 2]\n")
    Path("rows.jsonl.gz").write_bytes(b"\x1f\x8b")
    names = [*(str(path) for path in Path().iterdir()), "org/hub", "nowhere.jsonl", 3, None]
    for name in names:
        for kind in ("alpaca", "chat_template", {"field_instruction": "x"}, None, 3):
            assert mistakes({"path": name, "type": kind}) == []
    assert mistakes({"path": write("a.jsonl", ROWS), "type": "alpaca", "ds_type": "csv"}) == []
    monkeypatch.setattr(data_files, "FIRST_BYTES", 10)
    assert mistakes({"path": "a.jsonl", "type": "alpaca"}) == []  # not one whole row was read


def test_settings_of_another_shape_are_left_to_others() -> None:
    write("chat.jsonl", CHAT)
    shapes: list[Any] = [3, [], [1], {}, {"a": 1}, True]
    for shape in shapes:
        mistakes({"path": "chat.jsonl", "type": {"field_instruction": shape, "field_input": shape}})
        mistakes({"path": "chat.jsonl", "type": "completion", "field": shape, "ds_type": shape})
        names = ("field_messages", "field_tools", "message_field_role", "message_property_mappings")
        mistakes({"path": "chat.jsonl", "type": "chat_template", **dict.fromkeys(names, shape)})
        assert not list(wrong_columns({"datasets": shape}))


def test_only_the_beginning_of_a_large_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "FIRST_BYTES", 100)
    Path("rows.jsonl").write_text('{"question": "ä", "answer": "b"}\n' * 3 + "not JSON\n")
    (line,) = mistakes(custom("rows.jsonl", field_instruction="questoin", field_output="answer"))
    assert_mistake(line, "datasets[0].type.field_instruction", "'questoin'", "'question'?")


def test_every_missing_file_is_named_and_those_of_the_hub_are_not() -> None:
    write("here.jsonl", ROWS)
    paths = ["here.jsonl", "gone.jsonl", "org/hub", "s3://x/y.jsonl", "data/a.json", "/a/b", "."]
    cfg = {"datasets": [{"path": path} for path in paths], "test_datasets": [{"path": "t.csv"}]}
    assert [error.key for error in missing_files(cfg)] == [
        "datasets[1].path",
        "datasets[4].path",
        "datasets[5].path",
        "test_datasets[0].path",
    ]


def test_files_may_be_gone_once_something_is_prepared() -> None:
    assert not may_be_gone({}) and not may_be_gone({"dataset_prepared_path": "own"})
    Path("own/digest").mkdir(parents=True)
    assert not may_be_gone({})
    assert may_be_gone({"dataset_prepared_path": "own"})
    assert may_be_gone({"push_dataset_to_hub": "org/prepared"})


def test_files_may_be_gone_once_a_run_is_over() -> None:
    cfg = {"output_dir": "out"}
    assert not may_be_gone(cfg)
    Path("out/dmt").mkdir(parents=True)
    Path("out/dmt/results.json").write_text("{}")
    assert may_be_gone(cfg)
