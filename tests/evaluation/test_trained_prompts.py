"""The format that is read from trained rows asks with the very tokens of the training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.dict import DictDefault
from tokenizers import decoders
from transformers import AutoTokenizer

from axolotl_dmt.evaluation.row_tokens import NoFormatError, RowTokens, TrainedFormat
from axolotl_dmt.evaluation.trained_prompts import trained_format
from axolotl_dmt.scoring.prompts import Template
from tests.tiny_model import CHATML, make_llama_tokenizer, make_tokenizer
from tests.tiny_vlm import make_vlm

pytest.importorskip("axolotl")

QA = [{"question": f"What is {n}+{n}?", "answer": f"It is {2 * n}"} for n in range(3)]
ALPACA = [
    {"instruction": "Write f.", "input": "", "output": "def f(): ..."},
    {"instruction": "Add these numbers.", "input": "1 2", "output": "Three"},
]
CHATS = [
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How are you today?"},
            {"role": "assistant", "content": "Fine."},
            {"role": "user", "content": "And now?"},
            {"role": "assistant", "content": "Good."},
        ]
    }
]
SHAREGPT = [
    {
        "conversations": [
            {"from": "human", "value": "How are you?"},
            {"from": "gpt", "value": "Fine"},
        ]
    }
]
VICUNA = (
    "{{ bos_token }}System.{% for m in messages %}{% if m['role'] == 'user' %} USER: "
    "{{ m['content'] | trim }}{% else %} ASSISTANT: {{ m['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
THINKING = CHATML.replace(
    "<|im_start|>assistant\n{% endif %}",
    "<|im_start|>assistant\n{% if enable_thinking is false %}<think></think>{% endif %}{% endif %}",
)


def custom(text: str) -> dict[str, str]:
    forms = dict.fromkeys(("format", "no_input_format"), text)
    return {"field_instruction": "question", "field_output": "answer", **forms}


def read(
    kind: Any,
    rows: list[dict[str, Any]] | None,
    template: str = CHATML,
    chat_arguments: dict[str, Any] | None = None,
    **cfg: Any,
) -> TrainedFormat:
    entry = {"path": "rows.jsonl", **(kind if "type" in kind else {"type": kind})}
    settings = {"sequence_len": 512, **cfg}
    tokenizer = make_tokenizer(template)
    return trained_format(settings, entry, tokenizer, rows, chat_arguments=chat_arguments)


SHAREGPT_ENTRY = {
    "type": "chat_template",
    "field_messages": "conversations",
    "message_property_mappings": {"role": "from", "content": "value"},
}
CHATML_FIRST = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("kind", "rows", "first"),
    [
        ("axolotl_dmt.chat", QA, CHATML_FIRST),
        ("axolotl_dmt.chat", ALPACA, CHATML_FIRST),
        ("chat_template", CHATS, f"<|im_start|>system\nBe brief.<|im_end|>\n{CHATML_FIRST}"),
        ("chat_template", None, CHATML_FIRST),
        (SHAREGPT_ENTRY, SHAREGPT, CHATML_FIRST),
        (custom("Q: {instruction}\nA: "), QA, "Q: {question}\nA: "),
        (custom("{instruction}"), QA, "{question}"),
        ("alpaca_chat.load_qa", QA, "USER: {question}\nASSISTANT:"),
        ("alpaca", ALPACA, "### Instruction:\n{question}\n\n### Response:\n"),
        ("alpaca:chat", ALPACA, "USER: {question}\nASSISTANT:"),
        ("alpaca", None, "### Instruction:\n{question}\n\n### Response:\n"),
    ],
)
def test_the_prompt_part_of_a_trained_row_becomes_the_format(
    kind: Any, rows: list[dict[str, Any]] | None, first: str
) -> None:
    template = read(kind, rows).template
    assert template.first.endswith(first)
    assert template.trained
    assert not template.strips
    assert template.first.count("{question}") == template.later.count("{question}") == 1


FORMATS: dict[str, tuple[Any, str]] = {
    "chatml": ("axolotl_dmt.chat", CHATML),
    "vicuna": ("axolotl_dmt.chat", VICUNA),
    "custom": (custom("Q: {instruction}\nA: "), CHATML),
    "no space": (custom("USER: {instruction} ASSISTANT:"), CHATML),
    "bare": (custom("{instruction}"), CHATML),
    "alpaca": ("alpaca", CHATML),
}
TOKENIZERS: dict[str, Callable[[str], Any]] = {
    "characters": make_tokenizer,
    "llama": make_llama_tokenizer,
    "older llama": partial(make_llama_tokenizer, legacy=True),
}


@pytest.mark.parametrize("train_on_inputs", [False, True])
@pytest.mark.parametrize("make", TOKENIZERS)
@pytest.mark.parametrize("name", FORMATS)
def test_another_question_is_asked_with_the_tokens_of_its_row(
    name: str, make: str, train_on_inputs: bool
) -> None:
    kind, template = FORMATS[name]
    tokenizer = TOKENIZERS[make](template)
    rows = QA
    if name == "alpaca":
        rows = [{"instruction": row["question"], "output": row["answer"]} for row in QA]
    cfg = {"sequence_len": 512, "train_on_inputs": train_on_inputs}
    entry = {"path": "rows.jsonl", "type": kind}
    found = trained_format(cfg, entry, tokenizer, rows[:2])
    row = RowTokens(cfg, entry, tokenizer)
    question = QA[2]["question"]
    ids, labels = row.tokenise(rows[2])
    start = row.answer_start(ids, labels, question)
    assert asked(found.template, question, tokenizer) == list(ids[:start])
    assert found.exact


def asked(template: Template, question: str, tokenizer: Any) -> list[int]:
    """Return the tokens with which lm-eval's `hf` model asks a question."""
    prompt = template.render(question)
    special = template.special_tokens and not prompt.startswith("<s>")
    return tokenizer(prompt, add_special_tokens=special)["input_ids"]


