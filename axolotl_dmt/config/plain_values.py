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
        fix = in_quotes(key, value)
        if str not in forms and example is not None:
            fix = f"write {line_for(key, example)}" if not key.endswith("]") else ""
        yield DMTError(key, f"{shown(value)} is not accepted{misread(value)}", fix)
    elif isinstance(value, Mapping):
        yield from misread_keys(value, key)
        yield from _misread_entries(value, forms, key)
    elif isinstance(value, list):
        inner = [get_args(form)[0] for form in forms if get_origin(form) is list]
        for index, item in enumerate(value if inner else ()):
            yield from misread_words(item, inner[0], f"{key}[{index}]")


def misread_keys(value: Mapping[Any, Any], key: str = "") -> Iterator[DMTError]:
    """Yield a mistake for each key of a mapping that YAML did not read as text."""
    for name in value:
        if not isinstance(name, str):
            text = AS_BOOLEAN[name][0] if isinstance(name, bool) else name
            problem = f"{shown(name)} is not a name{misread(name)}"
            yield DMTError(f"{key}.{name}".lstrip("."), problem, f"put it in quotes: '{text}'")


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
