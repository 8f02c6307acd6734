"""Mistakes in the `dmt:` block: one line each, naming the key, before anything is loaded."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from axolotl_dmt.config.args import DMTConfig, read_config
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.amounts import Amount
from tests.mistakes import assert_mistake


def message(block: Any) -> str:
    with pytest.raises(DMTError) as caught:
        read_config(block)
    return str(caught.value)


def stages(**stage: Any) -> dict[str, Any]:
    return {"stages": [{"name": "one", "mix": {"math": "all"}, **stage}]}


def test_defaults_are_the_papers() -> None:
    config = read_config({"strategy": "dmt"})
    assert config.k == Fraction(1, 256)
    assert config.reset_optimizer
    assert config.evaluate is None


@pytest.mark.parametrize("k", [2, -0.1, "3/2", 1.5])
def test_k_outside_zero_to_one_is_refused(k: Any) -> None:
    assert_mistake(message({"strategy": "dmt", "k": k}), "dmt.k")


@pytest.mark.parametrize("k", ["1/0", "1/256x", "", "a", True, None, [1], float("nan")])
def test_a_malformed_fraction_names_dmt_k(k: Any) -> None:
    assert_mistake(message({"strategy": "dmt", "k": k}), "dmt.k")


@pytest.mark.parametrize("k", [0, 1, "1/256", 0.25, "1"])
def test_fractions_from_zero_to_one_are_accepted(k: Any) -> None:
    assert read_config({"strategy": "dmt", "k": k}).k == Fraction(k)


@pytest.mark.parametrize("amount", ["1/0", "1/256x", {"rows": -1}, {"rows": 1.5}, {"lines": 3}])
def test_a_malformed_amount_names_stage_and_domain(amount: Any) -> None:
    assert message(stages(mix={"math": amount})).startswith("dmt.stages[0].mix.math")


def test_strategy_beside_stages_is_refused() -> None:
    assert_mistake(message({"strategy": "dmt", **stages()}), "dmt.strategy", "stages")


def test_no_schedule_is_refused() -> None:
    assert_mistake(message({"k": "1/4"}), "dmt.strategy")


def test_an_unknown_key_gets_a_suggestion() -> None:
    assert_mistake(message({"strategy": "dmt", "evalute": {}}), "dmt.evalute", "evaluate?")
    said = message(stages(learning_rte=1e-3))
    assert_mistake(said, "dmt.stages[0].learning_rte", "learning_rate?")
    said = message({"strategy": "dmt", "evaluate": {"wen": "end"}})
    assert_mistake(said, "dmt.evaluate.wen", "when?")


def test_all_mistakes_are_reported_at_once() -> None:
    said = message({"strategy": "dmt", "k": 7, "seed": -1, "sed": 3}).splitlines()
    assert [line.split(":")[0] for line in said] == ["dmt.k", "dmt.seed", "dmt.sed"]


def test_two_stages_of_one_name_are_refused() -> None:
    stage = {"name": "one", "mix": {"math": "all"}}
    assert_mistake(message({"stages": [stage, stage]}), "dmt.stages[1].name", "'one'")


@pytest.mark.parametrize("name", ["", "a/b", "../up", " one", None])
def test_a_stage_name_must_be_able_to_name_a_folder(name: Any) -> None:
    assert_mistake(message(stages(name=name)), "dmt.stages[0].name")


@pytest.mark.parametrize("when", ["each_stage", "end", "never", {"every_steps": 10}])
def test_when_takes_words_or_steps(when: Any) -> None:
    config = read_config({"strategy": "dmt", "evaluate": {"when": when}})
    assert config.evaluate is not None


@pytest.mark.parametrize("when", ["sometimes", {"every_steps": 0}, {"steps": 3}, 5])
def test_when_refuses_anything_else(when: Any) -> None:
    said = message({"strategy": "dmt", "evaluate": {"when": when}})
    assert "dmt.evaluate.when" in said.partition(": ")[0]


def test_a_block_that_is_no_mapping_is_refused() -> None:
    assert_mistake(message("dmt"), "dmt", "'dmt'")


def test_a_checked_block_survives_axolotls_second_validation() -> None:
    block = {"strategy": "dmt", "k": "1/16", "evaluate": {"data": {"math": "a.jsonl"}}}
    once = read_config(block)
    again = read_config(once.model_dump(exclude_none=True))
    assert once == again
    assert isinstance(again, DMTConfig)


@pytest.mark.parametrize(
    ("evaluate", "expected"),
    [
        ({"data": {"maths": "a.jsonl"}}, ("data.maths", "dmt_suite")),
        ({"model": "vllm"}, ("model", "vllm", "runner: subprocess")),
        (
            {"model": "local-chat-completions", "runner": "background"},
            ("model_args.base_url", "local-chat-completions", "http://"),
        ),
        ({"when": {"every_steps": 0}}, ("when", "{'every_steps': 0}")),
        ({"when": {"every_steps": 3, "x": 1}}, ("when", "{'every_steps': 3, 'x': 1}")),
    ],
)
def test_settings_of_the_evaluation_that_cannot_hold_are_one_line(
    evaluate: dict[str, Any], expected: tuple[str, ...]
) -> None:
    key, *values = expected
    said = message({"strategy": "dmt", "evaluate": evaluate})
    assert_mistake(said, f"dmt.evaluate.{key}", *values)


def test_data_of_any_name_may_go_to_tasks_of_ones_own() -> None:
    evaluate = {"data": {"law": "law.jsonl"}, "tasks": ["law"], "include_path": "my_tasks"}
    assert read_config({"strategy": "dmt", "evaluate": evaluate}).evaluate is not None


def test_weights_are_numbers_or_fractions() -> None:
    weights = {"math": "1/3", "code": 2, "general": 0.5}
    config = read_config({"stages": [{"name": "a", "weights": weights}]})
    assert config.stages is not None
    said = message({"stages": [{"name": "a", "weights": {"math": "a third"}}]})
    assert_mistake(said, "dmt.stages[0].weights.math", "'a third'")
    exact = {"math": Fraction(1, 3), "code": Fraction(2), "general": Fraction(1, 2)}
    assert config.stages[0].weights == exact


def test_amounts_are_exact_in_the_config_and_plain_in_its_dump() -> None:
    mix = {"math": 0.1, "code": {"tokens": 2e5}, "general": "All", "law": {"share": "2/6"}}
    stage = {"name": "a", "mix": mix}
    weighed = {"name": "b", "weights": {"math": 2, "code": "1/3"}}
    solve = {"levels": [0.25, "1/64"]}
    once = read_config({"stages": [stage, weighed], "k": "2/8", "solve": solve})
    assert once.stages is not None and once.stages[0].mix is not None
    assert once.stages[0].mix["law"] == Amount("share", Fraction(1, 3))
    dumped = json.loads(json.dumps(once.model_dump(exclude_none=True)))
    assert dumped == json.loads(once.model_dump_json(exclude_none=True))
    assert dumped["k"] == "1/4"
    assert dumped["solve"]["levels"] == ["1/64", "1/4"]
    assert [stage.get("mix") or stage["weights"] for stage in dumped["stages"]] == [
        {"math": "1/10", "code": {"tokens": 200000}, "general": "all", "law": {"share": "1/3"}},
        {"math": 2, "code": "1/3"},
    ]
    assert read_config(dumped) == once


def test_k_may_be_auto() -> None:
    config = read_config({"strategy": "dmt", "k": "auto"})
    assert config.k == "auto"
    assert config.model_dump()["k"] == "auto"


def test_a_floor_has_one_measure_and_may_be_one_number() -> None:
    keep = {"math": -0.02, "code": {"loss": 0.1}, "mmlu": {"drop": 0.01, "against": "baseline"}}
    config = read_config({"strategy": "dmt", "keep": keep})
    assert config.keep is not None
    assert [(floor.drop, floor.loss) for floor in config.keep.values()] == [
        (0.02, None),
        (None, 0.1),
        (0.01, None),
    ]
    assert read_config(json.loads(config.model_dump_json())) == config  # as Axolotl does


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"keep": {"math": 0.02}}, "dmt.keep.math", "-0.02"),
        ({"keep": {"math": "much"}}, "dmt.keep.math", "'much'"),
        ({"keep": {"math": float("nan")}}, "dmt.keep.math", "nan"),
        ({"keep": {"math": {}}}, "dmt.keep.math", "drop"),
        ({"keep": {"math": {"drop": 0.1, "loss": 0.1}}}, "dmt.keep.math", "drop"),
        ({"keep": {"math": {"drop": -0.1}}}, "dmt.keep.math.drop", "-0.1"),
        ({"solve": {"levels": [0, "1/4"]}}, "dmt.solve.levels", "above 0"),
        ({"solve": {"lengths": ["1/4", 0.25]}}, "dmt.solve.lengths", "two"),
        ({"solve": {"confidence": 0.5}}, "dmt.solve.confidence", "0.5"),
        ({"auto_k": {"loss": 0.1}}, "dmt.auto_k", "axolotl dmt solve"),
        ({"solved": {"confidence": 0.9, "predictions": []}}, "dmt.solved", "keep"),
    ],
)
def test_a_mistake_in_what_to_keep_is_named(changes: dict[str, Any], key: str, value: str) -> None:
    assert_mistake(message({"strategy": "dmt", **changes}), key, value)
