"""Check the rows of the code tasks, and find what their tests expect an answer to define.

Rows that cannot be scored are refused here, before a model is loaded or an answer generated.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Iterator, Sequence

from axolotl_dmt.errors import DMTError
from axolotl_dmt.scoring import python_source as python
from axolotl_dmt.scoring.sources import Row

_UNSUPPORTED = frozenset({"asyncio", "inspect", "unittest"})
"""Modules whose use in tests shows that they need the program in their own process."""


def normalised_mbpp(row: Row) -> Row:
    """Return an MBPP row with the fields of MBPP's full file.

    The sanitised file has `prompt` and `test_imports` in place of `text` and `test_setup_code`.
    """
    imports = row.get("test_imports") or []
    setup = [imports] if isinstance(imports, str) else list(imports)
    setup.append(row.get("test_setup_code") or "")
    return {
        **row,
        "text": row.get("text") or row.get("prompt") or "",
        "test_setup_code": "\n".join(part for part in setup if part.strip()),
        "code": row.get("code") or "",
    }


def mbpp_tests(row: Row) -> str:
    """Return the tests of an MBPP row as a program."""
    return "\n".join(row["test_list"]) + "\n"


def mbpp_names(row: Row) -> tuple[str, ...]:
    """Return what a row's tests expect an answer to define.

    A name that Python defines too, such as `sum`, counts if the row's solution defines it, or if
    the tests use no other name.
    """
    setup, tests = row.get("test_setup_code") or "", mbpp_tests(row)
    used = python.missing_names(f"{setup}\n{tests}") - set(mbpp_modules(row))
    called = {
        node.func.id
        for node in ast.walk(ast.parse(tests))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    built_in = called & set(dir(builtins))
    solution = python.parse(row.get("code") or "")
    if solution:
        used |= {name for name in built_in if python.defines(solution, name)}
    return tuple(sorted(used or built_in))


def mbpp_modules(row: Row) -> tuple[str, ...]:
    """Return the standard modules that a row's tests use without an import of their own."""
    text = f"{row.get('test_setup_code') or ''}\n{mbpp_tests(row)}"
    bases = {
        node.value.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return tuple(sorted(bases & python.missing_names(text) & sys.stdlib_module_names))


# Checks


def check_humaneval(rows: Sequence[Row], setting: str) -> None:
    """Check rows in HumanEval's format.

    Raises:
        DMTError: If a row cannot be scored; the message names the row.
    """
    _check(rows, setting, _humaneval_problems)


def check_mbpp(rows: Sequence[Row], setting: str) -> None:
    """Check rows in MBPP's format, after `normalised_mbpp`.

    Raises:
        DMTError: If a row cannot be scored; the message names the row.
    """
    _check(rows, setting, _mbpp_problems)


def _check(
    rows: Sequence[Row], setting: str, problems: Callable[[Row], Iterator[tuple[str, str]]]
) -> None:
    for number, row in enumerate(rows, 1):
        for problem, fix in problems(row):
            name = f" ({row['task_id']})" if row.get("task_id") is not None else ""
            raise DMTError(setting, f"row {number}{name}: {problem}", fix)


def _humaneval_problems(row: Row) -> Iterator[tuple[str, str]]:
    if not row["entry_point"].isidentifier():
        yield f"`entry_point` is {row['entry_point']!r}", "give the name of the function"
        return
    tree = python.parse(row["test"])
    if tree is None:
        yield "`test` is not Python", "give a function `check(candidate)` with the assertions"
    elif not python.defines(tree, "check"):
        yield "`test` defines no function `check`", "define `check(candidate)` with the assertions"
    else:
        yield from _unsupported(tree, (row["entry_point"],))


def _mbpp_problems(row: Row) -> Iterator[tuple[str, str]]:
    if not row["text"].strip():
        yield "it has neither `text` nor `prompt`", "give the task's wording in `text`"
    if not row["test_list"] or not all(isinstance(test, str) for test in row["test_list"]):
        yield "`test_list` has no tests", "give a list of assertions, each a text"
        return
    tree = python.parse(f"{row['test_setup_code']}\n{mbpp_tests(row)}")
    if tree is None:
        yield "its tests are not Python", "correct `test_list`, `test_imports` or `test_setup_code`"
        return
    names = mbpp_names(row)
    if not names:
        yield "its tests call no function of the answer", "name the function in `test_list`"
    yield from _unsupported(tree, names)


def _unsupported(tree: ast.Module, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what a row's tests do that cannot be done from another process."""
    fix = "the tests run in another process than the program: write them with calls and values"
    nodes = list(ast.walk(tree))
    for module in sorted(_imported(nodes)):
        if module not in sys.stdlib_module_names:
            yield f"its tests import {module}, which is not in Python's standard library", fix
        elif module in _UNSUPPORTED:
            yield f"its tests use {module}", fix
    if any(isinstance(node, (ast.AsyncFunctionDef, ast.Await)) for node in nodes):
        yield "its tests are asynchronous", fix
    for node in nodes:
        if isinstance(node, (ast.With, ast.AsyncWith)) and _uses(node.items, names):
            yield "its tests use an object of the program as a context manager", fix
        if isinstance(node, ast.ClassDef) and _uses([*node.bases, *node.keywords], names):
            yield f"its tests derive the class {node.name} from one of the program", fix
        if isinstance(node, ast.ExceptHandler) and node.type and _uses([node.type], names):
            yield "its tests catch an exception that the program defines", fix


def _imported(nodes: Sequence[ast.AST]) -> set[str]:
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {module.partition(".")[0] for module in modules}


def _uses(nodes: Sequence[ast.AST], names: Sequence[str]) -> bool:
    return any(
        isinstance(item, ast.Name) and item.id in names for node in nodes for item in ast.walk(node)
    )
