"""The hooks that other packages may implement; mark each with `axolotl_dmt.hookimpl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from axolotl_dmt.mixing import Selector
    from axolotl_dmt.orders import Order
    from axolotl_dmt.strategies import Strategy

hookspec = pluggy.HookspecMarker("axolotl_dmt")


@hookspec
def register_strategies() -> Sequence[Strategy]:  # type: ignore[empty-body]
    """Strategies to offer under `dmt.strategy`, beside the built-in ones."""


@hookspec
def register_selectors() -> Mapping[str, Selector]:  # type: ignore[empty-body]
    """Ways for `select` to rank a domain's rows, by name; a part of it is the first of them."""


@hookspec
def register_orders() -> Mapping[str, Order]:  # type: ignore[empty-body]
    """Ways for `order` to lay out one epoch's rows, by name."""
