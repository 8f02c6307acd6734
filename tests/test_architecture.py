"""The imports between packages point in one direction, and no module grows too long.

An import inside a function counts like any other; one under `if TYPE_CHECKING:` does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "axolotl_dmt"

LAYERS = (
    ("cli",),
    ("study", "plugin"),
    ("training",),
    ("checks",),
    ("analysis", "recipes"),
    ("report", "evaluation"),
    ("api",),
    ("config",),
    ("hooks",),
    ("hookspecs", "strategies"),
    ("results",),
    ("plan",),
    ("scoring", "solver", "toy"),
    ("sandbox",),
    ("ranks", "chat"),
    ("errors",),
    ("console", "files", "yaml_data", "chart_style"),
)
"""From the commands to what every part may use: a part imports only from layers below its own."""

LAZY_IMPORTS = {("__init__", "plugin")}
"""`axolotl_dmt.DMTPlugin` is imported when it is first used, not when `axolotl_dmt` is imported."""

PURE = (
    "api",
    "config",
    "hooks",
    "hookspecs",
    "plan",
    "results",
    "sandbox",
    "scoring",
    "solver",
    "strategies",
)
"""Parts that scripts and other trainers import, so they must load quickly."""

HEAVY = ("torch", "axolotl", "transformers")
MAY_IMPORT_AXOLOTL = ("plugin", "training", "evaluation", "checks", "ranks", "chat")
PARSERS = (
    "json.load",
    "json.loads",
    "yaml.load",
    "yaml.load_all",
    "yaml.safe_load",
    "yaml.safe_load_all",
    "yaml.full_load",
    "yaml.compose",
    "yaml.parse",
)
READERS = ("read_text", "read_bytes")
OWN_READERS = {
    "files": "the bounded reader of text and JSON",
    "yaml_data": "the bounded reader of YAML",
    "recipes.strict_yaml": "parses a recipe of bounded size, after its events were checked",
    "training.raw_rows": "parses values that `datasets` wrote as JSON itself",
    "scoring.expression_worker": "parses the lines of its own parent process",
    "training.load_errors": "reads a file of at most a kilobyte",
    "recipes.export": "reads the picture that the run drew",
    "sandbox.levels": "reads a module of this package, and /proc",
    "checks.dataset_types": "reads the modules of Axolotl",
    "checks.trainer_source": "reads a module of transformers",
    "checks.evaluation_files": "reads the tasks of this package",
    "study.runner": "reads the log of its own process",
}
"""The modules that parse or read a whole file by themselves, and why that is safe."""
MOST_TOP_MODULES = 12
MOST_LINES = 400


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """Return the part of a module: `plan` for `axolotl_dmt.plan.amounts`."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def module_name(file: Path) -> str:
    names = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def imported_modules(file: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, inside functions too."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in without_type_checking(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if is_module(name) else node.module


def without_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every node below a node, except those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from without_type_checking(child)


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def arrows() -> set[tuple[str, str, str]]:
    """Return (importing part, imported part, "module > module") for imports between two parts."""
    imports = set()
    for file in modules():
        importer = module_name(file)
        for imported in imported_modules(file):
            parts = part_of(importer), part_of(imported)
            if imported.split(".")[0] == "axolotl_dmt" and parts[0] != parts[1]:
                imports.add((*parts, f"{importer} > {imported}"))
    return imports


def layer_of(part: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if part in layer)


def unbounded_readers(file: Path) -> Iterator[str]:
    """Yield each call in a file that parses JSON or YAML, or reads a whole file, without limits."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func)
            if name in PARSERS or node.func.attr in READERS:
                yield f"{name} in line {node.lineno}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("json", "yaml"):
            yield f"from {node.module} import in line {node.lineno}"


def test_files_are_read_within_limits() -> None:
    # A stranger's file may be a device, a pipe, a bomb of aliases or a million brackets.
    calls = {module_name(file): list(unbounded_readers(file)) for file in modules()}
    reading = {name.removeprefix("axolotl_dmt."): found for name, found in calls.items() if found}
    assert {name: reading[name] for name in reading.keys() - OWN_READERS.keys()} == {}
    assert OWN_READERS.keys() <= reading.keys()


def test_every_part_is_in_exactly_one_layer() -> None:
    parts = {part_of(module_name(file)) for file in modules()} - {"__init__"}
    assert sorted(parts) == sorted(part for layer in LAYERS for part in layer)


def test_no_part_imports_from_its_own_layer_or_one_above() -> None:
    wrong = [
        modules_of_import
        for importer, imported, modules_of_import in arrows()
        if (importer, imported) not in LAZY_IMPORTS
        and imported != "__init__"  # the version, and the marker of hook implementations
        and (importer == "__init__" or layer_of(importer) >= layer_of(imported))
    ]
    assert not wrong, "\n".join(sorted(wrong))


def test_no_two_packages_import_each_other_through_any_chain() -> None:
    # This does not use LAYERS, so a wrong order of the layers cannot hide a cycle.
    edges: dict[str, set[str]] = {}
    for importer, imported, _ in arrows():
        if "__init__" not in (importer, imported):
            edges.setdefault(importer, set()).add(imported)
    for start in edges:
        reached, pending = set(), set(edges[start])
        while pending:
            part = pending.pop()
            reached.add(part)
            pending |= edges.get(part, set()) - reached
        assert start not in reached, f"{start} imports itself through {sorted(reached)}"


def test_no_module_imports_itself_through_any_chain() -> None:
    names = {module_name(file): file for file in modules()}
    edges = {
        name: {other for other in imported_modules(file) if other in names and other != name}
        for name, file in names.items()
        if file.name != "__init__.py"  # a facade re-exports its own modules
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " > ".join([*path, name])
        if name not in done:
            for imported in edges.get(name, ()):
                visit(imported, (*path, name))
            done.add(name)

    for name in edges:
        visit(name, ())


@pytest.mark.parametrize("part", PURE)
def test_pure_parts_import_no_heavy_library(part: str) -> None:
    for file in modules():
        if part_of(module_name(file)) == part:
            heavy = [name for name in imported_modules(file) if name.split(".")[0] in HEAVY]
            assert not heavy, f"{file}: {heavy}"


def test_axolotl_is_imported_in_few_places() -> None:
    for file in modules():
        if any(name.split(".")[0] == "axolotl" for name in imported_modules(file)):
            assert part_of(module_name(file)) in MAY_IMPORT_AXOLOTL, file


def test_few_modules_lie_outside_the_packages() -> None:
    top = sorted(file.name for file in PACKAGE.glob("*.py"))
    assert len(top) <= MOST_TOP_MODULES, top


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_module_has_more_than_400_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_imports_in_functions_count_and_those_for_type_checking_do_not(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "from axolotl_dmt import errors\n"
        "if TYPE_CHECKING:\n    from axolotl_dmt.plugin import DMTPlugin\n"
        "def work():\n    from axolotl_dmt.plan.amounts import Amount\n    import torch.nn\n"
    )
    assert set(imported_modules(source)) == {
        "typing",
        "axolotl_dmt.errors",
        "axolotl_dmt.plan.amounts",
        "torch.nn",
    }
