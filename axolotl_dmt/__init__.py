"""Dual-stage Mixed Fine-tuning (DMT) for Axolotl.

Add the plugin to an Axolotl YAML, name the domain of each dataset, and give a schedule:

    plugins:
      - axolotl_dmt.DMTPlugin
    datasets:
      - {path: math.jsonl, type: alpaca, domain: math}
      - {path: chat.jsonl, type: chat_template, domain: general}
    dmt:
      strategy: dmt
      k: 1/256

Importing this package imports only pluggy: Axolotl ignores an `ImportError` while it loads a plugin
and would then train without the schedule. If a dependency is missing or has an
unsupported version, using the plugin raises an error that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("axolotl_dmt")
"""Marks a function as an implementation of one of the hooks in `axolotl_dmt.hookspecs`."""

if TYPE_CHECKING:
    from axolotl_dmt.plugin import DMTPlugin

__all__ = ["DMTPlugin", "__version__", "hookimpl"]


def __getattr__(name: str) -> Any:
    if name != "DMTPlugin":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from axolotl_dmt.plugin import DMTPlugin
    except ImportError as error:
        # Anything but ImportError stops Axolotl; see the module docstring.
        raise RuntimeError(f"axolotl-dmt cannot start: {error}") from error
    return DMTPlugin
