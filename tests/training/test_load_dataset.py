"""Datasets that cannot be read or tokenised are reported in one line, with the line or the row."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.dict import DictDefault

from axolotl_dmt.training.load_errors import broken_line
from axolotl_dmt.training.pool import RowPool, load_pool
from tests.mistakes import expect_error
from tests.tiny_model import make_model

ALPACA = [{"instruction": f"add {n}", "input": "", "output": str(n)} for n in range(8)]
CHAT = [
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": f"ho {n}"}]}
    for n in range(8)
]
TOKENISED = {"input_ids": [1, 5, 9, 2], "attention_mask": [1] * 4, "labels": [-100, -100, 9, 2]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def write(name: str, rows: list[Any]) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    Path(name).write_text("".join(f"{line}\n" for line in lines))
    return name


def chat(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def load(model: str, *entries: dict[str, Any], **settings: Any) -> RowPool:
    """Return the pool of these entries; the first is of domain d0, and so on."""
    cfg = DictDefault(
        {
            "base_model": model,
            "tokenizer_config": model,
            "tokenizer_type": "AutoTokenizer",
            "sequence_len": 512,
            "dataset_prepared_path": "prepared",
            "chat_template": "tokenizer_default",
            "micro_batch_size": 1,
            "gradient_accumulation_steps": 1,
            "batch_size": 1,
            "num_epochs": 1,
            "seed": 1,
            "special_tokens": {},
            "datasets": list(entries),
            **settings,
        }
    )
    return load_pool(cfg, [f"d{index}" for index in range(len(entries))])


def alpaca(rows: list[Any] = ALPACA, name: str = "a.jsonl") -> dict[str, Any]:
    return {"path": write(name, rows), "type": "alpaca"}


def messages(rows: list[Any], name: str = "g.jsonl") -> dict[str, Any]:
    return {"path": write(name, rows), "type": "chat_template", "field_messages": "messages"}


def tokenised(rows: list[Any], kind: str | None = None) -> dict[str, Any]:
    return {"path": write("pre.jsonl", rows), "ds_type": "json", "type": kind}


@pytest.mark.parametrize("kind", [None, ""])
def test_tokenised_rows_are_mixed_with_others(model: str, kind: str | None) -> None:
    too_long = {name: values * 200 for name, values in TOKENISED.items()}
    entries = [tokenised([TOKENISED] * 7 + [too_long], kind), alpaca(), messages(CHAT)]
    pool = load(model, *entries)
    assert [domain.rows for domain in pool.domains] == [7, 8, 8]
    row = pool.rows_of("d0")[0]
    assert {name: list(row[name]) for name in TOKENISED} == TOKENISED
    assert pool.domains[0].trained.tolist() == [2] * 7
    # The order of the entries decides nothing.
    again = load(model, *reversed(entries))
    assert again.rows_of("d2")[0] == row


@pytest.mark.parametrize("column", ["labels", "attention_mask"])
def test_tokenised_rows_with_columns_of_different_lengths_are_refused(
    model: str, column: str
) -> None:
    short, null = {**TOKENISED, column: [1]}, {**TOKENISED, column: None}
    with expect_error("datasets[1]", "pre.jsonl", "2 of 8 rows", "row 3 with 1 and 4", column):
        load(model, alpaca(), tokenised([TOKENISED] * 3 + [short, null] + [TOKENISED] * 3))


def test_columns_that_are_no_whole_numbers_are_refused(model: str) -> None:
    text = {**TOKENISED, "labels": ["a", "b", "c", "d"]}
    with expect_error("datasets[1]", "labels", "datasets[0]"):
        load(model, alpaca(), tokenised([text] * 4))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"messages": [{"role": "us', "line 5 of g.jsonl is not JSON"),
        ('"text"', "line 5 of g.jsonl is not an object"),
        ("[1]", "line 5 of g.jsonl is not an object"),
    ],
)
def test_the_line_that_cannot_be_read_is_named(model: str, line: str, problem: str) -> None:
    with expect_error("datasets[1]", problem):
        load(model, alpaca(), messages([*CHAT[:4], line, *CHAT[5:]]))


def test_lines_are_found_in_folders_archives_and_lists() -> None:
    write("a.jsonl", [{}, "", "x"])
    Path("a.jsonl.gz").write_bytes(gzip.compress(Path("a.jsonl").read_bytes()))
    assert broken_line("a.jsonl") == broken_line("a.jsonl.gz") == (3, "is not JSON")
    Path("list.json").write_text('[\n{"a": 1},\n{"a": }\n]')
    assert broken_line("list.json") == (3, "is not JSON")
    assert broken_line(write("lists.jsonl", ["[1, 2]", "[3]"])) == (
        1,
        "is not an object but a list",
    )
    for name, text in {
        "good.json": '[\n{"a": 1}\n]',
        "one.json": '{\n"a": 1\n}',
        "x.csv": "x",
    }.items():
        Path(name).write_text(text)
        assert broken_line(name) is None
    Path("deep.json").write_text("[" * 100_000)
    assert broken_line("deep.json") == (1, "is nested more than 64 levels deep")
    Path("no.jsonl").write_bytes(b"\xff\xfe{")
    assert broken_line("no.jsonl") is None


def test_the_cause_beneath_the_error_of_a_reader_is_shown(model: str) -> None:
    Path("b.parquet").write_bytes(b"PAR1 nothing")
    with expect_error("datasets[0]", "b.parquet", "ArrowInvalid"):
        load(model, {"path": "b.parquet", "type": "alpaca"})
    Path("x.jsonl").write_bytes(b'{"messages": "\xff\xfe"}\n')
    with expect_error("datasets[0]", "x.jsonl", "UnicodeDecodeError"):
        load(model, {"path": "x.jsonl", "type": "alpaca"})


def test_an_empty_file_has_no_rows(model: str) -> None:
    for rows in ([], ["", ""]):
        with expect_error("datasets[0]", "g.jsonl", "no rows"):
            load(model, messages(rows))


GEMMA = {"chat_template": "gemma"}


@pytest.mark.parametrize(
    ("row", "settings", "cause"),
    [
        ({"messages": []}, {}, "IndexError"),
        ({"messages": None}, {}, "AttributeError"),
        (chat(("user", "a"), ("user", "b"), ("assistant", "c")), GEMMA, "must alternate"),
        (chat(("system", "a"), ("user", "b"), ("assistant", "c")), GEMMA, "not supported"),
        ({"messages": [{"content": "x"}]}, {}, "role"),
    ],
)
def test_the_conversation_that_cannot_be_tokenised_is_named(
    model: str, row: dict[str, Any], settings: dict[str, Any], cause: str
) -> None:
    with expect_error("datasets[1]", "row 5 of g.jsonl", cause, "chat_template", "messages"):
        load(model, alpaca(), messages([*CHAT[:5], row, *CHAT[6:]]), **settings)


def test_the_row_of_another_type_that_cannot_be_tokenised_is_named(model: str) -> None:
    rows = [{**row, "output": n + 1} for n, row in enumerate(ALPACA)]
    with expect_error(
        "datasets[0]", "row 0 of a.jsonl", "ValueError", "instruction, input, output"
    ):
        load(model, alpaca(rows))


def test_a_missing_or_unknown_type_of_a_folder_is_reported(model: str) -> None:
    write("folder/g.jsonl", CHAT)
    with expect_error("datasets[0].type", "folder", "messages"):
        load(model, {"path": "folder"})
    with expect_error("datasets[0]", "folder", "alpacca"):
        load(model, {"path": "folder", "type": "alpacca"})


def test_a_fault_of_a_test_dataset_is_not_blamed_on_the_first_dataset(model: str) -> None:
    good = {**alpaca(name="t.jsonl"), "split": "train"}
    bad = alpaca([{"instruction": "a", "output": None, "input": 3}], "bad.jsonl")
    no_json = alpaca([*ALPACA[:3], "no"], "no.jsonl")
    Path("x.jsonl.gz").write_bytes(b"nothing")
    no_gzip = {"path": "x.jsonl.gz", "ds_type": "json", "type": "alpaca"}
    first = alpaca()
    with expect_error("test_datasets[1]", "row 0 of bad.jsonl"):
        load(model, first, test_datasets=[good, {**bad, "type": "alpaca_chat.load_qa"}])
    with expect_error("test_datasets[0]", "line 4 of no.jsonl"):
        load(model, first, test_datasets=[no_json, good])
    with expect_error("test_datasets[1]", "x.jsonl.gz", "BadGzipFile"):
        load(model, first, test_datasets=[good, no_gzip])
    with expect_error("datasets[0]", "no.jsonl"):
        load(model, no_json, test_datasets=[good])
    assert len(load(model, first, test_datasets=[good]).held_out["test"]) == 8


def test_each_entry_of_the_test_datasets_keeps_its_own_rows_under_its_own_name(model: str) -> None:
    short = {**alpaca(ALPACA[:3], "short.jsonl"), "split": "train"}
    long = {**alpaca(name="t.v2.jsonl"), "split": "train"}
    tests = load(model, alpaca(), test_datasets=[short, long, short]).held_out
    assert {name: len(rows) for name, rows in tests.items()} == {
        "test_short": 3,
        "test_t": 8,
        "test_short_2": 3,
    }


def test_a_test_set_without_rows_is_refused(model: str) -> None:
    long = alpaca([{"instruction": "x" * 900, "input": "", "output": "5"}], "long.jsonl")
    with expect_error("test_datasets[0]", "long.jsonl", "512"):
        load(model, alpaca(), test_datasets=[{**long, "split": "train"}])


def test_faults_in_worker_processes_are_reported_alike(model: str) -> None:
    rows = [*CHAT[:5], {"messages": []}, *CHAT[6:]]
    with expect_error("datasets[0]", "row 5 of g.jsonl", "IndexError"):
        load(model, messages(rows), dataset_num_proc=2)
    rows[5] = chat(("user", "a"), ("user", "b"))
    with expect_error("datasets[0]", "row 5 of g.jsonl", "must alternate"):
        load(model, messages(rows), dataset_num_proc=2, **GEMMA)


def test_entries_with_the_same_path_have_labels_of_their_own(model: str) -> None:
    for name in ("a", "b", "c"):
        write(f"data/{name}.jsonl", ALPACA)
    one = {"path": "data", "type": "alpaca", "split": "train"}
    pool = load(
        model,
        {**one, "data_files": ["data/a.jsonl", "data/b.jsonl"]},
        {**one, "data_files": ["data/c.jsonl"]},
        {**one, "split": "train[:50%]"},
    )
    labels = [domain.datasets[0] for domain in pool.domains]
    assert len(dict(labels)) == 3
    assert [rows for _, rows in labels] == [16, 8, 12]
    assert "data/c.jsonl" in labels[1][0] and "train[:50%]" in labels[2][0]
