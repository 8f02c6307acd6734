"""`check` and `plan` show the prompts of a run, and warn where they do not fit together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from axolotl.utils.dict import DictDefault

from axolotl_dmt.checks.prompts import (
    RunPrompts,
    check_asked,
    prompt_lines,
    prompt_warnings,
    read_prompts,
)
from axolotl_dmt.config.args import EvaluateConfig, read_config
from tests.mistakes import expect_error
from tests.tiny_model import make_llama_tokenizer, make_tokenizer

ROOT = Path(__file__).parents[2]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QA = {"question": "What is 1+1?", "answer": "It is 2"}
CODE = {"question": "Write f", "answer": "def f():\n    print('</s>')"}


def run(
    tmp_path: Path, types: dict[str, Any], config: EvaluateConfig | None, **rows: Any
) -> RunPrompts:
    entries = []
    for domain, kind in types.items():
        file = tmp_path / f"{domain}.jsonl"
        file.write_text(json.dumps(rows.get(domain, QA)) + "\n")
        entries.append({"path": str(file), "type": kind})
    cfg = {"datasets": entries, "sequence_len": 128}
    return read_prompts(cfg, list(types), make_tokenizer(CHATML), config)


PLAIN = {
    "field_instruction": "question",
    "field_output": "answer",
    "format": "{instruction}\n",
    "no_input_format": "{instruction}\n",
}
ONE = {"math": "axolotl_dmt.chat", "code": "axolotl_dmt.chat"}
MIXED = {"math": "axolotl_dmt.chat", "code": PLAIN}


def evaluate(**block: Any) -> EvaluateConfig:
    return EvaluateConfig.model_validate({"tasks": ["dmt_math", "dmt_code"], **block})


def test_one_format_asked_as_trained_is_shown_without_a_warning(tmp_path: Path) -> None:
    made = run(tmp_path, ONE, config := evaluate())
    assert list(prompt_warnings(made, config)) == []
    lines = list(prompt_lines(made, config))
    assert any(line.startswith("a row of math") for line in lines)
    asked = lines[next(i for i, line in enumerate(lines) if line.startswith("dmt_code is asked")) :]
    assert any(line.endswith("<|im_start|>assistant\\n") for line in asked)
    assert all(len(line) < 120 for line in lines)


def test_each_ability_shows_a_question_of_its_own(tmp_path: Path) -> None:
    """The first of its file, else one in the form of its public data set."""
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"question": "How many eggs?", "answer": "#### 3"}) + "\n")
    tasks = ["dmt_suite", "dmt_math_hard", "dmt_code_mbpp", "dmt_general_mtbench"]
    config = EvaluateConfig.model_validate({"tasks": tasks, "data": {"math": str(questions)}})
    lines = list(prompt_lines(run(tmp_path, {"math": "axolotl_dmt.chat"}, config), config))
    titles = [index for index, line in enumerate(lines) if " is asked" in line]
    assert len(titles) == 6
    shown = {"\n".join(lines[index + 1 : index + 4]) for index in titles}
    assert len(shown) == 6
    assert any("How many eggs?" in text for text in shown)
    assert ["sample" in lines[index] for index in titles] == [False, *[True] * 5]


def test_a_newline_may_end_the_questions_or_follow_them(tmp_path: Path) -> None:
    """A format with a newline after questions without one, beside the opposite, is the same."""
    bare = {**PLAIN, "format": "{instruction}", "no_input_format": "{instruction}"}
    ended = {"question": "def f():\n", "answer": "    return 1"}
    types = {"math": PLAIN, "code": bare}
    for prompt in ("as_trained", "plain"):
        config = evaluate(prompt=prompt)
        made = run(tmp_path, types, config, code=ended)
        assert list(prompt_warnings(made, config)) == []
    assert len(list(prompt_warnings(run(tmp_path, types, config), config))) == 2


SHIPPED = {
    json.dumps(content["datasets"]): (path.name, content)
    for path in sorted((ROOT / "yaml_templates").rglob("*.yaml"))
    if "datasets" in (content := yaml.safe_load(path.read_text()))
}
"""One template for each list of datasets."""


@pytest.mark.parametrize("name", [name for name, _ in SHIPPED.values()])
def test_no_template_is_warned_of(name: str) -> None:
    raw = dict(SHIPPED.values())[name]
    config = read_config(raw["dmt"]).evaluate
    cfg = DictDefault({"sequence_len": 512, **{k: raw[k] for k in raw if k != "dmt"}})
    tokenizer = make_llama_tokenizer(CHATML)
    if end := (raw.get("special_tokens") or {}).get("eos_token"):
        tokenizer.eos_token = end
    domains = [entry["domain"] for entry in raw["datasets"]]
    made = read_prompts(cfg, domains, tokenizer, config, read_rows=toy_rows)
    check_asked(config, made.prompts)
    assert list(prompt_warnings(made, config)) == []


def toy_rows(entry: Any) -> list[dict[str, Any]] | None:
    """Return the rows of the toy data, whose programs end their first line."""
    code = [{"prompt": "def f(x):\n", "completion": "    return x\n"}]
    return code if entry["path"].endswith("data/code.jsonl") else None


def test_different_formats_are_a_warning(tmp_path: Path) -> None:
    made = run(tmp_path, MIXED, config := evaluate())
    (warning,) = prompt_warnings(made, config)
    assert "math" in warning
    assert "code" in warning


def test_a_prompt_that_is_none_of_the_trained_is_a_warning(tmp_path: Path) -> None:
    made = run(tmp_path, ONE, config := evaluate(prompt="alpaca"))
    warnings = list(prompt_warnings(made, config))
    assert [warning.split(" ")[0] for warning in warnings] == ["dmt_math", "dmt_code"]
    plain = run(tmp_path, {"math": PLAIN, "code": PLAIN}, config := evaluate(prompt="plain"))
    assert list(prompt_warnings(plain, config)) == []


def test_a_stop_string_within_answers_is_a_warning(tmp_path: Path) -> None:
    made = run(tmp_path, ONE, config := evaluate(), code=CODE)
    (warning,) = prompt_warnings(made, config)
    assert "dmt_code" in warning
    assert "1 of 1" in warning


def test_a_task_without_a_domain_is_a_mistake_if_the_formats_differ(tmp_path: Path) -> None:
    types = {"sums": "axolotl_dmt.chat", "programs": PLAIN}
    with expect_error("dmt.evaluate.domains", "dmt_math", "sums, programs"):
        check_asked(evaluate(), run(tmp_path, types, None).prompts)
    named = evaluate(domains={"dmt_math": "sums", "code": "programs"})
    check_asked(named, run(tmp_path, types, named).prompts)
    with expect_error("dmt.evaluate.domains", "'chat'", "math, code"):
        wrong = evaluate(domains={"dmt_math": "chat"})
        check_asked(wrong, run(tmp_path, ONE, wrong).prompts)


def test_raw_text_has_no_prompt_but_another_may_be_named(tmp_path: Path) -> None:
    made = run(tmp_path, {"math": "completion"}, None, math={"text": "words"})
    with expect_error("dmt.evaluate.prompt", "dmt_math", "completion"):
        check_asked(evaluate(), made.prompts)
    check_asked(evaluate(prompt="plain"), made.prompts)
