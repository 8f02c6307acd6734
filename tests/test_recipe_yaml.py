"""A stranger's YAML is plain data of a bounded size, or it is refused."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.errors import DMTError
from axolotl_dmt.recipe_yaml import DEEPEST, LARGEST, read_yaml

BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)


def refusal(text: str | bytes) -> str:
    with pytest.raises(DMTError) as caught:
        read_yaml(text.encode() if isinstance(text, str) else text, "dmt.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_plain_settings_are_read_as_axolotl_reads_them() -> None:
    text = "base_model: org/base\nlist: [1, 2.0e-5, yes]\nmax_memory: {0: 20GiB}\ntext: 'é: *'\n"
    assert read_yaml(text.encode(), "x") == yaml.safe_load(text)
    assert read_yaml(b"\xef\xbb\xbfa: 1", "x") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "has an alias"),
        ("a: &x 1\nb: *x", "has an alias"),
        ("a: &x {<<: *x}", "has an alias"),
        ("a: !!python/object/apply:os.system [id]", "has the tag"),
        ("a: !!binary aGk=", "has the tag"),
        ("a: !thing 1", "has the tag"),
        ("<<: {a: 1}\nb: 1", "a key is no plain name"),
        ("? [a, b]\n: 1", "a key is no plain name"),
        ("a: 1\na: 2", "line 2: the key 'a' stands here twice"),
        ("a: {b: 1, b: 2}", "the key 'b' stands here twice"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("- " * (DEEPEST + 1) + "a", "nested too deeply"),
        ("? " * 100_000, "nested too deeply"),
        ("a: [" + "1," * 30_000 + "]", "of too many parts"),
        ("a: 1" + "0" * 5_000, "an endless word"),
        ("a: " + ":".join("1" * 40_000), "an endless word"),
        ("a: 2020-99-99", "is no plain YAML"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("a: [", "line 1"),
        ("a: 'x\x07'", "is no plain YAML"),
        ("[1, 2]", "holds no keys"),
        ("", "holds no keys"),
        ("on: 1", "the key True is no name"),
        ("null: 1", "the key None is no name"),
        ('"a\\e[31m": 1', "is no name"),
        ("x" * (LARGEST + 1), "is larger than"),
    ],
)
def test_tricks_are_refused_in_one_line(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize(
    "data", [b"a: \xff\xfe", "a: é".encode("latin-1"), "a: 1".encode("utf-16")]
)
def test_what_is_not_utf8_is_refused(data: bytes) -> None:
    assert "is not UTF-8" in refusal(data)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_whatever_is_accepted_means_the_same_to_axolotl(text: str) -> None:
    try:
        value = read_yaml(text.encode("utf-8", "surrogatepass"), "x")
    except DMTError:
        return
    assert value == yaml.safe_load(text.removeprefix("\ufeff"))
