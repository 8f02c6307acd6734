"""Generate the reference of every command from the click group that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import click

from axolotl_dmt.cli.main import dmt

INTRODUCTION = """\
# Every command

Generated from the code when the site is built. `axolotl dmt ...` and `axolotl-dmt ...` are the
same commands; the second does not print Axolotl's banner. If the input has mistakes, a command
prints one line per mistake and exits with code 2; `check` exits with code 1 if it finds any.
"""


def commands(
    group: click.Group = dmt, path: str = "axolotl dmt"
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is not hidden, in subgroups too, with its full name."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def command_reference() -> str:
    """Return the whole page as Markdown."""
    parts = [INTRODUCTION]
    for name, command in commands():
        parts += _entry(name, command)
    return "\n".join(parts)


def _entry(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"## `{name}`\n"
    yield f"```\n{usage}\n```\n"
    yield f"{cleandoc(command.help or '').replace(chr(8), '')}\n"
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            yield _option(option)
    yield ""


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    kind = "" if option.is_flag or option.count else f" {_kind(option)}"
    repeat = " May be given several times." if option.multiple else ""
    return f"- {names}{kind}: {option.help or ''}{repeat}{_default(option)}"


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
    printable = isinstance(value, str | int | float) and str(value)
    return f" Default: `{value}`." if printable else ""


if __name__ == "__main__":
    print(command_reference(), end="")
