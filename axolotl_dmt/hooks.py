"""The pluggy manager: built-in implementations, then those of installed packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

import pluggy

from axolotl_dmt import hookspecs, strategies
from axolotl_dmt.errors import DMTError
from axolotl_dmt.mixing import SELECTIONS, Selector
from axolotl_dmt.orders import ORDERS, Order
from axolotl_dmt.strategies import Strategy

ENTRY_POINT_GROUP = "axolotl_dmt"

T = TypeVar("T")


@lru_cache(maxsize=1)
def hook_manager() -> pluggy.PluginManager:
    """The one manager of this process, with every installed package's hooks loaded."""
    manager = pluggy.PluginManager("axolotl_dmt")
    manager.add_hookspecs(hookspecs)
    manager.register(strategies, name="axolotl_dmt.strategies")
    manager.load_setuptools_entrypoints(ENTRY_POINT_GROUP)
    return manager


def known_strategies() -> dict[str, Strategy]:
    """Every registered strategy by name.

    Raises:
        DMTError: two strategies share a name.
    """
    found: dict[str, Strategy] = {}
    for offered in hook_manager().hook.register_strategies():
        for strategy in offered:
            if strategy.name in found:
                raise DMTError(
                    "dmt.strategy", f"{strategy.name!r} is registered twice", "rename one of them"
                )
            found[strategy.name] = strategy
    return dict(sorted(found.items()))


def registered_selectors() -> dict[str, Selector]:
    """Every selector that a plugin registered, by name.

    Raises:
        DMTError: two share a name, or one has a built-in's.
    """
    offered = hook_manager().hook.register_selectors()
    return _merged("dmt.select", SELECTIONS, offered)


def registered_orders() -> dict[str, Order]:
    """Every order that a plugin registered, by name.

    Raises:
        DMTError: two share a name, or one has a built-in's.
    """
    return _merged("dmt.order", ORDERS, hook_manager().hook.register_orders())


def _merged(key: str, built_in: Iterable[str], offers: Iterable[Mapping[str, T]]) -> dict[str, T]:
    taken, found = set(built_in), {}
    for offer in offers:
        for name, registered in offer.items():
            if name in taken:
                raise DMTError(key, f"{name!r} is registered twice", "rename one of them")
            taken.add(name)
            found[name] = registered
    return found
