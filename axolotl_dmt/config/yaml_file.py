"""A YAML file with the line of each of its keys, so that an error can name the line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.errors import DMTError


@dataclass(frozen=True, kw_only=True)
class YamlFile:
    """The content of a YAML file, and the line of each key.

    Attributes:
        path: path of the file, as the caller gave it.
        data: the content.
        lines: line number, from 1, of each dotted and indexed key, such as
            `dmt.stages[0].mix.math`.
        doubles: an error for each key that occurs twice; YAML readers silently take the last one.
    """

    path: str
    data: dict[str, Any]
    lines: Mapping[str, int]
    doubles: tuple[DMTError, ...]

    @classmethod
    def read(cls, path: str | Path) -> YamlFile:
        """Read a file.

        Raises:
            DMTError: the file cannot be read, is not YAML, or holds no keys. The error names the
                line.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8"
            raise DMTError(str(path), f"cannot be read ({why})", "name a YAML file") from None
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            doubles = tuple(_doubles(node, "")) if node else ()
            data = loader.construct_document(node) if node else None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{path}:{mark.line + 1}" if mark else str(path)
            why = " ".join(str(getattr(error, "problem", None) or error).split())
            fix = "indent with spaces, and quote values that hold ': ' or begin with a symbol"
            raise DMTError(where, f"is not YAML: {why}", fix) from None
        if not isinstance(data, dict):
            raise DMTError(str(path), "holds no keys", "write lines of the form key: value")
        return cls(path=str(path), data=data, lines=dict(_lines(node, "")), doubles=doubles)

    def line(self, key: str) -> int | None:
        """Return the line of a key, or of the nearest key above it that is in the file."""
        while key not in self.lines:
            cut = max(key.rfind(mark) for mark in ".[ ")
            if cut < 1:
                return None
            key = key[:cut]
        return self.lines[key]

    def located(self, error: DMTError) -> str:
        """Return the error in one line that begins with the file and the line number."""
        line = self.line(error.key)
        return f"{self.path}:{line}: {error}" if line else f"{self.path}: {error}"

    def hooks(self) -> list[str]:
        """Return the names in `dmt.hooks`; an empty list where it is not a list of names."""
        block = self.data.get("dmt")
        named = block.get("hooks") if isinstance(block, dict) else None
        return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def _doubles(node: yaml.Node, key: str) -> Iterator[DMTError]:
    """Yield an error for each key that occurs twice.

    The nodes are read before aliases and merges are resolved, since these may repeat a key.
    """
    if isinstance(node, yaml.MappingNode):
        first_lines: dict[str, int] = {}
        for name, value in node.value:
            inner = f"{key}.{name.value}".lstrip(".")
            if not isinstance(name, yaml.ScalarNode):
                continue  # Python's YAML readers accept no such key
            if name.value in first_lines and name.value != "<<":
                problem = f"is on line {first_lines[name.value]} too"
                yield DMTError(inner, problem, "keep one of them")
            first_lines[str(name.value)] = name.start_mark.line + 1
            yield from _doubles(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _doubles(item, f"{key}[{index}]")


def _lines(node: yaml.Node | None, key: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = f"{key}.{name.value}".lstrip(".")
            yield inner, name.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            inner = f"{key}[{index}]"
            yield inner, item.start_mark.line + 1
            yield from _lines(item, inner)
