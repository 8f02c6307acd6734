"""Reading YAML that a stranger wrote: plain data of a bounded size, or a refusal.

What is accepted means the same to `yaml.safe_load`, with which Axolotl reads the file later; it is
the smaller language: one document, no tags, no aliases, no merge keys, no key twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode

from axolotl_dmt.errors import DMTError

LARGEST = 256 * 1024
"""Bytes of a YAML file."""
DEEPEST = 16
"""Levels of nesting."""
MOST_NODES = 20_000
LONGEST_KEY = 200
LONGEST_PLAIN = 1_000
"""Characters of an unquoted value: numbers are unquoted, and a long one takes long to read."""


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key_node, ScalarNode) or key_node.tag.endswith(":merge"):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is no plain name", key_node.start_mark
                )
            if key in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands here twice", key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(data: bytes, where: str) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Args:
        data: the file's bytes.
        where: its name, for the error.

    Raises:
        DMTError: not UTF-8, too large, too deep, with tags, aliases, merge keys or a key twice, not
            YAML, or no mapping of names.
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
        problem = f"{line}{error.problem or 'is no YAML'}"
        raise DMTError(where, problem, "write plain YAML") from None
    # a date that does not exist, a number of too many digits, a control character
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise DMTError(where, f"is no plain YAML ({first})", "write plain YAML") from None
    _refuse_odd_keys(value, where)
    if not isinstance(value, dict):
        raise DMTError(where, "holds no keys", "write base_model: ... and so on")
    return value


def _refuse_tricks(text: str, where: str) -> None:
    """Look at the events one by one, so that nothing is built of what is refused."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise DMTError(where, f"line {line}: has an alias (*)", "write the value out")
        if tag := getattr(event, "tag", None):
            raise DMTError(where, f"line {line}: has the tag {tag}", "leave it out")
        if isinstance(event, yaml.ScalarEvent):
            if event.style is None and len(event.value) > LONGEST_PLAIN:
                raise DMTError(where, f"line {line}: an endless word", "quote long texts")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST or count > MOST_NODES:
            what = "nested too deeply" if depth > DEEPEST else "of too many parts"
            raise DMTError(where, f"line {line}: {what}", "a recipe is a small file")


def _refuse_odd_keys(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise DMTError(where, f"the key {key!r} is no name", "quote it")
            if not str(key).isprintable() or len(str(key)) > LONGEST_KEY:
                raise DMTError(where, f"the key {str(key)[:99]!r} is no name", "leave it out")
            _refuse_odd_keys(item, where)
    elif isinstance(value, list):
        for item in value:
            _refuse_odd_keys(item, where)