def test_a_later_turn_has_the_tokens_of_its_row_too() -> None:
    tokenizer = make_llama_tokenizer(CHATML, legacy=True)
    found = trained_format(
        {"sequence_len": 512}, {"path": "r", "type": "chat_template"}, tokenizer, CHATS
    )
    row = RowTokens({"sequence_len": 512}, {"path": "r", "type": "chat_template"}, tokenizer)
    ids, labels = row.tokenise(CHATS[0])
    start = row.answer_start(ids, labels, "And now?")
    prompt = found.template.render("And now?", [("How are you today?", "Fine.")])
    special = found.template.special_tokens
    assert tokenizer(prompt, add_special_tokens=special)["input_ids"] == list(ids[:start])


def test_a_prompt_with_other_tokens_than_its_rows_is_noticed() -> None:
    tokenizer = make_tokenizer(CHATML)
    text = custom("Q: {instruction}\nA: ")
    cfg, entry = {"sequence_len": 512}, {"path": "rows.jsonl", "type": text}
    assert trained_format(cfg, entry, tokenizer, QA).exact
    # A tokenizer that writes a space for a newline, as T5's does: the text cannot be told.
    tokenizer.backend_tokenizer.decoder = decoders.Sequence(
        [decoders.Fuse(), decoders.Replace("\n", " ")]
    )
    assert not trained_format(cfg, entry, tokenizer, QA).exact


def test_a_format_that_strips_questions_is_recognised() -> None:
    found = read("axolotl_dmt.chat", QA, VICUNA)
    assert found.template.strips
    assert found.template.end == "</s>"
    assert found.ends_with_eos
    assert found.template.stop == ("</s>", "\nUSER:")
    assert not read("axolotl_dmt.chat", QA, CHATML).ends_with_eos


def test_a_later_turn_follows_as_in_a_conversation() -> None:
    template = read("chat_template", CHATS).template
    (whole,) = CHATS
    tokenizer = make_tokenizer(CHATML)
    rendered = tokenizer.apply_chat_template(
        whole["messages"][:-1], tokenize=False, add_generation_prompt=True
    )
    assert template.render("And now?", [("How are you today?", "Fine.")]) == rendered


