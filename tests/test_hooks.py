"""Strategies of other packages stand beside the built-in ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from axolotl_dmt import hookimpl
from axolotl_dmt.args import read_config
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks import hook_manager, known_strategies
from axolotl_dmt.resolve import resolve_stages
from axolotl_dmt.strategies import Strategy
from tests.test_resolve import DEFAULTS


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
        assert list(known_strategies()) == ["backwards", "dmt"]
        config = read_config({"strategy": "backwards"})
        stages = resolve_stages(config, ("math", "general"), DEFAULTS)
        assert [(stage.name, list(stage.mix)) for stage in stages] == [
            ("general", ["general"]),
            ("special", ["math"]),
        ]
    finally:
        hook_manager().unregister(plugin)
    assert list(known_strategies()) == ["dmt"]


def test_two_strategies_of_one_name_are_refused() -> None:
    plugin = offering(Strategy(name="dmt", summary="another", stages=lambda setting: []))
    hook_manager().register(plugin)
    try:
        with pytest.raises(DMTError, match="registered twice"):
            known_strategies()
    finally:
        hook_manager().unregister(plugin)
