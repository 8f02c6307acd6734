"""A YAML by an unknown author is refused unless it is plain data of bounded size."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.errors import DMTError
from axolotl_dmt.recipes.strict_yaml import DEEPEST, LARGEST, read_yaml
from tests.mistakes import assert_mistake

BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)


def refusal(text: str | bytes) -> str:
    with pytest.raises(DMTError) as caught:
        read_yaml(text.encode() if isinstance(text, str) else text, "dmt.yaml")
    return str(caught.value)


def test_plain_settings_are_read_as_axolotl_reads_them() -> None:
    text = "base_model: org/base\nlist: [1, 2.0e-5, yes]\nmax_memory: {0: 20GiB}\ntext: 'é: *'\n"
    assert read_yaml(text.encode(), "x") == yaml.safe_load(text)
    assert read_yaml(b"\xef\xbb\xbfa: 1", "x") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (BOMB, ("line 2", "alias")),
        ("a: &x 1\nb: *x", ("line 2", "alias")),
        ("a: &x {<<: *x}", ("line 1", "alias")),
        ("a: !!python/object/apply:os.system [id]", ("line 1", "tag", "os.system")),
        ("a: !!binary aGk=", ("line 1", "tag", "binary")),
        ("a: !thing 1", ("line 1", "tag", "!thing")),
        ("<<: {a: 1}\nb: 1", ("line 1", "key")),
        ("? [a, b]\n: 1", ("line 1", "key")),
        ("a: 1\na: 2", ("line 2", "'a'")),
        ("a: {b: 1, b: 2}", ("line 1", "'b'")),
        ("a: " + "[" * 100_000, ("line 1", "nested")),
        ("- " * (DEEPEST + 1) + "a", ("line 1", "nested")),
        ("? " * 100_000, ("line 1", "nested")),
        ("a: [" + "1," * 30_000 + "]", ("line 1", "too many")),
        ("a: 1" + "0" * 5_000, ("line 1", "too long")),
        ("a: " + ":".join("1" * 40_000), ("line 1", "too long")),
        ("a: 2020-99-99", ()),
        ("a: 1\n---\nb: 2", ("line 2",)),
        ("a: [", ("line 1",)),
        ("a: 'x\x07'", ()),
        ("[1, 2]", ()),
        ("", ()),
        ("on: 1", ("key True",)),
        ("null: 1", ("key None",)),
        ('"a\\e[31m": 1', (repr("a\x1b[31m"),)),
        ("x" * (LARGEST + 1), ("256 KiB",)),
    ],
)
def test_tricks_are_refused_in_one_line(text: str, values: tuple[str, ...]) -> None:
    assert_mistake(refusal(text), "dmt.yaml", *values)


@pytest.mark.parametrize(
    "data", [b"a: \xff\xfe", "a: é".encode("latin-1"), "a: 1".encode("utf-16")]
)
def test_what_is_not_utf8_is_refused(data: bytes) -> None:
    assert_mistake(refusal(data), "dmt.yaml", "UTF-8")


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_whatever_is_accepted_means_the_same_to_axolotl(text: str) -> None:
    try:
        value = read_yaml(text.encode("utf-8", "surrogatepass"), "x")
    except DMTError:
        return
    assert value == yaml.safe_load(text.removeprefix("\ufeff"))