def test_arguments_of_the_chat_template_reach_the_prompt() -> None:
    found = read("axolotl_dmt.chat", QA, THINKING, {"enable_thinking": False}).template
    assert found.first.endswith("<|im_start|>assistant\n<think></think>")
    assert found.later.endswith("<|im_start|>assistant\n<think></think>")


def test_white_space_at_the_end_of_an_answer_is_no_part_of_the_format() -> None:
    rows = [{"question": f"Write f{n}", "answer": f"    return {n}\n"} for n in range(3)]
    found = read("axolotl_dmt.chat", rows).template
    assert found.later == f"<|im_end|>\n{CHATML_FIRST}"
    assert found.end == "<|im_end|>\n"


def test_answers_that_the_tokenizer_does_not_know_leave_the_format_readable() -> None:
    rows = [{"question": f"Write f{n}", "answer": "\u4e00\u4e8c"} for n in range(3)]
    assert read("axolotl_dmt.chat", rows).template.first == CHATML_FIRST


REASONING = [
    {
        "messages": [
            {"role": "user", "content": f"What is {n}+{n}?"},
            {"role": "assistant", "content": f"<think>\nTwice {n}.\n</think>\n\nIt is {2 * n}"},
        ]
    }
    for n in range(3)
]
NO_THOUGHT = "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("kind", "rows", "thinking", "closing"),
    [
        ("axolotl_dmt.chat", QA, None, NO_THOUGHT),
        ("axolotl_dmt.chat", QA, True, "<think>\n\n"),
        ("chat_template", REASONING, None, "<think>\n"),
        ("chat_template", REASONING, False, NO_THOUGHT),
    ],
)
def test_a_thinking_models_rows_and_arguments_decide_how_an_answer_begins(
    kind: str, rows: list[dict[str, Any]], thinking: bool | None, closing: str
) -> None:
    arguments = None if thinking is None else {"enable_thinking": thinking}
    found = read(kind, rows, chat_arguments=arguments, chat_template="qwen3").template
    assert found.first == f"{CHATML_FIRST}{closing}"
    # Earlier answers stand in a conversation without their reasoning.
    assert found.later == f"<|im_end|>\n{CHATML_FIRST}{closing}"
    assert found.end == "<|im_end|>\n"
    assert "<|im_end|>" in found.stop


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("completion", [{"text": "words"}]),
        ("input_output", [{"segments": []}]),
        ("alpaca", [{"input_ids": [1], "labels": [1], "attention_mask": [1]}]),
        ("alpaca", [{"other": "columns"}]),
    ],
)
def test_rows_without_a_question_have_no_format(kind: str, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(NoFormatError):
        read(kind, rows)


def test_a_strategy_of_the_users_own_is_read_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_prompts"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "arrow.py").write_text(
        "from axolotl.prompt_strategies.alpaca_chat import AlpacaQAPromptTokenizingStrategy\n"
        "from axolotl.prompters import AlpacaPrompter\n"
        "class Prompter(AlpacaPrompter):\n"
        "    def build_prompt(self, instruction, input=None, output=None):\n"
        "        yield f'[{instruction}] -> '\n"
        "def load(tokenizer, cfg):\n"
        "    return AlpacaQAPromptTokenizingStrategy(Prompter(), tokenizer, False, 512)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read("my_prompts.arrow", QA).template.first == "[{question}] -> "


def test_rows_that_the_collator_tokenises_are_asked_in_the_chat_template(tmp_path: Path) -> None:
    make_vlm(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    cfg = DictDefault(skip_prepare_dataset=True, processor_type="AutoProcessor", sequence_len=64)
    template = trained_format(cfg, DictDefault(type="chat_template"), tokenizer).template
    assert template.first == "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    assert template.later == f"<|im_end|>\n{template.first}"
    assert template.end == "<|im_end|>\n"
    assert "<|im_end|>" in template.stop
