"""The pluggy manager: built-in implementations, then those of installed packages."""

from __future__ import annotations

from functools import lru_cache

import pluggy

from axolotl_dmt import hookspecs, strategies
from axolotl_dmt.errors import DMTError
from axolotl_dmt.strategies import Strategy

ENTRY_POINT_GROUP = "axolotl_dmt"


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
