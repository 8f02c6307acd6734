"""What needs tokens or labels is refused where rows are tokenised only during training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.checks.schedule import check_schedule
from tests.mistakes import assert_mistake, assert_mistakes, expect_error
from tests.tiny_vlm import row, write_rows

STAGES = [
    {"name": "first", "mix": {"math": "all"}},
    {"name": "second", "mix": {"math": {"rows": 4}, "general": "all"}},
]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "base_model": "some/model",
        "processor_type": "AutoProcessor",
        "skip_prepare_dataset": True,
        "datasets": [
            {"path": f"org/{name}", "type": "chat_template", "domain": name}
            for name in ("math", "general")
        ],
        "dmt": {"strategy": "dmt", "k": "1/16"},
        "learning_rate": 2e-5,
        "optimizer": "adamw_torch",
        **changes,
    }


def refusals(cfg: dict[str, Any]) -> list[str]:
    return [str(error) for error in check_schedule(cfg)[1]]


def with_stage(**changes: Any) -> dict[str, Any]:
    return {"dmt": {"stages": [STAGES[0], {**STAGES[1], **changes}]}}


def with_entry(**changes: Any) -> dict[str, Any]:
    datasets = settings()["datasets"]
    return {"datasets": [datasets[0], {**datasets[1], **changes}]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sample_packing": False, "eval_sample_packing": False, "remove_unused_columns": False},
        with_stage(),
        with_stage(mix={"math": {"share": "1/8"}, "general": "all"}),
        with_stage(order="round_robin", select={"math": "score:quality"}),
        {"dmt": {"strategy": "dmt", "replay": {"share": 0.1}}},
        {"val_set_size": 0.1},
        with_entry(type=None),
    ],
)
def test_what_counts_rows_is_accepted(changes: dict[str, Any]) -> None:
    assert refusals(settings(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"sample_packing": True}, "sample_packing", "false"),
        ({"eval_sample_packing": True}, "eval_sample_packing", "false"),
        ({"remove_unused_columns": True}, "remove_unused_columns", "false"),
        ({"group_by_length": True}, "group_by_length", "lengths"),
        (with_stage(order="length_grouped"), "dmt.stages[1].order", "lengths"),
        (
            with_stage(mix={"math": {"tokens": 400}, "general": "all"}),
            "dmt.stages[1].mix.math",
            "tokens",
        ),
        (
            with_stage(mix={"math": {"token_share": 0.1}, "general": "all"}),
            "dmt.stages[1].mix.math",
            "token_share",
        ),
        (with_stage(select="longest"), "dmt.stages[1].select", "longest"),
        (with_stage(select={"math": "shortest"}), "dmt.stages[1].select", "shortest"),
        (with_stage(train_on_inputs=True), "train_on_inputs (stage second)", "processor"),
        (with_entry(type={"field_instruction": "a"}), "datasets[1].type", "chat_template"),
        (with_entry(roles_to_train=["user"]), "datasets[1].roles_to_train", "datasets[0]"),
    ],
)
def test_what_needs_tokens_is_refused_in_one_line(
    changes: dict[str, Any], key: str, value: str
) -> None:
    (line,) = refusals(settings(**changes))
    assert_mistake(line, key, value)


def test_replay_by_loss_is_refused() -> None:
    replay = {"select": "hardest", "losses": "losses.npz"}
    lines = refusals(settings(dmt={"strategy": "dmt", "k": "1/4", "replay": replay}))
    assert_mistake(lines[0], "dmt.replay.select", "loss:hardest", "labels")


def test_the_columns_of_local_files_are_checked() -> None:
    Path("config.json").write_text("{}")  # of the model
    write_rows(Path("chat.jsonl"), [{"chat": row("a", "b")["messages"]}])
    write_rows(Path("odd.jsonl"), [{"messages": [{"who": "user", "what": "a"}]}])
    entries = [
        {"path": "chat.jsonl", "type": "chat_template", "domain": "math"},
        {"path": "odd.jsonl", "type": "chat_template", "domain": "general"},
    ]
    problems = refusals(settings(base_model=".", datasets=entries))
    assert_mistakes(
        problems,
        ("datasets[0]", "chat.jsonl", "messages", "conversations", "field_messages"),
        ("datasets[1]", "odd.jsonl", "role", "who"),
    )
    named = [{**entries[0], "field_messages": "chat"}]
    assert (
        refusals(
            settings(base_model=".", datasets=named, dmt={"strategy": "single", "domain": "math"})
        )
        == []
    )


def test_without_a_processor_a_file_of_texts_is_refused() -> None:
    Path("config.json").write_text("{}")  # of the model
    write_rows(Path("math.jsonl"), [row("a", "b")])
    entry = {"path": "math.jsonl", "type": "chat_template", "domain": "math"}
    made = settings(base_model=".", datasets=[entry], dmt={"strategy": "single", "domain": "math"})
    (line,) = refusals({**made, "processor_type": None})
    assert_mistake(line, "datasets[0]", "math.jsonl", "processor_type")


def test_a_command_that_needs_tokens_names_the_key() -> None:
    from axolotl_dmt.checks.collated_rows import need_tokens

    need_tokens(settings(skip_prepare_dataset=False), "row-losses")
    with expect_error("skip_prepare_dataset", "row-losses"):
        need_tokens(settings(), "row-losses")
