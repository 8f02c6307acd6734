"""Rows that the collator tokenises: their columns, digests, blank row and held-out rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from axolotl.utils.dict import DictDefault
from datasets import Dataset, Image, List, concatenate_datasets

from axolotl_dmt.training.pool import RowPool, load_pool
from axolotl_dmt.training.raw_rows import (
    BLANK,
    RawRowCollator,
    align_columns,
    blank_row,
    row_digests,
)
from tests.mistakes import expect_error
from tests.tiny_vlm import make_vlm, picture_rows, row, write_rows

NAMES = ["messages", "conversations"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def texts(count: int, word: str = "text") -> list[dict[str, Any]]:
    return [row(f"{word} {number}", "yes") for number in range(count)]


def entry(name: str, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    path = write_rows(Path(f"{name}.jsonl"), rows)
    return {"path": path, "ds_type": "json", "type": "chat_template", **settings}


def load(
    model: str,
    *entries: dict[str, Any],
    val_rows: dict[str, int] | None = None,
    columns: dict[str, list[str]] | None = None,
    **settings: Any,
) -> RowPool:
    """Return the pool of these entries; the first is of domain d0, and so on."""
    cfg = DictDefault(
        {
            "base_model": model,
            "tokenizer_config": model,
            "processor_config": model,
            "tokenizer_type": "AutoTokenizer",
            "processor_type": "AutoProcessor",
            "skip_prepare_dataset": True,
            "remove_unused_columns": False,
            "sequence_len": 512,
            "dataset_prepared_path": "prepared",
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
    domains = [f"d{index}" for index in range(len(entries))]
    return load_pool(cfg, domains, val_rows=val_rows, columns=columns)


def dataset(rows: list[dict[str, Any]]) -> Dataset:
    return Dataset.from_list(rows, on_mixed_types="use_json")


def test_rows_are_planned_by_their_number(model: str) -> None:
    """Rows with images within the messages, beside them, and without any come together."""
    pictures = picture_rows(6, Path("images"))
    beside = [{"images": ["images/0.png"], "id": n, **row(f"b{n}", "red")} for n in range(4)]
    none = [{"images": [], "id": "x", **question} for question in texts(3)]
    pool = load(model, entry("in", pictures), entry("beside", beside), entry("none", none))
    assert [domain.rows for domain in pool.domains] == [6, 4, 3]
    assert [domain.lengths for domain in pool.domains] == [None] * 3
    assert [counts.read for domain in pool.domains for counts in domain.counts] == [6, 4, 3]
    assert len(pool.dataset) == 14
    assert pool.dataset["dmt_blank"][:] == [None] * 13 + [True]
    assert pool.rows_of("d0")[1]["messages"] == pictures[1]["messages"]
    assert pool.rows_of("d2")[2]["messages"] == texts(3)[2]["messages"]


def test_contents_do_not_depend_on_the_other_datasets_or_the_folder(model: str) -> None:
    first = load(model, entry("a", picture_rows(4, Path("images"))), entry("b", texts(4)))
    shutil.copytree("images", "moved")
    moved = picture_rows(4, Path("moved"))
    again = load(model, entry("c", texts(4)), entry("d", moved)).contents()
    assert [*first.contents().values()] == [*again.values()][::-1]
    edited = load(model, entry("e", [*texts(3), row("text 3", "no")])).contents()
    assert edited["d0"] != first.contents()["d1"]


def test_an_image_in_a_row_counts_by_its_content() -> None:
    pictures = picture_rows(2, Path("images"))
    as_paths = [{"images": [f"images/{n}.png"], **texts(1)[0]} for n in range(2)]
    embedded = dataset(as_paths).cast_column("images", List(Image()))
    embedded.to_parquet("embedded.parquet")
    assert len({*row_digests(Dataset.from_parquet("embedded.parquet")).tolist()}) == 2
    assert np.array_equal(row_digests(embedded), row_digests(dataset(as_paths)))
    assert len({*row_digests(dataset(pictures)).tolist()}) == 2


def test_no_held_out_row_has_a_copy_among_the_trained(model: str) -> None:
    pool = load(
        model,
        entry("a", [*texts(6), *texts(6, "other")]),
        entry("b", [*texts(6), *texts(8, "third")]),
        val_rows={"d0": 3, "d1": 2},
    )
    assert {name: len(rows) for name, rows in pool.held_out.items()} == {"d0": 3, "d1": 2}
    trained = np.concatenate([row_digests(pool.rows_of(name)) for name in ("d0", "d1")])
    for rows in pool.held_out.values():
        assert not np.isin(row_digests(rows), trained).any()


def test_only_the_labels_of_blank_rows_are_masked(model: str) -> None:
    from axolotl.processing_strategies import get_processing_strategy
    from axolotl.utils.collators.mm_chat import MultiModalChatDataCollator
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(model)
    strategy = get_processing_strategy(processor, processor.chat_template, None)
    collator = MultiModalChatDataCollator(processor.tokenizer, strategy)
    rows = align_columns({"a": dataset(picture_rows(3, Path("images")))}, NAMES)["a"]
    joined = concatenate_datasets([rows, blank_row(rows)])
    plain = collator([rows[1], rows[2], rows[0]])
    batch = RawRowCollator(collator)([joined[1], joined[2], joined[3]])
    assert batch.keys() == plain.keys()
    for name in ("input_ids", "attention_mask", "pixel_values"):
        assert torch.equal(batch[name], plain[name])
    assert torch.equal(batch["labels"][:2], plain["labels"][:2])
    assert (plain["labels"][2] != -100).any()
    assert (batch["labels"][2] == -100).all()
    assert BLANK not in batch


@pytest.mark.parametrize("empty", [{"messages": []}, {"messages": None}])
def test_rows_without_messages_are_refused(model: str, empty: dict[str, Any]) -> None:
    with expect_error("datasets[1]", "bad.jsonl", "row 2"):
        load(model, entry("good", texts(3)), entry("bad", [*texts(2), empty]))


def test_rows_that_the_chat_template_refuses_are_named(model: str) -> None:
    template = "{{ raise_exception('roles must alternate') }}"
    strict = "{% if messages[0]['role'] != 'user' %}" + template + "{% endif %}"
    answer_first = {"messages": texts(1)[0]["messages"][::-1]}
    settings = {"chat_template": "jinja", "chat_template_jinja": strict}
    with expect_error("datasets[0]", "bad.jsonl", "row 1", "roles must alternate"):
        load(model, entry("bad", [*texts(1), answer_first]), **settings)
    with expect_error("datasets[0]", "odd.jsonl", "row 0", "role"):
        load(model, entry("odd", [{"messages": [{"who": "user", "content": "a"}]}]))


def test_a_processor_that_cannot_be_loaded_is_reported(model: str) -> None:
    with expect_error("processor_type", "AutoProcesor"):
        load(model, entry("a", texts(2)), processor_type="AutoProcesor")


def test_rows_are_selected_by_a_column_of_their_file(model: str) -> None:
    scored = [{"quality": float(n), **question} for n, question in enumerate(texts(4))]
    pool = load(model, entry("a", scored), columns={"d0": ["quality"]})
    assert pool.domains[0].scores["quality"].tolist() == [0, 1, 2, 3]


def test_missing_images_are_refused(model: str) -> None:
    with expect_error("datasets[0]", "row 1", "gone.png"):
        load(model, entry("a", [*texts(1), row("what?", "red", "gone.png")]))
    beside = [{"images": ["gone.jpg"], **question} for question in texts(2)]
    with expect_error("datasets[0]", "row 0", "gone.jpg"):
        load(model, entry("b", beside))


def test_images_in_another_form_are_refused(model: str) -> None:
    picture_rows(1, Path("images"))
    single = [{"image": "images/0.png", **question} for question in texts(2)]
    with expect_error("datasets[0]", "image", "lists"):
        load(model, entry("single", single))
    columns = [[{name: ["images/0.png"], **texts(1)[0]}] for name in ("images", "image")]
    with expect_error("datasets[1]", "image", "datasets[0]"):
        load(model, entry("a", columns[0]), entry("b", columns[1]))


def test_tokenised_rows_and_other_columns_are_refused(model: str) -> None:
    with expect_error("datasets[0]", "text", "field_messages"):
        load(model, entry("other", [{"text": "a"}]))
    with expect_error("datasets[0]", "tokenised"):
        load(model, entry("ids", [{"input_ids": [1], "labels": [1], "attention_mask": [1]}]))
    rows = dataset([{"messages": "hi"}])
    with expect_error("datasets[1]", "messages", "datasets[0]"):
        align_columns({"datasets[0]": dataset(texts(1)), "datasets[1]": rows}, NAMES)


def test_without_a_processor_the_rows_must_be_tokenised(model: str) -> None:
    ids = {"input_ids": [1, 2], "labels": [1, 2], "attention_mask": [1, 1]}
    pool = load(model, entry("ids", [ids] * 3, type=None), processor_type=None)
    assert pool.domains[0].lengths.tolist() == [2] * 3
    with expect_error("datasets[0]", "a.jsonl", "not tokenised"):
        load(model, entry("a", texts(2)), processor_type=None)


def test_a_file_that_is_missing_is_reported_although_rows_are_prepared(model: str) -> None:
    Path("prepared/x").mkdir(parents=True)
    missing = {"path": "gone.jsonl", "ds_type": "json", "type": "chat_template"}
    with expect_error("datasets[0].path", "gone.jsonl"):
        load(model, missing)


def test_older_messages_and_named_columns_are_read(model: str) -> None:
    older = [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]
    named = [{"chat": texts(1)[0]["messages"]}]
    pool = load(model, entry("older", older), entry("named", named, field_messages="chat"))
    assert pool.rows_of("d0")[0]["conversations"] == older[0]["conversations"]
    assert pool.rows_of("d1")[0]["chat"] == named[0]["chat"]
