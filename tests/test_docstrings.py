"""Docstrings keep their promises: a public function that raises says what, and when."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "axolotl_dmt"


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Every node of a function's body, without the functions and classes inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
        ):
            yield child
            yield from own_nodes(child)


def public_functions(file: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The public functions of a module and of its public classes, with their names."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    yield f"{node.name}.{member.name}", member


def raises(function: ast.FunctionDef) -> bool:
    """Whether the function raises an exception of its own; `raise` alone passes one on."""
    return any(isinstance(n, ast.Raise) and n.exc is not None for n in own_nodes(function))


def is_validator(function: ast.FunctionDef) -> bool:
    """pydantic calls these, and turns what they raise into the model's own error."""
    return any("validator" in ast.unparse(decorator) for decorator in function.decorator_list)


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_a_public_function_that_raises_says_so(file: Path) -> None:
    silent = [
        name
        for name, function in public_functions(file)
        if not name.split(".")[-1].startswith("_")
        and raises(function)
        and not is_validator(function)
        and "Raises:" not in (ast.get_docstring(function) or "")
    ]
    assert not silent
