"""From the block to stages: strategies, explicit stages, defaults, unknown names."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.resolve import StageDefaults, resolve_stages
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.amounts import Amount
from axolotl_dmt.plan.inputs import Stage
from axolotl_dmt.strategies import Setting, StageMixes, Strategy
from tests.mistakes import assert_mistake

DEFAULTS = StageDefaults(
    epochs=3.0,
    learning_rate=2e-5,
    lr_scheduler="cosine",
    warmup_steps=None,
    warmup_ratio=0.03,
    weight_decay=0.1,
)
DOMAINS = ("math", "code", "general")


def resolve(block: dict[str, Any], domains: tuple[str, ...] = DOMAINS) -> tuple[Stage, ...]:
    return resolve_stages(read_config(block), domains, DEFAULTS)


def refusal(block: dict[str, Any], domains: tuple[str, ...] = DOMAINS) -> str:
    with pytest.raises(DMTError) as caught:
        resolve(block, domains)
    return str(caught.value)


def test_dmt_is_specialised_data_then_general_data_with_replay() -> None:
    first, second = resolve({"strategy": "dmt", "k": "1/16"})
    assert (first.name, dict(first.mix)) == (
        "specialise",
        {"math": Amount("all"), "code": Amount("all")},
    )
    replay = Amount("fraction", Fraction(1, 16))
    assert (second.name, dict(second.mix)) == (
        "generalise",
        {"general": Amount("all"), "math": replay, "code": replay},
    )


def test_stages_take_axolotls_settings_as_defaults() -> None:
    for stage in resolve({"strategy": "dmt"}):
        assert stage.epochs == 3.0
        assert stage.learning_rate == 2e-5
        assert stage.lr_scheduler == "cosine"
        assert stage.warmup_ratio == 0.03
        assert stage.weight_decay == 0.1
        assert stage.reset_optimizer


def test_overrides_change_one_stage_of_a_strategy() -> None:
    first, second = resolve(
        {"strategy": "dmt", "overrides": {"generalise": {"learning_rate": 1e-5, "epochs": 1}}}
    )
    assert (first.learning_rate, first.epochs) == (2e-5, 3.0)
    assert (second.learning_rate, second.epochs) == (1e-5, 1)


def test_a_stage_may_freeze_start_an_adapter_and_train_on_inputs() -> None:
    plain, special = resolve(
        {
            "strategy": "dmt",
            "reset_optimizer": False,
            "overrides": {
                "specialise": {"train_on_inputs": False},
                "generalise": {"train_on_inputs": True, "freeze": ["embed"], "adapter": "new"},
            },
        }
    )
    # the same value as Axolotl's own key changes nothing
    assert (plain.train_on_inputs, plain.freeze, plain.new_adapter) == (None, (), None)
    assert (special.train_on_inputs, special.freeze, special.new_adapter) == (
        True,
        ("embed",),
        True,
    )
    # the moments of an earlier adapter are of no use to a fresh one
    assert (plain.reset_optimizer, special.reset_optimizer) == (False, True)


def test_a_stages_own_warmup_replaces_both_of_axolotls() -> None:
    (stage,) = resolve({"stages": [{"name": "a", "mix": {"math": "all"}, "warmup_steps": 0}]})
    assert (stage.warmup_steps, stage.warmup_ratio) == (0, None)


def test_weights_become_weight_amounts() -> None:
    (stage,) = resolve(
        {"stages": [{"name": "a", "weights": {"math": 1, "code": 3}, "temperature": 2}]}
    )
    assert stage.mix["code"] == Amount("weight", Fraction(3))
    assert stage.temperature == 2


def test_a_domain_of_any_name_can_be_the_general_one() -> None:
    _, second = resolve({"strategy": "dmt", "general": "chat"}, ("math", "chat"))
    assert list(second.mix) == ["chat", "math"]


def test_an_unknown_strategy_lists_the_known_ones() -> None:
    names = "dmt, mixed_sequential, multi_task, sequential, single"
    assert_mistake(refusal({"strategy": "dtm"}), "dmt.strategy", "'dtm'", names)


def test_an_unknown_domain_in_a_mix_gets_a_suggestion() -> None:
    block = {"stages": [{"name": "a", "mix": {"maths": "all"}}]}
    assert_mistake(refusal(block), "dmt.stages[0].mix.maths", "math?", "math, code, general")


def test_dmt_without_a_general_domain_says_which_are_known() -> None:
    said = refusal({"strategy": "dmt"}, ("math", "code"))
    assert_mistake(said, "dmt.general", "'general'", "math, code")


def test_dmt_with_an_empty_list_of_general_domains_is_refused() -> None:
    said = refusal({"strategy": "dmt", "general": []})
    assert_mistake(said, "dmt.general", "math, code, general")


def test_dmt_with_general_data_alone_is_refused() -> None:
    assert_mistake(refusal({"strategy": "dmt"}, ("general",)), "dmt.strategy")


def test_an_override_of_no_stage_lists_the_stages() -> None:
    said = refusal({"strategy": "dmt", "overrides": {"generalize": {"epochs": 1}}})
    assert_mistake(said, "dmt.overrides.generalize", "specialise, generalise")


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            {"strategy": "mixed_sequential"},
            [("specialise", ["math", "code"]), ("generalise", ["general"])],
        ),
        ({"strategy": "multi_task"}, [("multi_task", ["math", "code", "general"])]),
        (
            {"strategy": "sequential"},
            [("code", ["code"]), ("math", ["math"]), ("general", ["general"])],
        ),
        (
            {"strategy": "sequential", "sequence": ["general", "math"]},
            [("general", ["general"]), ("math", ["math"])],
        ),
        ({"strategy": "single", "domain": "code"}, [("code", ["code"])]),
    ],
)
def test_the_papers_strategies(block: dict[str, Any], expected: list[Any]) -> None:
    stages = resolve(block)
    assert [(stage.name, list(stage.mix)) for stage in stages] == expected
    assert {amount for stage in stages for amount in stage.mix.values()} == {Amount("all")}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"strategy": "sequential", "sequence": ["maths"]}, ("dmt.sequence", "'maths'")),
        ({"strategy": "sequential", "sequence": ["math", "math"]}, ("dmt.sequence",)),
        ({"strategy": "single"}, ("dmt.domain",)),
        ({"strategy": "single", "domain": "maths"}, ("dmt.domain", "'maths'")),
        ({"strategy": "dmt", "order": "shufle"}, ("dmt.order", "'shufle'", "specialise")),
        ({"strategy": "dmt", "select": "hardest"}, ("dmt.select", "'hardest'", "specialise")),
        ({"strategy": "dmt", "select": {"maths": "first"}}, ("dmt.select.maths", "math, code")),
    ],
)
def test_names_that_nobody_knows_are_refused(
    block: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert_mistake(refusal(block), *expected)


def test_auto_is_no_value_of_k_for_a_strategy_that_replays() -> None:
    assert_mistake(refusal({"strategy": "dmt", "k": "auto"}), "dmt.k", "auto", "axolotl dmt solve")
    assert len(resolve({"strategy": "multi_task", "k": "auto"})) == 1


def test_a_strategys_amounts_are_read_once_in_every_form_a_user_may_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stages(setting: Setting) -> StageMixes:
        assert setting.k == Fraction(1, 4)
        return [("a", {"math": setting.k, "code": {"rows": 5}, "general": mix_of_general})]

    mix_of_general: object = "1/8"
    strategy = Strategy(name="mine", summary="", stages=stages)
    monkeypatch.setattr(
        "axolotl_dmt.config.resolve.registered_strategies", lambda: {"mine": strategy}
    )
    block = {"strategy": "mine", "k": 0.25}
    (stage,) = resolve(block)
    assert {name: str(amount) for name, amount in stage.mix.items()} == {
        "math": "1/4",
        "code": "5 rows",
        "general": "1/8",
    }
    mix_of_general = "an eighth"
    assert_mistake(refusal(block), "dmt.strategy mine", "stage a.general", "'an eighth'")
