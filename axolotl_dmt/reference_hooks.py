"""The reference of every hook, written from the hook specifications and their docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from textwrap import dedent
from types import FunctionType
from typing import Any

from axolotl_dmt import hookspecs
from axolotl_dmt.hook_loading import hook_names

INTRODUCTION = """\
# Every hook

Written from `axolotl_dmt/hookspecs.py` when the site is built.
"""
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example):$", re.MULTILINE)
_WORDS = {"Args": "Arguments", "Attributes": "It has"}


def hooks() -> dict[str, FunctionType]:
    """Every hook specification by name, in the order of the file."""
    return {name: getattr(hookspecs, name) for name in hook_names()}


def hook_reference() -> str:
    """The whole page, as Markdown."""
    parts = [INTRODUCTION, f"{_after_title(hookspecs).strip()}\n"]
    for name, hook in hooks().items():
        parts += [f"## `{name}`\n", f"```python\n{signature(hook)}\n```\n", _markdown(hook)]
    told = [given for given in vars(hookspecs).values() if _own_class(given)]
    if told:
        parts.append("## What hooks are given and give\n")
    for given in told:
        parts += [f"### `{given.__name__}`\n", _markdown(given)]
    return "\n".join(parts)


def signature(hook: FunctionType) -> str:
    """A hook as its implementation would write it: `def name(arguments) -> type: ...`."""
    return f"def {hook.__name__}{_plain(str(inspect.signature(hook)))}: ..."


def _plain(text: str) -> str:
    # Annotations are strings here, because of `from __future__ import annotations`.
    return text.replace("'", "")


def _own_class(given: Any) -> bool:
    return dataclasses.is_dataclass(given) and given.__module__ == hookspecs.__name__


def _after_title(documented: Any) -> str:
    return inspect.getdoc(documented).partition("\n\n")[2]  # type: ignore[union-attr]


def _markdown(documented: Any) -> str:
    """A Google docstring as Markdown: its sections as headed lists, its example as a block."""
    text, *sections = _SECTION.split(inspect.getdoc(documented) or "")
    parts = [text.strip()]
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        body = dedent(body.strip("\n"))
        if name == "Example":
            parts += _example(body)
        elif name == "Returns":
            parts.append(f"**Returns.** {_joined(body)}")
        else:
            parts.append(f"**{_WORDS.get(name, name)}**")
            parts.append("\n".join(_items(body)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _example(body: str) -> Iterator[str]:
    title, _, code = body.partition("::\n")
    yield f"**Example.** {_joined(title)}:"
    yield f"```python\n{dedent(code).strip()}\n```"


def _items(body: str) -> Iterator[str]:
    """`name: text` entries, continued on deeper lines, as a list."""
    for entry in re.split(r"\n(?=\S)", body.strip()):
        name, _, text = entry.partition(":")
        yield f"- `{name}`: {_joined(text)}"


def _joined(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    print(hook_reference(), end="")
