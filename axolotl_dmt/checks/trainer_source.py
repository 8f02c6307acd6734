"""Reads names from the source of the transformers trainer, whose import would take seconds."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path


def trainer_arguments() -> set[str]:
    """Return the names of the fields of `transformers.TrainingArguments`.

    Raises:
        LookupError: this version of transformers has no such class.
    """
    return {
        node.target.id
        for node in _body("TrainingArguments")
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def trainer_optimizers() -> set[str]:
    """Return the values of transformers' `OptimizerNames`.

    Raises:
        LookupError: this version of transformers has no such class.
    """
    return {
        str(node.value.value)
        for node in _body("OptimizerNames")
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }


@cache
def _body(name: str) -> Sequence[ast.stmt]:
    """Return the statements in the body of a class of `transformers.training_args`."""
    package = importlib.util.find_spec("transformers")
    if package is None or package.origin is None:
        raise LookupError("transformers is not installed")
    source = Path(package.origin).with_name("training_args.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node.body
    raise LookupError(f"transformers.training_args has no class {name}")
