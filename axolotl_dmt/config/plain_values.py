"""Plain values of a raw `dmt:` block, and words in it that YAML read as something else.

YAML reads `no`, `off`, `yes` and `on` as truth values, and pydantic takes a truth value for a
number: `limit: on` would score one item.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from axolotl_dmt.config.advice import AS_BOOLEAN, in_quotes, line_for, misread, shown
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.amounts import FORMS, Amount

_OF_A_LIST = ("strategy", "order", "select")
"""Fields that hold one of a few words, not a word of the user's choice."""


def plain(value: Any) -> Any:
    """Return plain dicts and lists: Axolotl's `DictDefault` answers None for every missing key."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def misread_words(value: Any, annotation: Any, key: str, example: Any = None) -> Iterator[DMTError]:
    """Yield a mistake for each truth value where none is accepted, and each key that is no text.

    Args:
        value: the plain value of a field.
        annotation: the type of the field.
        key: its key in the YAML.
        example: a value that would be right.
    """
    forms = list(_forms(annotation))
    if isinstance(value, bool) and not any(form in (bool, Any) for form in forms):
        fix = _fix(value, forms, key, example)
        yield DMTError(key, f"{shown(value)} is not accepted{misread(value)}", fix)
    elif value is None and not any(form in (types.NoneType, Any) for form in forms):
        fix = f"write {line_for(key, example)}, or remove it" if example else "write a value"
        yield DMTError(key, "is empty", fix)
    elif isinstance(value, Mapping):
        yield from misread_keys(value, key)
        yield from _misread_entries(value, forms, key)
    elif isinstance(value, list):
        inner = [get_args(form)[0] for form in forms if get_origin(form) is list]
        for index, item in enumerate(value if inner else ()):
            yield from misread_words(item, inner[0], f"{key}[{index}]")


def _fix(value: bool, forms: list[Any], key: str, example: Any) -> str:
    """Return what to write in place of a truth value."""
    if Amount in forms:
        return FORMS
    has_line = example is not None and not key.endswith("]")
    if str in forms and has_line and key.rpartition(".")[2] in _OF_A_LIST:
        return f"write {line_for(key, example)}, or put the word in quotes"
    if str in forms:
        return in_quotes(key, value)
    return f"write {line_for(key, example)}" if has_line else "write a number"


def misread_keys(value: Mapping[Any, Any], key: str = "") -> Iterator[DMTError]:
    """Yield a mistake for each key of a mapping that YAML did not read as text."""
    for name in value:
        if not isinstance(name, str):
            text = AS_BOOLEAN[name][0] if isinstance(name, bool) else name
            problem = f"{shown(name)} is not a name{misread(name)}"
            inner = f"{key}.{str(name).lower()}".lstrip(".")
            yield DMTError(inner, problem, f"put it in quotes: '{text}'")


def _misread_entries(value: Mapping[Any, Any], forms: list[Any], key: str) -> Iterator[DMTError]:
    for form in forms:
        if isinstance(form, type) and issubclass(form, BaseModel):
            for name, field in form.model_fields.items():
                if name in value:
                    example = next(iter(field.examples or ()), None)
                    inner = f"{key}.{name}"
                    yield from misread_words(value[name], field.annotation, inner, example)
        elif get_origin(form) is dict:
            for name, item in value.items():
                yield from misread_words(item, get_args(form)[1], f"{key}.{name}")


def _forms(annotation: Any) -> Iterator[Any]:
    """Yield the types that a union allows; any other annotation is the only one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _forms(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for form in get_args(annotation):
            yield from _forms(form)
    else:
        yield annotation
