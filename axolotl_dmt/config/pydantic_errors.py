"""Turn pydantic's validation errors into one line per mistake that names the YAML key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from axolotl_dmt.errors import DMTError

_ADVICE = {
    "when": "write each_stage, end, never, or {every_steps: n}",
    "batch_size": "write a number or auto",
    "name": "use letters, digits, '.', '_' and '-'",
    "val_rows": "write a number, or {domain: number}, from 0 up",
    "mix": "write at least one domain, for example {math: all}",
    "stages": "write a list of stages, each with a name and a mix",
}
"""The fix for a field whose mistakes pydantic's own message does not explain."""
LONGEST_VALUE = 100
"""Characters of the longest offending value that a message shows."""


def explain(error: ValidationError, root: type[BaseModel], name: str) -> Iterator[DMTError]:
    """Yield each mistake in a model once, in the order of the fields.

    Args:
        error: the error that pydantic raised.
        root: the model that was validated.
        name: the model's key in the YAML.
    """
    errors: dict[str, DMTError] = {}
    for detail in error.errors():
        key, model = _locate(detail["loc"], root, name)
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, DMTError):
            inner = f"{key}.{cause.key.lstrip('.')}" if cause.key else key
            explained = DMTError(inner, cause.problem, cause.fix)
        elif detail["type"] == "extra_forbidden":
            known_keys = sorted(model.model_fields) if model else []
            unknown_key = str(detail["loc"][-1])
            close = difflib.get_close_matches(unknown_key, known_keys, n=1)
            fix = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known_keys)}"
            explained = DMTError(key, "unknown key", fix)
        elif detail["type"] == "missing":
            explained = DMTError(key, "missing", "add it")
        else:
            message = detail["msg"]
            advice = _ADVICE.get(key.rpartition(".")[2], message[:1].lower() + message[1:])
            explained = DMTError(key, f"{detail['input']!r} is not accepted", advice)
        # pydantic reports a mistake once for each form that a value may have: the first is enough.
        errors.setdefault(key, explained)
    for key, explained in errors.items():
        if not any(other.startswith((f"{key}.", f"{key}[")) for other in errors):
            yield explained


def explain_axolotl(error: ValidationError, cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield each mistake that Axolotl's own validation finds in a YAML, once for each key.

    Args:
        error: the error that it raised. pydantic reports one for each type that a value may have.
        cfg: the YAML.
    """
    seen = set()
    for detail in error.errors(include_url=False):
        key, value = _entry(detail["loc"], detail.get("input"), cfg)
        for part in detail["loc"]:
            try:
                value = value[part]  # type: ignore[index]
            except (KeyError, IndexError, TypeError):
                continue  # the name of a type that was tried
            key += f"[{part}]" if isinstance(part, int) else f".{part}"
        key = key.lstrip(".")
        message = " ".join(detail["msg"].removeprefix("Value error, ").split())
        if key not in seen or not key:
            seen.add(key)
            is_short = not isinstance(value, Mapping) and len(repr(value)) <= LONGEST_VALUE
            start = f"{value!r} is not accepted: " if is_short else ""
            yield DMTError(key or "Axolotl", f"{start}{message[:1].lower()}{message[1:]}", "")


def _entry(
    loc: tuple[int | str, ...], value: Any, cfg: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
    """Return the key and the value of the part of a YAML that a location starts from.

    Axolotl validates the entries of `datasets` one by one, so that the location of a mistake in one
    of them starts there.
    """
    first = loc[0] if loc else None
    if first in cfg:
        return "", cfg
    for key, listed in cfg.items():
        for index, entry in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(entry, Mapping) and first in entry and entry[first] == value:
                return f"{key}[{index}]", entry
    return "", cfg


def _locate(
    loc: tuple[int | str, ...], root: type[BaseModel], name: str
) -> tuple[str, type[BaseModel] | None]:
    """Return the dotted key that a user would write for pydantic's location, and its model."""
    key = name
    model: type[BaseModel] | None = root
    inner: Any = root
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
            continue
        if _is_union_label(part):
            continue
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
        key += f".{part}"
        field = model.model_fields.get(part) if model else None
        inner = _inner_model(field.annotation) if field else inner
    return key, model


def _is_union_label(part: str) -> bool:
    # pydantic adds the member of a union that it tried, such as "EverySteps" or "literal[...]".
    return part in {"EverySteps", "str", "int", "float", "constrained-int"} or "[" in part


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        model = _inner_model(argument)
        if model is not None:
            return model
    return None
