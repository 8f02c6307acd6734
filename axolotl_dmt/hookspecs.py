"""The hooks that other packages may implement; mark each with `axolotl_dmt.hookimpl`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from axolotl_dmt.strategies import Strategy

hookspec = pluggy.HookspecMarker("axolotl_dmt")


@hookspec
def register_strategies() -> Sequence[Strategy]:  # type: ignore[empty-body]
    """Strategies to offer under `dmt.strategy`, beside the built-in ones."""
