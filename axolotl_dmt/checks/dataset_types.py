"""Checks that every dataset has a `type` that Axolotl knows, and one `name`.

Axolotl takes a dataset without a type for tokenised rows, and looks for an unknown type only after
the rows are loaded.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from axolotl_dmt.checks.data_files import TOKENISED, columns_of
from axolotl_dmt.checks.data_paths import entries
from axolotl_dmt.config.run_keys import tokenised_in_collator
from axolotl_dmt.errors import DMTError, closest

HANDLED = (
    "alpaca",
    "concisechoice",
    "explainchoice",
    "gpteacher",
    "jeopardy",
    "oasst",
    "reflection",
    "summarizetldr",
)
"""The types that Axolotl implements outside its prompt strategies: its `DATASET_HANDLERS`, whose
module would take seconds to import."""
LOADERS = re.compile(r"^def (load\w*)\(", re.MULTILINE)
WRITE_A_TYPE = "write type: chat_template for messages, type: alpaca, or a prompt of your own"


def wrong_types(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake for each entry whose type is missing or unknown to Axolotl.

    Args:
        cfg: the raw configuration. Entries without a type are skipped if the columns of their file
            cannot be read quickly: their rows may be tokenised.
    """
    for key, entry in entries(cfg):
        kind = entry.get("type")
        if not kind:
            columns = None if tokenised_in_collator(cfg) else columns_of(entry)
            if columns and not set(columns) >= TOKENISED:
                yield missing_type(key, entry, columns)
        elif isinstance(kind, str) and not _is_known(kind):
            yield DMTError(f"{key}.type", f"Axolotl has no type {kind!r}", _advice(kind))


def listed_names(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake for each entry whose `name` is a list: Axolotl's validation refuses it."""
    for key, entry in entries(cfg):
        names = entry.get("name")
        if isinstance(names, list):
            problem = f"{names!r} is a list, and Axolotl loads one configuration for each entry"
            yield DMTError(f"{key}.name", problem, "write an entry of its own for each of them")


def missing_type(key: str, entry: Mapping[str, Any], columns: list[str]) -> DMTError:
    """Return the mistake of an entry without a type, whose rows are not tokenised.

    Args:
        key: the entry's key, such as `datasets[2]`.
        entry: the entry.
        columns: the columns of its rows.
    """
    problem = f"is missing, and the rows of {entry.get('path')} are not tokenised"
    return DMTError(f"{key}.type", problem, f"{WRITE_A_TYPE} (its columns: {', '.join(columns)})")


def _is_known(kind: str) -> bool:
    """Return whether Axolotl has a type, or it names a module outside Axolotl that exists."""
    if kind in strategies() or kind.partition(":")[0] in HANDLED:
        return True
    module = kind.partition(".")[0]
    if module == kind:
        return False
    if module in {name.partition(".")[0] for name in strategies()}:
        # A module in a folder, such as `dpo.chatml`, is not listed by its function.
        return (_folder() / f"{kind.replace('.', '/')}.py").is_file()
    is_local = any(Path(name).exists() for name in (module, f"{module}.py"))
    return is_local or _is_installed(module)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _advice(kind: str) -> str:
    if kind.startswith("sharegpt"):
        return (
            "it was removed; write type: chat_template, field_messages: conversations and "
            "message_property_mappings: {role: from, content: value}"
        )
    names = [*HANDLED, *(name for name in strategies() if not name.startswith("_"))]
    close = closest(kind, names)
    return f"did you mean {close}?" if close else WRITE_A_TYPE


@cache
def strategies() -> frozenset[str]:
    """Return the types that Axolotl's prompt strategies implement.

    These are the names of its modules, and `module.load_name` for each further function. The
    modules are read and not imported, which would take seconds.
    """
    names = set()
    for path in _folder().iterdir():
        source = path / "__init__.py" if path.is_dir() else path
        if source.suffix != ".py" or not source.is_file() or path.stem == "__init__":
            continue
        loaders = LOADERS.findall(source.read_text(encoding="utf-8"))
        names |= {path.stem, *(f"{path.stem}.{name}" for name in loaders)}
    return frozenset(names)


def _folder() -> Path:
    spec = importlib.util.find_spec("axolotl.prompt_strategies")
    if spec is None or spec.origin is None:
        raise ImportError("Axolotl has no module prompt_strategies")
    return Path(spec.origin).parent
