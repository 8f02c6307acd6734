"""The docstring of a public function that raises has a `Raises:` section."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "axolotl_dmt"


def nodes_of(function: ast.AST) -> Iterator[ast.AST]:
    """Yield every node of a function, except those of functions and classes inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
        ):
            yield child
            yield from nodes_of(child)


def public_functions(file: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions of a module and the methods of its public classes, with their names."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    yield f"{node.name}.{member.name}", member


def raises(function: ast.FunctionDef) -> bool:
    """Return whether a function raises an exception; a bare `raise` only passes one on."""
    return any(isinstance(n, ast.Raise) and n.exc is not None for n in nodes_of(function))


def is_exempt(function: ast.FunctionDef) -> bool:
    """Return whether a function is a validator of pydantic or a command of click.

    pydantic converts what a validator raises to its own error. click prints a command's docstring
    as its help.
    """
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    return any("validator" in text or ".command(" in text for text in decorators)


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_every_public_function_that_raises_documents_it(file: Path) -> None:
    undocumented = [
        name
        for name, function in public_functions(file)
        if not name.split(".")[-1].startswith("_")
        and raises(function)
        and not is_exempt(function)
        and "Raises:" not in (ast.get_docstring(function) or "")
    ]
    assert not undocumented
