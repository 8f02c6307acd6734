"""Put one fault after another into the package `plan`, and count those that its tests notice.

    python tests/mutants.py [--module solve] [--seed 1] [--workers 2] [--at-least 95]

The faults come from cosmic-ray: an operator, a comparison, a number or a condition is changed. Of
the ways to change one place of the source, the seed draws one. Each mutant is tested in a fork of
this process, which has imported the libraries but not the package: by the module's own test file,
and then by the tests of whole plans. The first failure ends the test.

`tests/plan/equivalent_mutants.yaml` lists the mutants that no test can notice, with the reasons.
Results are kept in `outputs/mutants.jsonl`, and a mutant that was noticed is not run again until
its module changes: delete the file to run all of them.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import random
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple, NoReturn

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(ROOT := Path(__file__).resolve().parents[1]))

import cosmic_ray.plugins
import hypothesis
import numpy  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest
import rich.table  # noqa: F401
import yaml
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from hypothesis import strategies  # noqa: F401

PACKAGE = "axolotl_dmt.plan"
FOLDER = ROOT / "axolotl_dmt/plan"
TESTS = "tests/plan"
RECORD = ROOT / "outputs/mutants.jsonl"
EQUIVALENT = ROOT / TESTS / "equivalent_mutants.yaml"
# These start a Python of their own, which imports the package without the fault.
STARTS_A_PROCESS = (
    f"{TESTS}/test_compiler.py::test_a_plan_needs_neither_torch_nor_axolotl",
    f"{TESTS}/test_properties.py::"
    "test_processes_with_other_hash_seeds_and_threads_compile_the_same_plan",
)
WHOLE_PLANS = tuple(
    f"{TESTS}/test_{name}.py"
    for name in ("inputs", "start_stage", "compiler", "compiler_hooks", "packs", "properties")
)
MEMORY = 4 << 30


@dataclass(frozen=True)
class Mutant:
    """One fault: a changed line of a module.

    Attributes:
        module: the name of the module within the package.
        function: the name of the function around the line; empty outside of functions.
        line: the number of the line, from 1.
        before: the line as it is, without indentation.
        after: the line with the fault; the lines in its place, if it became several.
        source: the whole module with the fault.
    """

    module: str
    function: str
    line: int
    before: str
    after: str
    source: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.module}\n{self.source}".encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.module}.py:{self.line}\n  - {self.before}\n  + {self.after}"


class Place(NamedTuple):
    """A place in a module, and the operators that change it in one way or another.

    Attributes:
        module: the name of the module.
        key: the kind of change and the position, which the seed's draw depends on.
        choices: an operator, and which of its occurrences in the module is meant.
    """

    module: str
    key: str
    choices: list[tuple[Any, int]]


def places_of(module: str) -> list[Place]:
    """Return each place and kind of change of a module, without those in annotations."""
    source = (FOLDER / f"{module}.py").read_text()
    annotations = annotation_spans(source)
    nodes = list(ast_nodes(get_ast(source)))
    places: dict[str, list[tuple[Any, int]]] = defaultdict(list)
    for name in sorted(cosmic_ray.plugins.operator_names()):
        kind, _, replacement = name.rpartition("/")[2].partition("_")
        operator_class = cosmic_ray.plugins.get_operator(name)
        # Whether equal numbers and texts are one object is up to the interpreter.
        if operator_class.arguments() or replacement.endswith(("_Is", "_IsNot")):
            continue
        operator = operator_class()
        positions = (
            position for node in nodes for position, _ in operator.mutation_positions(node)
        )
        for occurrence, position in enumerate(positions):
            if not any(start <= position < end for start, end in annotations):
                key = f"{kind}_{replacement.partition('_')[0]} {position}"
                places[key].append((operator, occurrence))
    return [Place(module, key, choices) for key, choices in sorted(places.items())]


def mutant_at(place: Place, seed: int) -> Mutant | None:
    """Return the mutant that the seed draws for a place; None if no change of it is valid."""
    source = (FOLDER / f"{place.module}.py").read_text()
    draw = random.Random(f"{seed}/{place.module}/{place.key}")
    for operator, occurrence in draw.sample(place.choices, len(place.choices)):
        changed = mutate_code(source, operator, occurrence)
        if changed is not None and is_valid(changed):
            return described(place.module, source, changed)
    return None


def annotation_spans(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return where annotations start and end; they are never evaluated."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.expr):
                end = (part.end_lineno or 0, part.end_col_offset or 0)
                found.append(((part.lineno, part.col_offset), end))
    return found


def is_valid(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def described(module: str, source: str, changed: str) -> Mutant:
    before, after = source.splitlines(), changed.splitlines()
    first = next(
        (i for i, pair in enumerate(zip(before, after, strict=False)) if len(set(pair)) > 1), 0
    )
    tail = 0
    while before[-1 - tail] == after[-1 - tail] and tail < len(before) - first - 1:
        tail += 1
    lines = " ".join(line.strip() for line in after[first : len(after) - tail])
    function = function_at(source, first + 1)
    return Mutant(module, function, first + 1, before[first].strip(), lines, changed)


def function_at(source: str, line: int) -> str:
    """Return the name of the outermost function around a line, or an empty string."""
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    around = (f.name for f in functions if f.lineno <= line <= (f.end_lineno or 0))
    return next(around, "")


class WithFault(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Imports one module from changed source; everything else is imported as usual."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"{PACKAGE}.{mutant.module}", str(FOLDER / f"{mutant.module}.py"))
        self.mutant = mutant

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=self.path)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.mutant.source, self.path, "exec")


def run_tests(modules: Sequence[str], mutant: Mutant | None, seconds: int) -> NoReturn:
    """Run the tests of some modules, and of whole plans, in this fork, and exit.

    Args:
        modules: names of modules.
        mutant: the fault to import, if any.
        seconds: the CPU time that the tests may take.
    """
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if mutant is not None:
        sys.meta_path.insert(0, WithFault(mutant))
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    options += [part for test in STARTS_A_PROCESS for part in ("--deselect", test)]
    own = [f"{TESTS}/test_{module}.py" for module in modules]
    others = [test for test in WHOLE_PLANS if test not in own]
    code = 1
    try:
        code = pytest.main([*options, *own]) or pytest.main([*options, *others])
    finally:
        os._exit(int(code))


def start(modules: Sequence[str], mutant: Mutant | None, seconds: int) -> int:
    sys.stdout.flush()
    child = os.fork()
    if not child:
        run_tests(modules, mutant, seconds)
    return child


def baseline(modules: Sequence[str]) -> int:
    """Run the tests without a fault, and return the CPU seconds that one with a fault may take."""
    child = start(modules, None, 3600)
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit("the tests fail without a fault")
    return int(3 * (used.ru_utime + used.ru_stime)) + 10


def run_all(mutants: list[Mutant], workers: int, seconds: int) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant with whether a test noticed it, in the order in which they end."""
    waiting, running = mutants[::-1], dict[int, tuple[Mutant, float]]()
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.pop()
            running[start([mutant.module], mutant, seconds)] = (mutant, time.monotonic())
        for child, (mutant, started) in list(running.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                del running[child]
                yield mutant, status != 0
            elif time.monotonic() - started > 20 * seconds:  # it waits without using the CPU
                os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)


