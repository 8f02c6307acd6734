"""A YAML file with the line of each of its keys, so that an error can name the line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import LARGEST_YAML, read_text
from axolotl_dmt.yaml_data import compose_yaml, construct_yaml


@dataclass(frozen=True, kw_only=True)
class YamlFile:
    """The content of a YAML file, and the line of each key.

    Attributes:
        path: path of the file, as the caller gave it.
        data: the content.
        lines: line number, from 1, of each dotted and indexed key, such as
            `dmt.stages[0].mix.math`.
        duplicate_keys: an error for each key that occurs twice; YAML readers silently take the last
            value.
    """

    path: str
    data: dict[str, Any]
    lines: Mapping[str, int]
    duplicate_keys: tuple[DMTError, ...]

    @classmethod
    def read(cls, path: str | Path) -> YamlFile:
        """Read a file.

        Raises:
            DMTError: the file cannot be read, is not YAML, or holds no keys. The error names the
                line.
        """
        try:
            text = read_text(path, most_bytes=LARGEST_YAML)
        except (OSError, ValueError) as error:
            is_text = not isinstance(error, UnicodeDecodeError)
            reason = getattr(error, "strerror", None) or (str(error) if is_text else "not UTF-8")
            fix = "name a YAML file" if is_text else "save it as UTF-8, or name a YAML file"
            raise DMTError(str(path), f"cannot be read ({reason})", fix) from None
        try:
            node = compose_yaml(text)
            duplicates = tuple(_duplicate_keys(node, "")) if node else ()
            data = construct_yaml(node)
        except (yaml.YAMLError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{path}:{mark.line + 1}" if mark else str(path)
            reason = " ".join(str(getattr(error, "problem", None) or error).split())
            if reason.startswith("but "):  # the second half of a sentence
                reason = f"{getattr(error, 'context', None) or 'one value was expected'}, {reason}"
            fix = "indent with spaces, and quote values that hold ': ' or begin with a symbol"
            raise DMTError(where, f"is not YAML: {reason}", fix) from None
        if not isinstance(data, dict):
            raise DMTError(str(path), "holds no keys", "write lines of the form key: value")
        lines = dict(_lines(node, ""))
        return cls(path=str(path), data=data, lines=lines, duplicate_keys=duplicates)

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
        """Return the names in `dmt.hooks`; an empty list if it is not a list."""
        block = self.data.get("dmt")
        hooks = block.get("hooks") if isinstance(block, dict) else None
        return [name for name in hooks if isinstance(name, str)] if isinstance(hooks, list) else []


def _duplicate_keys(node: yaml.Node, key: str) -> Iterator[DMTError]:
    """Yield an error for each key that occurs twice.

    It reads the nodes before aliases and merges are resolved, because these may repeat a key.
    """
    if isinstance(node, yaml.MappingNode):
        first_lines: dict[str, int] = {}
        for name, value in node.value:
            inner = f"{key}.{name.value}".lstrip(".")
            if not isinstance(name, yaml.ScalarNode):
                continue  # Python's YAML readers refuse such a key
            if name.value in first_lines and name.value != "<<":
                problem = f"is on line {first_lines[name.value]} too"
                yield DMTError(inner, problem, "keep one of them")
            first_lines[str(name.value)] = name.start_mark.line + 1
            yield from _duplicate_keys(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicate_keys(item, f"{key}[{index}]")


def _name(key: yaml.Node) -> str:
    """Return the name of a key as the errors show it, where a truth value is `true` or `false`."""
    if key.tag == "tag:yaml.org,2002:bool":
        return str(construct_yaml(key)).lower()
    return str(key.value)


def _lines(node: yaml.Node | None, key: str) -> Iterator[tuple[str, int]]:
    """Yield each key below a node, dotted and indexed, with its line number from 1."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = f"{key}.{_name(name)}".lstrip(".")
            yield inner, name.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            inner = f"{key}[{index}]"
            yield inner, item.start_mark.line + 1
            yield from _lines(item, inner)
