"""Parses YAML with limits on nesting and size, so that no file hangs the program or fills memory.

A few lines of aliases can describe millions of values: `a: &a [x, x]`, `b: &b [*a, *a]`, and so on.
The limits are checked before any value is constructed.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

DEEPEST: Final = 64
"""The limit on levels of nesting, those within aliases included."""
MOST_VALUES: Final = 100_000
"""The limit on values, where each alias counts with all that it stands for."""


def parse_yaml(text: str) -> Any:
    """Return the value in a YAML document; None if it is empty.

    Raises:
        yaml.YAMLError: as `compose_yaml`.
        ValueError: as `construct_yaml`.
    """
    return construct_yaml(compose_yaml(text))


def compose_yaml(text: str) -> yaml.Node | None:
    """Return the root node of a YAML document, which knows the line of each value.

    Args:
        text: the document.

    Returns:
        The node; None if the document is empty.

    Raises:
        yaml.YAMLError: it is not YAML, is nested too deeply, has too many values, or holds an alias
            within the value that the alias stands for.
    """
    _check_events(text)
    loader = yaml.SafeLoader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    if node is not None:
        _Size().of(node, 0)
    return node


def construct_yaml(node: yaml.Node | None) -> Any:
    """Return the value of a node; the merge keys (`<<`) within the node are resolved in place.

    Raises:
        yaml.YAMLError: it is not plain data.
        ValueError: a value cannot be represented, such as an impossible date.
    """
    return None if node is None else yaml.SafeLoader("").construct_document(node)


def _check_events(text: str) -> None:
    """Check the parser's events one by one: composing a document needs a call for each level."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _too_deep(event.start_mark)
        if count > 2 * MOST_VALUES:  # a list or mapping causes two events
            raise _too_many(event.start_mark)


class _Size:
    """The number of values below each node, with every alias replaced by what it stands for."""

    def __init__(self) -> None:
        self.values: dict[int, int] = {}
        self.heights: dict[int, int] = {}

    def of(self, node: yaml.Node, depth: int) -> int:
        """Return the number of values; `depth` is the number of nodes above this one."""
        key = id(node)
        if key in self.values:
            if not self.values[key]:
                raise _error("an alias lies within the value that it stands for", node.start_mark)
            if depth + self.heights[key] > DEEPEST:
                raise _too_deep(node.start_mark)
            return self.values[key]
        if depth > DEEPEST:
            raise _too_deep(node.start_mark)
        self.values[key] = 0  # until its end is reached
        children = list(_children(node))
        total = 1 + sum(self.of(child, depth + 1) for child in children)
        if total > MOST_VALUES:
            raise _too_many(node.start_mark)
        self.values[key] = total
        self.heights[key] = 1 + max((self.heights[id(child)] for child in children), default=0)
        return total


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _too_deep(mark: Any) -> yaml.MarkedYAMLError:
    return _error(f"is nested more than {DEEPEST} levels deep", mark)


def _too_many(mark: Any) -> yaml.MarkedYAMLError:
    return _error(f"holds more than {MOST_VALUES:,} values, with its aliases written out", mark)


def _error(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
