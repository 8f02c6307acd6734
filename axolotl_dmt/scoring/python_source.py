"""Questions about Python source that a model wrote, answered without running it."""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
import warnings
from collections.abc import Iterator

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


def parse(code: str) -> ast.Module | None:
    """Return the syntax tree of a text; None if it is not Python."""
    return parse_or_line(code)[0]


def parse_or_line(code: str) -> tuple[ast.Module | None, int]:
    """Return the syntax tree of a text, or None and the line at which it stops being Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code), 0
    except SyntaxError as error:
        return None, error.lineno or 1
    except _UNREADABLE:
        return None, 1


def longest_program(lines: list[str]) -> int:
    """Return how many of the lines, from the first one on, are Python."""
    count = len(lines)
    while count > 0:
        tree, line = parse_or_line("\n".join(lines[:count]))
        if tree is not None:
            return count
        count = min(count - 1, line - 1)
    return 0


def is_body(code: str) -> bool:
    """Whether a text, all of it indented, is the body of a function."""
    return parse("def body():\n" + code) is not None


def returns(code: str) -> bool:
    """Whether a text is the body of a function and returns or yields a value."""
    tree = parse("def body():\n" + code)
    return tree is not None and any(
        isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)) for node in _inner(tree.body[0])
    )


def _inner(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one, without those of functions and classes that it defines."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*_DEFINITIONS, ast.Lambda)):
            yield from _inner(child)


# Definitions


def statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements of a module, with those inside `if`, `try`, `with` and loops."""
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)) and not isinstance(
            node, _DEFINITIONS
        ):
            stack += reversed(list(ast.iter_child_nodes(node)))


def bound_names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement defines, imports or assigns."""
    if isinstance(statement, _DEFINITIONS):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.Assign):
        nodes = [node for target in statement.targets for node in ast.walk(target)]
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        nodes = [statement.target]
    else:
        return set()
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def defines(tree: ast.Module, name: str) -> bool:
    """Whether a program defines a name as something that can be called, and not only as a stub.

    A value that is computed from the name itself, as in `total = total([1, 2])`, is a use of it.
    """
    return any(name in bound_names(item) and _is_callable(item, name) for item in statements(tree))


def _is_callable(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        value = statement.value
        if isinstance(value, (ast.Name, ast.Attribute, ast.Call, ast.IfExp)):
            return all(node.id != name for node in ast.walk(value) if isinstance(node, ast.Name))
        return isinstance(value, ast.Lambda)
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        # `from solution import total` stands in a program that uses the answer.
        modules = getattr(statement, "module", None) or statement.names[0].name
        return modules.partition(".")[0] in sys.stdlib_module_names
    return not is_stub(statement)


def is_stub(statement: ast.stmt) -> bool:
    """Whether a function has no body but a docstring, `pass`, `...` or NotImplementedError."""
    if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    return all(
        isinstance(item, ast.Pass)
        or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
        or (isinstance(item, ast.Raise) and "NotImplementedError" in ast.dump(item))
        for item in statement.body
    )


# Names


def missing_names(code: str) -> set[str]:
    """Return the global names that a program uses and neither it nor Python defines."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            top = symtable.symtable(code, "<answer>", "exec")
    except _UNREADABLE:
        return set()
    used, bound = set[str](), set[str]()
    stack = [top]
    while stack:
        table = stack.pop()
        stack += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is top or symbol.is_global()):
                used.add(symbol.get_name())
            if (table is top or symbol.is_declared_global()) and (
                symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
            ):
                bound.add(symbol.get_name())
    return used - bound - set(dir(builtins))


def source_of(code: str, statement: ast.stmt) -> str:
    """Return the lines of a top-level statement, with its decorators."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(item.lineno for item in decorators)])
    return "\n".join(code.split("\n")[first - 1 : statement.end_lineno])


def future_imports_first(code: str) -> str:
    """Move `from __future__` imports to the front, where Python requires them."""
    tree = parse(code)
    if tree is None:
        return code
    lines, moved = code.split("\n"), []
    for item in tree.body:
        if isinstance(item, ast.ImportFrom) and item.module == "__future__":
            moved.append(source_of(code, item))
            lines[item.lineno - 1 : item.end_lineno] = [""] * (
                (item.end_lineno or item.lineno) - item.lineno + 1
            )
    return "\n".join([*moved, *lines]) if moved else code
