"""Masks the secrets in the text of a YAML, so that its layout and its comments stay as written.

Axolotl copies the text of a run's YAML to the model card.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from axolotl_dmt.results.secrets import MASK, masked, masked_text, names_secret
from axolotl_dmt.yaml_data import compose_yaml, construct_yaml

NOT_SHOWN: Final = "# This YAML is not shown, because it could not be searched for secrets."
_COMMENT: Final = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
_NAME: Final = re.compile(r"([\w-]+)[\"']?\s*[:=]\s*(?=\S)")
_WORD: Final = re.compile(r"\S+")


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def masked_yaml(text: str) -> str:
    """Return the text of a YAML in which each secret is replaced by `MASK`, in comments too.

    Args:
        text: the YAML. If it is not valid, `NOT_SHOWN` is returned.
    """
    try:
        root = compose_yaml(text)
        edits = [] if root is None else [*_edits(root, masked(_value(root)), text)]
    except (yaml.YAMLError, ValueError):
        return NOT_SHOWN
    parts, at = [], 0
    for edit in sorted(set(edits)):
        if edit.start >= at:
            parts += [text[at : edit.start], edit.text]
            at = edit.end
    edited = "".join(parts) + text[at:]
    return masked_text(_COMMENT.sub(lambda comment: _masked_comment(comment[0]), edited))


def _masked_comment(comment: str) -> str:
    """Mask settings that were turned into a comment, such as `# wandb_api_key: x`."""
    for name in reversed([*_NAME.finditer(comment)]):
        if names_secret(name[1]):
            comment = comment[: name.end()] + _WORD.sub(MASK, comment[name.end() :], count=1)
    return comment


def _value(node: yaml.Node) -> Any:
    """Return the value of a node as `masked` takes it, of the same shape as the nodes below it.

    A mapping becomes a list of mappings with one key each, so that no key hides an equal one.
    """
    if isinstance(node, yaml.MappingNode):
        return [{_key(key): _value(value)} for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    return construct_yaml(node)


def _key(node: yaml.Node) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _edits(node: yaml.Node, value: Any, text: str) -> Iterator[_Edit]:
    """Yield the replacements in the text of each node that `masked` has changed."""
    if isinstance(node, yaml.MappingNode):
        for (key, item), pair in zip(node.value, value, strict=True):
            ((name, masked_item),) = pair.items()
            if isinstance(key, yaml.ScalarNode) and name != key.value:
                yield _edit(key, name, text)
            yield from _edits(item, masked_item, text)
    elif isinstance(node, yaml.SequenceNode):
        for item, masked_item in zip(node.value, value, strict=True):
            yield from _edits(item, masked_item, text)
    elif value != construct_yaml(node):
        yield _edit(node, value, text)


def _edit(node: yaml.Node, value: Any, text: str) -> _Edit:
    start, end = node.start_mark.index, node.end_mark.index
    written = text[start:end]
    blank = written[len(written.rstrip()) :]  # a block of lines ends with its line break
    return _Edit(start, end, f"{json.dumps(value, ensure_ascii=False)}{blank}")
