"""pydantic's validation errors in the words of a YAML: one line a mistake, naming its key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
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
"""What would be right, where pydantic's own words do not say it."""


def explain(error: ValidationError, root: type[BaseModel], name: str) -> Iterator[DMTError]:
    """Each mistake once, in the order of the fields.

    Args:
        error: what pydantic raised.
        root: the model that was validated.
        name: its key in the YAML.
    """
    found: dict[str, DMTError] = {}
    for detail in error.errors():
        key, model = _locate(detail["loc"], root, name)
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, DMTError):
            inner = f"{key}.{cause.key.lstrip('.')}" if cause.key else key
            explained = DMTError(inner, cause.problem, cause.fix)
        elif detail["type"] == "extra_forbidden":
            known = sorted(model.model_fields) if model else []
            wrong = str(detail["loc"][-1])
            close = difflib.get_close_matches(wrong, known, n=1)
            fix = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
            explained = DMTError(key, "unknown key", fix)
        elif detail["type"] == "missing":
            explained = DMTError(key, "missing", "add it")
        else:
            message = detail["msg"]
            advice = _ADVICE.get(key.rpartition(".")[2], message[:1].lower() + message[1:])
            explained = DMTError(key, f"{detail['input']!r} is not accepted", advice)
        # pydantic tells what is wrong with each form that a value may have: the first will do
        found.setdefault(key, explained)
    for key, explained in found.items():
        if not any(other.startswith((f"{key}.", f"{key}[")) for other in found):
            yield explained


def _locate(
    loc: tuple[int | str, ...], root: type[BaseModel], name: str
) -> tuple[str, type[BaseModel] | None]:
    """Turns pydantic's location into the dotted key a user would write, and finds its model."""
    key = name
    model: type[BaseModel] | None = root
    here: Any = root
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
            continue
        if _is_union_label(part):
            continue
        model = here if isinstance(here, type) and issubclass(here, BaseModel) else None
        key += f".{part}"
        field = model.model_fields.get(part) if model else None
        here = _inner_model(field.annotation) if field else here
    return key, model


def _is_union_label(part: str) -> bool:
    # pydantic adds the branch of a union it tried, such as "EverySteps" or "literal[...]".
    return part in {"EverySteps", "str", "int", "float", "constrained-int"} or "[" in part


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
