"""Axolotl's own schema of a YAML, imported without torch and transformers.

The schema's modules import torch, transformers and accelerate, which takes several seconds of CPU,
for three names of types and four functions that hardly any YAML needs. They are imported here with
stand-ins in the place of these libraries. A stand-in of a function imports the library when the
function is called, or answers by the rule that the library itself follows. Whatever the schema's
own functions import when they run is imported as usual.

If Axolotl's modules come to import more, the stand-ins do not fit and the libraries are imported;
`tests/checks/test_axolotl_schema.py` then fails.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

SCHEMAS: Final = "axolotl.utils.schemas"
MODULES: Final = ("config", "datasets", "enums")
"""The modules of Axolotl's schema that the checks read."""
HEAVY: Final = "torch"
"""The library that is in memory already if the schema costs nothing more."""


class _TorchType:
    """The place of a type of torch among the values of an enumeration."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


def _is_torch_npu_available(*arguments: Any, **settings: Any) -> bool:
    if importlib.util.find_spec("torch_npu") is None:
        return False
    from transformers.utils.import_utils import is_torch_npu_available

    return bool(is_torch_npu_available(*arguments, **settings))


def _is_fp8_available() -> bool:
    from accelerate.utils import is_fp8_available

    return bool(is_fp8_available())


def _is_main_process() -> bool:
    """Follow the rule of Axolotl for a process that has joined no others."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


_TYPES: Final = ("int4", "int8", "float8_e4m3fn")
STAND_INS: Final[dict[str, dict[str, Any]]] = {
    "torch": {name: _TorchType(f"torch.{name}") for name in _TYPES},
    "accelerate": {},
    "accelerate.utils": {"is_fp8_available": _is_fp8_available},
    "transformers": {},
    "transformers.utils": {},
    "transformers.utils.import_utils": {"is_torch_npu_available": _is_torch_npu_available},
    "axolotl.utils.distributed": {"is_main_process": _is_main_process},
}
"""{module: the names that the modules of the schema import from it}."""


def axolotl_schema(module: str) -> Any:
    """Return a module of Axolotl's schema, one of `MODULES`.

    If torch is imported already, it is the module itself, else a copy of it that stays out of
    `sys.modules`.
    """
    if HEAVY not in sys.modules:
        try:
            return quickly_imported()[module]
        except (ImportError, AttributeError):
            pass  # another version of Axolotl, which needs more than the stand-ins have
    return importlib.import_module(f"{SCHEMAS}.{module}")


@cache
def quickly_imported() -> dict[str, ModuleType]:
    """Return the modules of Axolotl's schema, imported with the stand-ins.

    Raises:
        ImportError: they import something that the stand-ins do not have.
        AttributeError: they use something that the stand-ins do not have.
    """
    with _stand_ins():
        return {name: importlib.import_module(f"{SCHEMAS}.{name}") for name in MODULES}


@contextmanager
def _stand_ins() -> Iterator[None]:
    """On entry, put the stand-ins into `sys.modules`; on exit, remove all that imported them."""
    before = set(sys.modules)
    for name, contents in STAND_INS.items():
        module = ModuleType(name)
        module.__spec__, module.__path__ = ModuleSpec(name, None), []
        vars(module).update(contents)
        sys.modules.setdefault(name, module)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if name in STAND_INS or name.startswith("axolotl.utils."):
                module = sys.modules.pop(name)
                parent, _, child = name.rpartition(".")
                if getattr(sys.modules.get(parent), child, None) is module:
                    delattr(sys.modules[parent], child)
