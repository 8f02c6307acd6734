"""Prompt formats: which one a task is asked in, where an answer ends, and how a run saves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from axolotl_dmt.scoring.prompts import (
    PROMPTS_FILE,
    TEMPLATES,
    Template,
    TrainedPrompts,
    custom_template,
    turn_marks,
)
from axolotl_dmt.scoring.sources import prompt_template
from axolotl_dmt.scoring.thinking import after_thinking
from tests.mistakes import expect_error

CHAT = Template(
    first="<u>{question}<a>", later="<e><u>{question}<a>", stop=("<e>",), end="<e>", trained=True
)
PLAIN = Template(first="{question}", later="\n{question}", trained=True)
RUN = TrainedPrompts(
    domains={"math": CHAT, "math_hard_words": PLAIN, "general": CHAT},
    unknown={"web": "raw text"},
    tasks={"ifeval": "general", "dmt_code": "math"},
)


@pytest.mark.parametrize(
    ("task", "groups", "domain"),
    [
        ("dmt_math", (), "math"),
        ("dmt_math_cot", (), "math"),
        ("dmt_general_mtbench", (), "general"),
        ("dmt_code", (), "math"),
        ("ifeval", (), "general"),
        ("math", (), "math"),
        ("math_word_problems", (), None),  # of lm-eval: only its whole name counts
        ("mmlu_anatomy", ("mmlu",), None),
        ("gsm8k", ("general",), "general"),
    ],
)
def test_the_domain_of_a_task(task: str, groups: tuple[str, ...], domain: str | None) -> None:
    assert RUN.domain_of(task, *groups) == domain


def test_a_task_without_a_domain_needs_one_only_if_the_formats_differ() -> None:
    one = TrainedPrompts(domains={"a": CHAT, "b": CHAT})
    assert one.of("dmt_math") == CHAT
    with expect_error("dmt.evaluate.domains", "dmt_math", "a, b"):
        TrainedPrompts(domains={"a": CHAT, "b": PLAIN}).of("dmt_math")
    with expect_error("dmt.evaluate.prompt", "web", "raw text"):
        RUN.with_tasks({"dmt_math": "web"}).of("dmt_math")
    with expect_error("dmt.evaluate.domains.dmt_math", "'chat'"):
        RUN.with_tasks({"dmt_math": "chat"}).of("dmt_math")


def test_a_saved_run_is_read_again_wherever_a_setting_names_it(tmp_path: Path) -> None:
    RUN.save(tmp_path)
    assert TrainedPrompts.load(tmp_path) == RUN
    generation: dict[str, object] = {}
    for settings in (
        {"pretrained": str(tmp_path)},
        {"pretrained": "org/base", "peft": str(tmp_path)},
        {"dmt_prompt": str(tmp_path)},
        {"dmt_prompt": str(tmp_path / PROMPTS_FILE)},
        {"dmt_prompt": RUN.to_json()},
        {"dmt_prompt": (tmp_path / PROMPTS_FILE).read_text()},
    ):
        assert prompt_template(settings, "dmt_math", generation) == CHAT, settings
        assert generation["until"] == ["<e>"]


def test_a_model_without_formats_is_asked_in_plain_unless_told_otherwise(tmp_path: Path) -> None:
    assert prompt_template({"pretrained": str(tmp_path)}, "dmt_math") == TEMPLATES["plain"]
    with expect_error("dmt_prompt", PROMPTS_FILE):
        prompt_template({"pretrained": str(tmp_path), "dmt_prompt": "as_trained"}, "dmt_math")


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("{question}\n", ()),
        ("Q: {question}\nA:", ("\nQ:",)),
        ("USER: {question} ASSISTANT: ", ("\nUSER:",)),
        (TEMPLATES["alpaca"].first, ("\n### Instruction:",)),
        (TEMPLATES["vicuna"].first, ("\nUSER:",)),
        ("Please answer {question}", ()),
    ],
)
def test_an_answer_ends_at_the_mark_of_its_own_format(text: str, marks: tuple[str, ...]) -> None:
    assert turn_marks(text) == marks


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_format_ends_answers_at_the_marks_of_others(name: str) -> None:
    program = 'print("USER: no")  # <s>old</s>\n\nQuestion: what?\n<|im_end|>'
    kept = [stop for stop in TEMPLATES[name].stop if stop in program]
    assert kept == (["</s>"] if name == "vicuna" else [])


def test_a_conversation_is_rendered_as_it_is_trained() -> None:
    assert CHAT.render("2?", [("1?", " one ")]) == "<u>1?<a>one<e><u>2?<a>"
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "2?"},
    ]
    assert CHAT.render_messages(messages) == "<u>Be brief.\n\n1?<a>one<e><u>2?<a>"
    started = [*messages, {"role": "assistant", "content": "tw"}]
    assert CHAT.render_messages(started, add_generation_prompt=False).endswith("<u>2?<a>tw")


def test_only_a_format_that_strips_questions_strips_them() -> None:
    assert CHAT.render("def f():\n") == "<u>def f():\n<a>"
    stripping = Template(first="<u>{question}<a>", later="", trained=True, strips=True)
    assert stripping.render("def f():\n") == "<u>def f():<a>"
    assert custom_template("{question}\n").render("def f():\n") == "def f():\n"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>2 or 3?</think>\n\n#### 2", "#### 2"),
        ("\n<think>\n\n</think>\n\nYes", "Yes"),
        ("<think>still 5", ""),
        ("so 5</think>It is 6", "It is 6"),
        ("#### 2", "#### 2"),
        ("Write <think>x</think> first", "Write <think>x</think> first"),
    ],
)
def test_reasoning_is_removed_and_endless_reasoning_is_no_answer(text: str, answer: str) -> None:
    assert after_thinking(text) == answer
