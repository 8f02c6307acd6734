"""What a message says about a value of the wrong kind: the value, cut short, and what to write.

The words are those of the YAML's user, not those of pydantic, whose errors they are made from.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

LONGEST_VALUE: Final = 80
"""Characters of an offending value that a message shows at most."""
AS_BOOLEAN: Final = {True: ("yes", "on", "true"), False: ("no", "off", "false")}
"""{truth value: the words without quotes that YAML reads as it}."""
_WHOLE, _NUMBER, _FLAG, _TEXT = "a whole number", "a number", "true or false", "text"
_KINDS: Final = {
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": "a finite number",
    "bool_parsing": _FLAG,
    "bool_type": _FLAG,
    "string_type": _TEXT,
    "string_too_short": _TEXT,
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "too_short": "at least one entry",
    "dict_type": "keys and values below it",
    "model_type": "keys and values below it",
    "model_attributes_type": "keys and values below it",
    "dataclass_type": "keys and values below it",
}
"""{type of a pydantic error: what would be right}."""
_EXAMPLES: Final = {_WHOLE: 1, _FLAG: True}
"""Values for a message without a better example; no number is a good learning rate and a share."""


def shown(value: object) -> str:
    """Return a value as a message shows it: as YAML spells it, and cut after 80 characters."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.date):
        return f"the date {value}"
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def misread(value: object) -> str:
    """Return a remark in brackets on a value that YAML reads from a word without quotes."""
    if isinstance(value, bool):
        words = ", ".join(AS_BOOLEAN[value])
        return f" (YAML reads the words {words} as {shown(value)} unless they are in quotes)"
    return ""


def in_quotes(key: str, value: object) -> str:
    """Return the advice to write a value as text, with the line to write."""
    text = AS_BOOLEAN[value][0] if isinstance(value, bool) else str(value)
    name = key.rpartition(".")[2]
    if key.endswith("]"):  # an entry of a list
        return f"put it in quotes: '{text}'"
    return f"put it in quotes, for example {name}: '{text}'"


def line_for(key: str, value: object) -> str:
    """Return `key: value` in one line of YAML, with the last part of a dotted key."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return f"{key.rpartition('.')[2]}: {text.removesuffix('...' + chr(10)).strip()}"


def advice(details: Iterable[Mapping[str, Any]], key: str, examples: Iterable[Any] = ()) -> str:
    """Return what to write in place of a value.

    Args:
        details: pydantic's errors for the value, one for each form that it may have.
        key: the key of the value.
        examples: values that would be right.
    """
    kinds = list(dict.fromkeys(filter(None, map(_kind, details))))
    if _TEXT in kinds:  # whatever else is accepted is text, too
        kinds = [_TEXT]
    wanted = " or ".join(kinds)
    example = next(iter(examples), next((_EXAMPLES[k] for k in kinds if k in _EXAMPLES), None))
    if key.endswith("]") or example is None:  # an entry of a list has no line of its own
        return f"write {wanted}" if wanted else ""
    return f"write {wanted}, for example {line_for(key, example)}"


def _kind(detail: Mapping[str, Any]) -> str:
    """Return what would be right in place of a value that pydantic refused."""
    context = detail.get("ctx", {})
    match detail["type"]:
        case "greater_than":
            return f"a number above {context['gt']:g}"
        case "greater_than_equal":
            return f"a number from {context['ge']:g} up"
        case "less_than" | "less_than_equal":
            return f"a number up to {context.get('le', context.get('lt')):g}"
        case "literal_error" | "enum":
            return str(context["expected"]).replace("'", "")
        case "string_too_long":
            return f"at most {context['max_length']} characters"
        case "string_pattern_mismatch":
            return "letters, digits, '.', '_' and '-'"
        case kind:
            return _KINDS.get(kind, "")
