"""What a test asserts of a user's mistake: the key and the offending values, not the wording."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from axolotl_dmt.errors import DMTError


def assert_mistake(message: str, key: object, *values: object) -> None:
    """Assert that a message is one line, starts with `key` and shows each of `values`.

    Args:
        message: the message of an error, or a line that a command printed.
        key: the YAML key, option or file; with `dmt.yaml:9: ` before it if the line has its place.
        values: the offending value and whatever else the user needs, such as the suggestion.
    """
    assert message.startswith(f"{key}: "), message
    assert "\n" not in message, message
    missing = [str(value) for value in values if str(value) not in message]
    assert not missing, f"{missing} not in: {message}"


def assert_mistakes(messages: list[str], *expected: tuple[object, ...]) -> None:
    """Assert that the messages are the expected ones, each written as (key, *values), in order."""
    assert len(messages) == len(expected), messages
    for message, (key, *values) in zip(messages, expected, strict=True):
        assert_mistake(message, key, *values)


@contextlib.contextmanager
def expect_error(key: object, *values: object) -> Iterator[None]:
    """On exit, assert that the block raised a DMTError whose first line is that mistake."""
    with pytest.raises(DMTError) as caught:
        yield
    assert caught.value.key == str(key)
    errors = getattr(caught.value, "errors", (caught.value,))
    assert_mistake(str(errors[0]), key, *values)
