"""YAML that would hang the program or fill memory is refused; aliases and merges are plain YAML."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.yaml_data import DEEPEST, MOST_VALUES, parse_yaml


def bomb(levels: int, width: int = 9) -> str:
    lines = [f"a0: &a0 [{', '.join('x' * width)}]"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bomb(9), "values"),
        (bomb(40, 2), "values"),
        ("a: " + "[" * 5000, "levels"),
        ("a:\n" + "".join("  " * i + "- a:\n" for i in range(1, 200)), "levels"),
        ("\n".join(f"a{i}: &a{i} [{f'*a{i - 1}' if i else ''}]" for i in range(200)), "levels"),
        ("a: &a [*a]", "alias"),
        ("a: &a {b: {c: *a}}", "alias"),
        ("[" + "1," * (2 * MOST_VALUES) + "]", "values"),
        ("a: !!python/object/apply:os.system [ls]", "constructor"),
    ],
)
def test_what_would_hang_or_run_code_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError, match=problem) as error:
        parse_yaml(text)
    assert error.value.problem_mark is not None


def test_anchors_and_merges_are_read_like_any_reader_reads_them() -> None:
    text = "x: &x {type: alpaca}\nlist:\n- {<<: *x, path: a}\n- {<<: *x, path: b}\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml("") is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(VALUES)
def test_plain_values_are_read_back(value: Any) -> None:
    assert parse_yaml(yaml.safe_dump(value)) == value


def test_the_limit_is_on_levels() -> None:
    parse_yaml("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))
