"""Strategies, orders, selectors and units of other packages are used like the built-in ones."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from axolotl_dmt import hookimpl
from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.resolve import resolve_stages
from axolotl_dmt.hooks.calls import (
    hook_manager,
    registered_amounts,
    registered_orders,
    registered_selectors,
    registered_strategies,
)
from axolotl_dmt.plan import compile_plan
from axolotl_dmt.plan.amounts import Amount, parse_amount
from axolotl_dmt.plan.inputs import Domain, Stage
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.strategies import Strategy
from tests.config.test_resolve import DEFAULTS
from tests.mistakes import expect_error


def offering(*strategies: Strategy) -> SimpleNamespace:
    @hookimpl
    def register_strategies() -> list[Strategy]:
        return list(strategies)

    return SimpleNamespace(register_strategies=register_strategies)


BACKWARDS = Strategy(
    name="backwards",
    summary="general data first",
    stages=lambda setting: [
        ("general", dict.fromkeys(setting.general, "all")),
        ("special", dict.fromkeys(setting.specialised, "all")),
    ],
)


def test_a_plugins_strategy_can_be_used_by_name() -> None:
    plugin = offering(BACKWARDS)
    hook_manager().register(plugin)
    try:
        assert "backwards" in registered_strategies()
        config = read_config({"strategy": "backwards"})
        stages = resolve_stages(config, ("math", "general"), DEFAULTS)
        assert [(stage.name, list(stage.mix)) for stage in stages] == [
            ("general", ["general"]),
            ("special", ["math"]),
        ]
    finally:
        hook_manager().unregister(plugin)
    assert "backwards" not in registered_strategies()


def test_two_strategies_of_one_name_are_refused() -> None:
    plugin = offering(Strategy(name="dmt", summary="another", stages=lambda setting: []))
    hook_manager().register(plugin)
    try:
        with expect_error("dmt.strategy", "'dmt'"):
            registered_strategies()
    finally:
        hook_manager().unregister(plugin)


def test_a_plugins_order_and_selector_can_be_used_by_name() -> None:
    @hookimpl
    def register_orders() -> dict[str, Any]:
        return {"backwards": lambda epoch: epoch.rows[::-1]}

    @hookimpl
    def register_selectors() -> dict[str, Any]:
        return {"last": lambda domain, key: np.arange(domain.rows)[::-1]}

    block = {
        "stages": [{"name": "a", "mix": {"math": {"rows": 3}}, "order": "backwards"}],
        "select": "last",
    }
    with expect_error("dmt.stages[0].order", "'backwards'"):
        resolve_stages(read_config(block), ("math",), DEFAULTS)
    plugin = SimpleNamespace(register_orders=register_orders, register_selectors=register_selectors)
    hook_manager().register(plugin)
    try:
        plan = compile_plan(
            stages=resolve_stages(read_config(block), ("math",), replace(DEFAULTS, epochs=1)),
            domains=[Domain(name="math", rows=10)],
            seed=1,
            global_batch=1,
            selectors=registered_selectors(),
            orders=registered_orders(),
        )
    finally:
        hook_manager().unregister(plugin)
    assert sorted(plan.order.tolist()) == [7, 8, 9]


def test_a_selector_with_a_built_ins_name_is_refused() -> None:
    @hookimpl
    def register_selectors() -> dict[str, Any]:
        return {"random": lambda domain, key: np.arange(domain.rows)}

    plugin = SimpleNamespace(register_selectors=register_selectors)
    hook_manager().register(plugin)
    try:
        with expect_error("dmt.select", "'random'"):
            registered_selectors()
    finally:
        hook_manager().unregister(plugin)


def test_a_plugins_unit_counts_rows() -> None:
    @hookimpl
    def register_amounts() -> dict[str, Any]:
        return {"at_most": lambda domain, value: min(domain.rows, int(value))}

    block = {"stages": [{"name": "a", "mix": {"math": {"at_most": 4}, "code": {"at_most": 9}}}]}
    with expect_error("dmt.stages[0].mix.math", "'at_most'"):
        read_config(block)
    plugin = SimpleNamespace(register_amounts=register_amounts)
    hook_manager().register(plugin)
    try:
        stages = resolve_stages(read_config(block), ("math", "code"), replace(DEFAULTS, epochs=1))
        domains = [Domain(name="math", rows=10), Domain(name="code", rows=6)]
        plan = compile_plan(
            stages=stages, domains=domains, seed=1, global_batch=1, amounts=registered_amounts()
        )
    finally:
        hook_manager().unregister(plugin)
    assert {name: draw.rows for name, draw in plan.stages[0].domains.items()} == {
        "math": 4,
        "code": 6,
    }
    assert stages[0].mix["math"].value == Fraction(4)


def test_a_saved_plan_with_a_plugins_unit_loads_without_the_plugin(tmp_path: Path) -> None:
    mix = {"math": parse_amount({"at_most": 4}, "", units=["at_most"])}
    plan = compile_plan(
        stages=[Stage(name="a", mix=mix, learning_rate=1.0)],
        domains=[Domain(name="math", rows=10)],
        seed=1,
        global_batch=1,
        amounts={"at_most": lambda domain, value: int(value)},
    )
    plan.save(tmp_path)
    assert TrainingPlan.load(tmp_path).stages[0].settings.mix == mix


@pytest.mark.parametrize("rows", [0, -1, 2.5, True, None])
def test_a_unit_that_gives_no_whole_number_of_rows_is_refused(rows: Any) -> None:
    with expect_error("dmt.stages[0].mix.math", "odd", repr(rows)):
        compile_plan(
            stages=[Stage(name="a", mix={"math": Amount("odd")}, learning_rate=1.0)],
            domains=[Domain(name="math", rows=10)],
            seed=1,
            global_batch=1,
            amounts={"odd": lambda domain, value: rows},
        )
