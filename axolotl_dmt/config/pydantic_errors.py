"""Turn pydantic's validation errors into one line per mistake that names the YAML key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from axolotl_dmt.config.advice import advice, in_quotes, misread, shown
from axolotl_dmt.errors import DMTError, closest

_ADVICE = {
    "when": "write each_stage, end, never, or {every_steps: n}",
    "batch_size": "write a number or auto",
    "val_rows": "write a number of rows, or {domain: number}, from 0 up",
    "mix": "write at least one domain, for example {math: all}",
    "stages": "write a list of stages, each with a name and a mix",
}
"""The fix for a field whose mistakes pydantic's own message does not explain."""


FILLED_IN: Final = frozenset({"dataset_domains", "solved"})
"""Keys of the block that the program fills in, and that users do not write."""
_COMMON_WORDS = {"model", "type", "name", "default", "val", "test", "plugins"}
"""Words of messages that are hardly ever meant as keys."""


def explain(error: ValidationError, root: type[BaseModel], name: str) -> Iterator[DMTError]:
    """Yield each mistake in a model once, in the order of the fields.

    Args:
        error: the error that pydantic raised.
        root: the model that was validated.
        name: the model's key in the YAML.
    """
    errors: dict[str, DMTError] = {}
    details: dict[str, list[Any]] = {}
    for detail in error.errors(include_url=False):
        key, model = _locate(detail["loc"], root, name)
        details.setdefault(key, []).append(detail)
        # pydantic reports a mistake once for each form that a value may have.
        errors[key] = errors.get(key) or _explained(detail, key, model)
    for key, explained in errors.items():
        if not any(other.startswith((f"{key}.", f"{key}[")) for other in errors):
            yield _advised(explained, key, details[key], root, name)


def _explained(detail: Any, key: str, model: type[BaseModel] | None) -> DMTError:
    """Return one of pydantic's errors as a mistake; without a fix if `_advised` finds it."""
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, DMTError):
        inner = f"{key}.{cause.key.lstrip('.')}" if cause.key else key
        return DMTError(inner, cause.problem, cause.fix)
    if detail["type"] == "extra_forbidden":
        known_keys = sorted(set(model.model_fields) - FILLED_IN) if model else []
        close = closest(str(detail["loc"][-1]), known_keys)
        fix = f"did you mean {close}?" if close else f"known keys: {', '.join(known_keys)}"
        return DMTError(key, "unknown key", fix)
    if detail["type"] == "missing":
        return DMTError(key, "missing", "add it")
    return DMTError(key, f"{shown(detail['input'])} is not accepted", "")


def _advised(
    mistake: DMTError, key: str, details: list[Any], root: type[BaseModel], name: str
) -> DMTError:
    """Return a mistake with the fix that suits its field, unless it has one."""
    if mistake.fix:
        return mistake
    _, model = _locate(details[0]["loc"], root, name)
    last = key.rpartition(".")[2]
    field = model.model_fields.get(last) if model else None
    fix = _ADVICE.get(last) or advice(details, key, field.examples or () if field else ())
    return DMTError(mistake.key, mistake.problem, fix)


def explain_axolotl(error: ValidationError, cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield each mistake that Axolotl's own validation finds in a YAML, once for each key.

    Args:
        error: the error that it raised. pydantic reports one for each type that a value may have.
        cfg: the YAML.
    """
    errors: dict[str, list[Any]] = {}
    for detail in error.errors(include_url=False):
        errors.setdefault(_axolotls_key(detail, cfg), []).append(detail)
    for key, details in errors.items():
        detail = details[0]
        message = " ".join(detail["msg"].removeprefix("Value error, ").split())
        fix = advice(details, key)
        if detail["type"] == "missing":
            yield DMTError(key, "is missing", "add it")
        elif fix:
            value = detail.get("input")
            if isinstance(value, bool) and fix == "write text":
                fix = in_quotes(key, value)
            yield DMTError(key, f"{shown(value)} is not accepted{misread(value)}", fix)
        else:
            yield DMTError(key, f"Axolotl refuses it: {message}", "")


def _axolotls_key(detail: Any, cfg: Mapping[str, Any]) -> str:
    """Return the key of one of Axolotl's errors; where it names none, the first key it mentions."""
    key, value = _entry(detail["loc"], detail.get("input"), cfg)
    for part in detail["loc"]:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            if detail["type"] != "missing" or part != detail["loc"][-1]:
                continue  # the name of a type that was tried
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
    words = re.findall(r"\w+", detail["msg"])
    mentioned = next((word for word in words if word in cfg and word not in _COMMON_WORDS), "YAML")
    return key.lstrip(".") or mentioned


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
        if isinstance(part, int):  # YAML reads the key `no` as false
            key += f".{str(part).lower()}" if isinstance(part, bool) else f"[{part}]"
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
    return (
        part in {"EverySteps", "str", "int", "float"}
        or part.startswith("constrained-")
        or "[" in part
    )


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        model = _inner_model(argument)
        if model is not None:
            return model
    return None
