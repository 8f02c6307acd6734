"""Writes the YAML that `axolotl dmt solve` found: the user's own, with another `dmt:` block."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import LARGEST_YAML, read_text, write_text
from axolotl_dmt.yaml_data import parse_yaml

_SCHEDULE: Final = ("strategy", "k", "domain", "sequence", "overrides", "stages", "solve")
"""Keys of the block that the written-out stages replace."""


def solved_block(
    block: Mapping[str, Any], stages: list[dict[str, Any]], solved: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a `dmt:` block with the stages that were found.

    Args:
        block: the user's block, with the floors that were used.
        stages: the stages.
        solved: the predictions, as `dmt.solved`.
    """
    rest = {key: value for key, value in block.items() if key not in _SCHEDULE}
    return {"stages": stages, **rest, "solved": dict(solved)}


def check_target(target: Path, source: Path) -> None:
    """Refuse to overwrite a file that `axolotl dmt solve` did not write.

    Raises:
        DMTError: the file exists and has no `dmt.solved`, or is the source.
    """
    if not target.exists():
        return
    block = None if target.resolve() == source.resolve() else YamlFile.read(target).data.get("dmt")
    if not isinstance(block, Mapping) or "solved" not in block:
        problem = f"{target} exists and was not written by axolotl dmt solve"
        raise DMTError("--to", problem, "name a new file")


def write_solved(
    source: Path, target: Path, block: Mapping[str, Any], comments: Mapping[str, str]
) -> None:
    """Write the new YAML; what lies outside the `dmt:` block stays as the user wrote it.

    Args:
        source: the user's YAML.
        target: the file to write.
        block: the new `dmt:` block.
        comments: {key of the block: comment above it}; that of "" stands above the block.
    """
    file = YamlFile.read(source)
    lines = read_text(source, most_bytes=LARGEST_YAML).splitlines()
    first = file.lines["dmt"] - 1
    tops = [number - 1 for key, number in file.lines.items() if "." not in key and "[" not in key]
    last = min((top for top in tops if top > first), default=len(lines))
    while last > first + 1 and not lines[last - 1].startswith((" ", "\t", "-", "}", "]")):
        last -= 1  # comments and empty lines belong to the key below
    text = "\n".join([*lines[:first], _text(block, comments), *lines[last:]]) + "\n"
    expected = {**file.data, "dmt": block}
    try:
        unchanged = parse_yaml(text) == expected
    except (yaml.YAMLError, ValueError):
        unchanged = False
    if not unchanged:  # the block is written on one line, or an alias in it is used elsewhere
        rest = {key: value for key, value in file.data.items() if key != "dmt"}
        text = _dump(rest) + _text(block, comments) + "\n"
    write_text(target, text)


def _text(block: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    parts = [_comment(comments.get("", ""), ""), "dmt:\n"]
    for key, value in block.items():
        parts.append(_comment(comments.get(key, ""), "  "))
        parts += [f"  {line}\n" for line in _dump({key: value}).splitlines()]
    return "".join(parts).rstrip("\n")


def _comment(text: str, indent: str) -> str:
    return "".join(f"{indent}# {line}".rstrip() + "\n" for line in text.splitlines())


def _dump(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=100)