def without_equivalent(mutants: list[Mutant]) -> list[Mutant]:
    """Return the mutants that are not listed as equivalent."""
    entries = yaml.safe_load(EQUIVALENT.read_text()) if EQUIVALENT.exists() else []
    left = [m for m in mutants if not any(matches(entry, m) for entry in entries)]
    print(f"{len(mutants)} mutants, {len(mutants) - len(left)} of them equivalent", flush=True)
    return left


def matches(entry: dict[str, Any], mutant: Mutant) -> bool:
    if entry.get("module", mutant.module) != mutant.module:
        return False
    if "function" in entry:
        return entry["function"] == mutant.function
    if "replaces" in entry:
        return mutant.after == mutant.before.replace(entry["replaces"], entry["by"])
    return entry["line"] == mutant.before and mutant.after in entry.get("becomes", [mutant.after])


def known_results() -> dict[str, bool]:
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    return {entry["digest"]: entry["noticed"] for entry in map(json.loads, lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", action="append", help="test this module only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sample", type=int, help="test this many mutants, drawn by the seed")
    parser.add_argument("--at-least", type=float, default=95.0, help="per cent to be noticed")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.modules["numba"] = None  # type: ignore[assignment]  # compiling takes longer than the tests
    # A failure is enough: the smallest example for it is not needed.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutants", database=None, derandomize=True, phases=phases, deadline=None
    )
    hypothesis.settings.load_profile("mutants")
    modules = arguments.module or sorted(
        path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"
    )
    places = [place for module in modules for place in places_of(module)]
    if arguments.sample is not None:
        places = random.Random(arguments.seed).sample(places, min(arguments.sample, len(places)))
    drawn = (mutant_at(place, arguments.seed) for place in places)
    mutants = without_equivalent([mutant for mutant in drawn if mutant is not None])
    results = known_results()
    open_ones = [mutant for mutant in mutants if not results.get(mutant.digest)]
    seconds = baseline(modules)
    RECORD.parent.mkdir(exist_ok=True)
    with RECORD.open("a") as record:
        for done, (mutant, noticed) in enumerate(
            run_all(open_ones, arguments.workers, seconds), start=1
        ):
            results[mutant.digest] = noticed
            entry = {**asdict(mutant), "digest": mutant.digest, "noticed": noticed}
            del entry["source"]
            record.write(json.dumps(entry) + "\n")
            record.flush()
            if not noticed:
                print(f"{done}/{len(open_ones)} NOT NOTICED {mutant}", flush=True)
    print("\n| module | mutants | noticed |\n|---|---|---|")
    for module in [*modules, "all"]:
        part = [mutant for mutant in mutants if module in (mutant.module, "all")]
        noticed_count = sum(results[mutant.digest] for mutant in part)
        share = 100 * noticed_count / max(len(part), 1)
        print(f"| {module} | {len(part)} | {noticed_count} ({share:.1f}%) |")
    sys.exit(share < arguments.at_least)


if __name__ == "__main__":
    main()
