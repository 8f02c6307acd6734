"""Tests use a program's objects, and pass their own, without the program reaching the tests."""

from __future__ import annotations

import sys

import pytest

from axolotl_dmt.sandbox import Level
from tests.sandbox.running import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux")


def test_a_test_sees_the_changes_of_its_arguments(level: Level) -> None:
    code = """
from collections import deque
def sort(xs): xs.sort()
def extend(xs, table, names, queue):
    xs[0].append(3); table["a"] = xs[0]; names.discard("b"); queue.append(1)
"""
    tests = """
xs = [3, 1, 2]
assert sort(xs) is None and xs == [1, 2, 3]
from collections import deque
inner, table, names, queue = [1], {"b": 2}, {"a", "b"}, deque()
extend([inner], table=table, names=names, queue=queue)
assert inner == [1, 3] and table == {"b": 2, "a": [1, 3]} and names == {"a"}
assert queue == deque([1])
"""
    assert run(level, code, tests, "sort", "extend").passed
    assert not run(level, code.replace("xs.sort()", "sorted(xs)"), tests, "sort", "extend").passed


def test_objects_of_the_programs_classes_can_be_used_and_passed_back(level: Level) -> None:
    code = """
class Node:
    count = 0
    def __init__(self, value): self.value, self.left = value, None; Node.count += 1
    def add(self, n): self.value += n; return self
    def __eq__(self, other): return isinstance(other, Node) and self.value == other.value
    def __hash__(self): return hash(self.value)
    def __len__(self): return 7
    def __str__(self): return f"<{self.value}>"
    def __getitem__(self, i): return self.value * i
    def __add__(self, other): return Node(self.value + other.value)
    def __iter__(self): return iter([self.value, 9])
def total(node): return node.value + (total(node.left) if node.left else 0)
def largest(nodes): return max(nodes, key=lambda node: node.value)
"""
    tests = """
root = Node(1)
root.left = Node(2)
assert total(root) == 3 and root.left.value == 2 and Node.count == 2
assert root.add(4) is root and root.value == 5
assert largest([root, root.left]) is root
assert isinstance(root, Node) and not isinstance(3, Node)
assert root == Node(5) and root != Node(6) and root in [Node(5)] and root != 5
assert len({Node(1), Node(1)}) == 1
assert len(root) == 7 and str(root) == "<5>" and root[3] == 15 and list(root) == [5, 9]
assert (root + Node(1)).value == 6
try:
    root.missing
except AttributeError:
    pass
else:
    assert False
"""
    outcome = run(level, code, tests, "Node", "total", "largest")
    assert outcome.passed, outcome


def test_functions_and_types_can_be_passed_and_returned(level: Level) -> None:
    code = """
def apply(f, xs): return [f(x) for x in xs]
def compose(f, g): return lambda x: f(g(x))
def only(xs, kind): return [x for x in xs if isinstance(x, kind)]
def kind(x): return type(x)
def guarded(f):
    try:
        return f()
    except ZeroDivisionError as error:
        return str(error)
"""
    tests = """
class Point:
    def __init__(self): self.x = 4
    def twice(self): return 2 * self.x
assert apply(lambda x: x + 1, [1, 2]) == [2, 3] and apply(str.upper, ["a"]) == ["A"]
assert apply(lambda p: p.twice(), [Point()]) == [8]
assert compose(lambda x: x + 1, abs)(-3) == 4
assert only([1, "a"], str) == ["a"] and kind(2) is int and kind(None) is type(None)
assert guarded(lambda: 1 / 0) == "division by zero"
"""
    outcome = run(level, code, tests, "apply", "compose", "only", "kind", "guarded")
    assert outcome.passed, outcome


def test_exceptions_of_the_program_keep_their_base_and_arguments(level: Level) -> None:
    code = """
class Refused(ValueError): pass
def refuse(): raise Refused("no", 3)
def look(): return {}["k"]
"""
    tests = """
try: refuse()
except ValueError as error: assert error.args == ("no", 3)
try: look()
except KeyError as error: assert error.args == ("k",)
refuse()
"""
    assert run(level, code, tests, "refuse", "look").reason == "Refused: ('no', 3)"


@pytest.mark.parametrize(
    "attempt",
    [
        "f.__globals__['answer'] = 0",
        "f.__code__ = (lambda: 0).__code__",
        "f.x = 1",
        "f.__self__",
        "f._Remote__link.request('getattr', f._Remote__key, ('__globals__',))['answer'] = 0",
    ],
)
def test_the_program_cannot_reach_the_tests_through_what_they_pass_to_it(
    level: Level, attempt: str
) -> None:
    code = f"""
def reach(f):
    try:
        {attempt}
    except (AttributeError, TypeError):
        return "refused"
"""
    tests = "answer = 5\nassert reach(lambda: answer) == 'refused' and answer == 5"
    assert run(level, code, tests, "reach").passed


def test_an_object_cannot_equal_a_plain_value_by_its_operators(level: Level) -> None:
    code = """
class Any:
    def __eq__(self, other): return True
    __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __eq__
    def __sub__(self, other): return 0
    __rsub__ = __abs__ = __sub__
def f(): return Any()
"""
    for test in ("f() == 5", "5 == f()", "abs(f() - 5) < 1", "f() < 5", "5 in f()", "5 - f() == 0"):
        assert run(level, code, f"assert {test}", "f").status == "failed", test


def test_a_program_does_not_inherit_future_imports(level: Level) -> None:
    assert run(level, "def f(x: Undefined): return x").reason.startswith("NameError")
    code = "from __future__ import annotations\ndef f(x: Undefined): return x"
    assert run(level, code, "assert f(1) == 1", "f").passed
