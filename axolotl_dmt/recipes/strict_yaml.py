"""Reads YAML by an unknown author: only plain data of bounded size is accepted.

The accepted language is a subset of YAML: one document, no tags, no aliases, no merge keys, no
duplicate keys. Everything in it means the same to `yaml.safe_load`, with which Axolotl later reads
the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode

from axolotl_dmt.errors import DMTError, first_line

LARGEST = 256 * 1024
"""The size limit of a YAML file, in bytes."""
DEEPEST = 16
"""The limit on levels of nesting."""
MOST_NODES = 20_000
"""The limit on parser events: a value causes one, a list or mapping two."""
LONGEST_KEY = 200
"""The length limit of a key, in characters."""
LONGEST_PLAIN = 1_000
"""The length limit of an unquoted value, in characters: parsing a very long number is slow."""


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key_node, ScalarNode) or key_node.tag.endswith(":merge"):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is not a plain name", key_node.start_mark
                )
            if key in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is a duplicate", key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(data: bytes, where: str) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Args:
        data: the bytes of the file.
        where: the name of the file, for error messages.

    Raises:
        DMTError: the file is not UTF-8, not YAML, not a mapping, too large or too deeply nested,
            or contains tags, aliases, merge keys, duplicate keys or keys that are not names.
    """
    if len(data) > LARGEST:
        raise DMTError(where, f"is larger than {LARGEST // 1024} KiB", "a recipe is a small file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 (byte {error.start})"
        raise DMTError(where, problem, "save it as UTF-8") from None
    try:
        _refuse_tricks(text, where)
        value = yaml.load(text, Loader=_StrictLoader)
    except DMTError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        problem = f"{line}{error.problem or 'is not valid YAML'}"
        raise DMTError(where, problem, "write plain YAML") from None
    # An impossible date, a number of too many digits or a control character raises one of these.
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        problem = f"is not plain YAML ({first_line(error)})"
        raise DMTError(where, problem, "write plain YAML") from None
    _refuse_odd_keys(value, where)
    if not isinstance(value, dict):
        raise DMTError(where, "holds no keys", "start with base_model: ...")
    return value


def _refuse_tricks(text: str, where: str) -> None:
    """Raise DMTError for aliases, tags and excessive size or nesting.

    This looks at the parser's events one by one, before any value is constructed.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            fix = "repeat the value instead, or share the run: axolotl dmt recipe export OUTPUT_DIR"
            raise DMTError(where, f"line {line}: has an alias (*) of an anchor (&)", fix)
        if tag := getattr(event, "tag", None):
            raise DMTError(where, f"line {line}: has the tag {tag}", "remove the tag")
        if isinstance(event, yaml.ScalarEvent):
            if event.style is None and len(event.value) > LONGEST_PLAIN:
                raise DMTError(where, f"line {line}: an unquoted value is too long", "quote it")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST or count > MOST_NODES:
            problem = "is nested too deeply" if depth > DEEPEST else "has too many values"
            raise DMTError(where, f"line {line}: {problem}", "a recipe is a small file")


def _refuse_odd_keys(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise DMTError(where, f"the key {key!r} is not text", "quote it")
            if not str(key).isprintable() or len(str(key)) > LONGEST_KEY:
                raise DMTError(where, f"the key {str(key)[:99]!r} is not a name", "remove it")
            _refuse_odd_keys(item, where)
    elif isinstance(value, list):
        for item in value:
            _refuse_odd_keys(item, where)
