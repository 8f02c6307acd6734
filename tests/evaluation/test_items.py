"""The items of an evaluation, read from what lm-eval really returns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.items import answer_of, read_items
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.results.items import Item
from tests.scripted_lm import ScriptedLM

ROWS = [
    {"question": "What is 1+1?", "answer": "#### 2"},
    {"question": "What is 2+3?", "answer": "#### 5"},
    {"question": "What is 2+3?", "answer": "#### 5"},
]


class CountingLM(ScriptedLM):
    """A scripted model with a tokenizer: one token a character."""

    max_gen_toks = 256

    def tok_encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [0] * add_special_tokens + list(map(ord, text))


def scored(folder: Path, rows: Sequence[dict[str, str]] = ROWS, **settings: Any) -> list[Item]:
    file = folder / "math.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    block: dict[str, Any] = {"tasks": ["dmt_math"], "data": {"math": str(file)}, "prompt": "plain"}
    config = EvaluateConfig(**block | {"max_new_tokens": 20} | settings)
    model = CountingLM(lambda prompt: "The answer is 2" if "1+1" in prompt else "4" * 20)
    output = Tasks(config).evaluate(model)
    assert output is not None
    return list(read_items(output, model, config))


def test_each_item_has_its_verdict_answer_and_length(tmp_path: Path) -> None:
    first, second, third = scored(tmp_path)
    assert (first.ability, first.task, first.doc, first.fewshot) == ("math", "dmt_math", 0, 0)
    assert (first.score, first.passed, second.passed) == (1.0, True, False)
    assert first.metrics == {"dmt_score": 1.0, "strict_match": 0.0}
    assert first.answer == "The answer is 2"
    assert first.prompt is not None and "What is 1+1?" in first.prompt
    assert (first.tokens, first.cut_off) == (15, False)
    assert (second.tokens, second.cut_off) == (20, True)
    assert third.item == f"{second.item}#2"
    assert first.item.endswith("@1.0")


def test_the_key_of_an_item_is_that_of_its_row_and_the_digest_that_of_its_prompt(
    tmp_path: Path,
) -> None:
    plain = scored(tmp_path)
    vicuna = scored(tmp_path, [ROWS[1], ROWS[0]], prompt="vicuna")
    assert plain[0].item == vicuna[1].item
    assert plain[1].item == vicuna[0].item
    assert plain[0].prompt_digest != vicuna[1].prompt_digest
    other_answer = scored(tmp_path, [{**ROWS[0], "answer": "#### 3"}])
    assert other_answer[0].item != plain[0].item


@pytest.mark.parametrize(("setting", "count"), [("scores", 3), ("none", 0)])
def test_texts_or_the_whole_ledger_can_be_left_out(
    tmp_path: Path, setting: str, count: int
) -> None:
    items = scored(tmp_path, items=setting)
    assert len(items) == count
    for item in items:
        assert item.prompt is item.answer is item.target is None
        assert item.tokens is not None and item.prompt_digest is not None


def test_the_answer_of_a_multiple_choice_is_the_likeliest_continuation() -> None:
    sample = {
        "arguments": [("Sky?", " green"), ("Sky?", " blue"), ("Sky?", " red")],
        "resps": [[(-7.0, False)], [(-2.0, True)], [(-9.0, False)]],
    }
    assert answer_of(sample) == " blue"


def test_only_the_filter_of_the_score_is_read_and_a_group_is_the_ability() -> None:
    def sample(filter_name: str, value: float) -> dict[str, Any]:
        return {
            "doc_id": 0,
            "doc_hash": "d",
            "target": "2",
            "arguments": [("1+1?", {"until": ["\n"], "max_gen_toks": 8})],
            "resps": [["2"]],
            "filter": filter_name,
            "metrics": ["exact_match", "words"],
            "exact_match": value,
            "words": (3.0, 4),
        }

    row = {"exact_match,strict": 1.0, "exact_match,flexible": 0.0}
    output = {
        "results": {"group": {"exact_match,flexible": 0.0}, "gsm8k": row},
        "group_subtasks": {"group": ["gsm8k"]},
        "versions": {"gsm8k": 3.0},
        "n-shot": {"gsm8k": 5},
        "configs": {"gsm8k": {}},
        "samples": {"gsm8k": [sample("strict", 1.0), sample("flexible", 0.0)]},
    }
    (item,) = read_items(output, object(), EvaluateConfig())
    assert (item.ability, item.task, item.score, item.fewshot) == ("group", "gsm8k", 0.0, 5)
    assert item.metrics == {"exact_match": 0.0}
    assert (item.tokens, item.suite) == (None, None)


def test_an_output_of_an_unknown_form_costs_the_items_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = {"results": {"a": {"acc,none": 1.0}}, "samples": {"a": [{"filter": "none"}]}}
    assert read_items(output, object(), EvaluateConfig()) == ()
    assert "the items are not recorded" in caplog.text
