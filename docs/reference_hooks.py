"""Generate the reference of every hook from the hook specifications and their docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from textwrap import dedent
from types import FunctionType
from typing import Any

from axolotl_dmt import hookspecs
from axolotl_dmt.hooks.loading import hook_names

INTRODUCTION = """\
# Every hook

Generated from `axolotl_dmt/hookspecs.py` when the site is built.
"""
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example):$", re.MULTILINE)


def hooks() -> dict[str, FunctionType]:
    """Return every hook specification by name, in the order of the file."""
    return {name: getattr(hookspecs, name) for name in hook_names()}


def hook_reference() -> str:
    """Return the whole page as Markdown."""
    parts = [INTRODUCTION, f"{_after_title(hookspecs).strip()}\n"]
    for name, hook in hooks().items():
        parts += [f"## `{name}`\n", f"```python\n{signature(hook)}\n```\n", _markdown(hook)]
    classes = [value for value in vars(hookspecs).values() if _is_dataclass_of_hookspecs(value)]
    if classes:
        parts.append("## Classes that hooks receive or return\n")
    for dataclass in classes:
        parts += [f"### `{dataclass.__name__}`\n", _markdown(dataclass)]
    return "\n".join(parts)


def signature(hook: FunctionType) -> str:
    """Return a hook's signature as an implementation writes it: `def name(arguments): ...`."""
    return f"def {hook.__name__}{_plain(str(inspect.signature(hook)))}: ..."


def _plain(text: str) -> str:
    # Annotations are strings here, because of `from __future__ import annotations`.
    return text.replace("'", "")


def _is_dataclass_of_hookspecs(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and value.__module__ == hookspecs.__name__


def _after_title(documented: Any) -> str:
    return inspect.getdoc(documented).partition("\n\n")[2]  # type: ignore[union-attr]


def _markdown(documented: Any) -> str:
    """Convert a Google docstring to Markdown: sections to lists, the example to a code block."""
    text, *sections = _SECTION.split(inspect.getdoc(documented) or "")
    parts = [text.strip()]
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        body = dedent(body.strip("\n"))
        if name == "Example":
            parts += _example(body)
        elif name == "Returns":
            parts.append(f"**Returns.** {_joined(body)}")
        else:
            heading = name.replace("Args", "Arguments")
            parts.append(f"**{heading}**")
            parts.append("\n".join(_items(body)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _example(body: str) -> Iterator[str]:
    title, _, code = body.partition("::\n")
    yield f"**Example.** {_joined(title)}:"
    yield f"```python\n{dedent(code).strip()}\n```"


def _items(body: str) -> Iterator[str]:
    """Convert `name: text` entries, whose continuation lines are indented, to list items."""
    for entry in re.split(r"\n(?=\S)", body.strip()):
        name, _, text = entry.partition(":")
        yield f"- `{name}`: {_joined(text)}"


def _joined(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    print(hook_reference(), end="")
