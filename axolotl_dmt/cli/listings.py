"""The lists that commands print: strategies, hooks and recipes, with one line each."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.hooks.calls import registered_strategies
from axolotl_dmt.hooks.loading import implementations, load_hooks
from axolotl_dmt.recipes.recipe import headline, known_recipes
from axolotl_dmt.report.console import Console


def print_strategies() -> None:
    """Print each strategy with its summary.

    Raises:
        DMTError: a plugin's hook fails, or two strategies share a name.
    """
    strategies = registered_strategies().values()
    _print_table(("strategy", "what it does"), ((s.name, s.summary) for s in strategies))


def print_hooks(config: str | None) -> None:
    """Print each implemented hook with the plugin that implements it.

    Args:
        config: a YAML whose `dmt.hooks` are loaded first.

    Raises:
        DMTError: the YAML cannot be read, or a hook cannot be loaded.
    """
    if config is not None:
        load_hooks(YamlFile.read(config).hooks())
    rows = ((line.hook, line.plugin, line.summary) for line in implementations())
    _print_table(("hook", "plugin", "what"), rows)


def print_recipes() -> None:
    """Print each built-in or installed recipe with its purpose.

    Raises:
        DMTError: two recipes share a name.
    """
    rows = ((name, headline(path)) for name, path in known_recipes().items())
    _print_table(("recipe", "what it is for"), rows)


def _print_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
