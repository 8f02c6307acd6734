"""The reference of every command, written from the click group that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import click

from axolotl_dmt.cli import dmt

INTRODUCTION = """\
# Every command

Written from the code when the site is built. `axolotl dmt ...` and `axolotl-dmt ...` are the same
commands; the second prints no banner of Axolotl's. A user's mistake ends a command with one line a
mistake and exit code 2; `check` ends with 1 where it finds any.
"""


def commands(
    group: click.Group = dmt, path: str = "axolotl dmt"
) -> Iterator[tuple[str, click.Command]]:
    """Each command that does something, with the words that call it, those of groups too."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def command_reference() -> str:
    """The whole page, as Markdown."""
    parts = [INTRODUCTION]
    for words, command in commands():
        parts += _entry(words, command)
    return "\n".join(parts)


def _entry(words: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=words)
    usage = " ".join([words, *command.collect_usage_pieces(context)])
    yield f"## `{words}`\n"
    yield f"```\n{usage}\n```\n"
    yield f"{cleandoc(command.help or '').replace(chr(8), '')}\n"
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            yield _option(option)
    yield ""


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    kind = "" if option.is_flag or option.count else f" {_kind(option)}"
    more = " May be given several times." if option.multiple else ""
    return f"- {names}{kind}: {option.help or ''}{more}{_default(option)}"


def _kind(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    return str(option.metavar or option.type.name.upper())


def _default(option: click.Option) -> str:
    if option.required:
        return " Required."
    value: Any = option.get_default(click.Context(dmt), call=False)
    if option.is_flag and isinstance(value, bool):
        return " On by default." if value else ""
    plain = isinstance(value, str | int | float) and str(value)
    return f" Default: `{value}`." if plain else ""


if __name__ == "__main__":
    print(command_reference(), end="")
