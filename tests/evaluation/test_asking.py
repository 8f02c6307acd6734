"""lm-eval's own tasks are asked as trained too, and its models receive the block's arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.asking import model_arguments
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.scoring.prompts import Template, TrainedPrompts
from tests.mistakes import expect_error
from tests.scripted_lm import ScriptedLM

CHAT = Template(first="<u>{question}<a>", later="<e><u>{question}<a>", stop=("<e>",), trained=True)
PROMPTS = TrainedPrompts(domains={"math": CHAT})
THEIRS = """
task: theirs
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "Q: {{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"]}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    rows = tmp_path / "math.jsonl"
    rows.write_text(json.dumps({"question": "1+1?", "answer": "#### 2"}) + "\n")
    (tmp_path / "theirs.yaml").write_text(THEIRS.replace("FILE", str(rows)))
    return {"data": {"math": str(rows)}, "include_path": str(tmp_path)}


def asked(config: dict[str, Any], prompts: TrainedPrompts | None = PROMPTS) -> list[Any]:
    model = ScriptedLM(lambda _: "#### 2")
    Tasks(EvaluateConfig.model_validate(config), prompts).evaluate(model)
    return model.asked


def test_our_task_is_asked_in_the_format_of_its_domain(config: dict[str, Any]) -> None:
    ((prompt, settings),) = asked({**config, "tasks": ["dmt_math"]})
    assert prompt == "<u>1+1?<a>"
    assert settings["until"] == ["<e>"]


def test_another_task_is_asked_as_trained_if_a_domain_is_named(config: dict[str, Any]) -> None:
    ((prompt, settings),) = asked({**config, "tasks": ["theirs"]})
    assert (prompt, settings["until"]) == ("Q: 1+1?", ["\n"])
    ((prompt, settings),) = asked({**config, "tasks": ["theirs"], "domains": {"theirs": "math"}})
    assert (prompt, settings["until"]) == ("<u>Q: 1+1?<a>", ["\n", "<e>"])


def test_a_named_prompt_and_the_chat_template_come_first(config: dict[str, Any]) -> None:
    ((prompt, _),) = asked({**config, "tasks": ["dmt_math"], "prompt": "plain"})
    assert prompt == "1+1?\n"
    ((prompt, _),) = asked({**config, "tasks": ["dmt_math"], "apply_chat_template": True})
    assert prompt == "user> 1+1?|\nassistant>"


def test_as_trained_needs_the_formats_of_the_training(config: dict[str, Any]) -> None:
    with expect_error("dmt_prompt", "dmt_prompts.json", "plain"):
        asked({**config, "tasks": ["dmt_math"]}, None)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({}, {}),
        ({"enable_thinking": False}, {"enable_thinking": False}),
        ({"chat_template_args": {"effort": "low"}}, {"effort": "low"}),
        (
            {"chat_template_args": {"effort": "low"}, "enable_thinking": True},
            {"effort": "low", "enable_thinking": True},
        ),
    ],
)
def test_reasoning_arguments_reach_lm_evals_model(
    block: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    from lm_eval.models.huggingface import HFLM

    from tests.tiny_model import make_model

    arguments = model_arguments(EvaluateConfig.model_validate({**block, "think_end_token": "</t>"}))
    model = HFLM(pretrained=make_model(tmp_path), device="cpu", **arguments)
    assert model.chat_template_args == expected
    assert model.think_end_token == "</t>"


def test_the_tokenizer_adds_no_special_tokens_that_the_training_lacks() -> None:
    bare = Template(first="{question}", later="{question}", trained=True, special_tokens=False)
    block = EvaluateConfig()
    assert model_arguments(block, [bare]) == {"add_bos_token": False}
    assert model_arguments(block, [bare, CHAT]) == {}
