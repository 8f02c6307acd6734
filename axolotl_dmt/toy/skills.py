"""Generate rows of three skills that a tiny model can learn in minutes and a program can check.

* math: word problems of two steps, answered as in GSM8K: the steps, then `#### N`;
* code: the body of a tiny Python function, given its `def` line and docstring, as in HumanEval;
* general: an instruction about four words, as in IFEval.

The skills share one small vocabulary, so that learning one skill degrades another, as in a large
model. A held-out item differs from every training row in its question, not only in the names in it:
no training row has the same combination of numbers (math, code) or words (general).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from axolotl_dmt.errors import DMTError

NAMES = ("Ana", "Ben", "Eva", "Leo", "Mia", "Sam", "Tom", "Zoe")
THINGS = ("books", "cards", "coins", "cups", "eggs", "keys", "pens", "shells")
VERBS = ("count", "find", "give", "pack", "take")

_MOST_REPEATS: Final = 100_000
"""After so many draws without a new item, there are taken to be no others."""

Row = dict[str, Any]


class Item(NamedTuple):
    """One item of a skill.

    Attributes:
        key: The question without its wording and names; no key is in both training and test rows.
        prompt: The text that the model continues.
        train: The row in the format of the training data.
        test: The row in the format of the scorer.
    """

    key: tuple[object, ...]
    prompt: str
    train: Row
    test: Row


def math_item(rng: random.Random) -> Item:
    """Draw a word problem of two steps and its worked answer, in GSM8K's format."""
    name, other = rng.sample(NAMES, 2)
    thing = rng.choice(THINGS)
    boxes = rng.random() < 0.3
    if boxes:
        a, b = rng.randint(2, 5), rng.randint(2, 5)
        start = f"{name} has {a} boxes of {b} {thing}"
        first, held = f"{a} * {b}", a * b
    else:
        a, b = rng.randint(2, 20), rng.randint(2, 9)
        start = f"{name} has {a} {thing} and finds {b} more"
        first, held = f"{a} + {b}", a + b
    more = rng.random() < 0.5
    c = rng.randint(2, min(6, held - 1))
    if more:
        change, sign, total = f"{other} brings {c} more", "+", held + c
    else:
        change, sign, total = f"{other} takes {c}", "-", held - c
    question = f"{start}. Then {change}. How many {thing} are there?"
    answer = f"{first} = {held}\n{held} {sign} {c} = {total}\n#### {total}"
    row = {"question": question, "answer": answer}
    return Item((boxes, more, a, b, c), question, row, row)


class _Function(NamedTuple):
    """A kind of function: its docstring, its expression, and a separate implementation."""

    doc: str
    expression: str
    meaning: Callable[[Any, int, int], object]
    takes_list: bool = False


# `meaning` is written independently of `expression`, so that tests can check the training text.
FUNCTIONS = (
    _Function(
        "Add {a} to {x}, then multiply by {b}.",
        "({x} + {a}) * {b}",
        lambda x, a, b: b * (x + a),
    ),
    _Function(
        "Take {a} from {x}, then multiply by {b}.",
        "({x} - {a}) * {b}",
        lambda x, a, b: b * (x - a),
    ),
    _Function(
        "Multiply {x} by {a}, then add {b}.",
        "{x} * {a} + {b}",
        lambda x, a, b: b + a * x,
    ),
    _Function(
        "Multiply {x} by {a}, then take {b}.",
        "{x} * {a} - {b}",
        lambda x, a, b: a * x - b,
    ),
    _Function(
        "Say if {x} is more than {a} and less than {b}.",
        "{a} < {x} < {b}",
        lambda x, a, b: x in range(a + 1, b),
    ),
    _Function(
        "Give the last {a} {x}, then the first {b}.",
        "{x}[-{a}:] + {x}[:{b}]",
        lambda x, a, b: [x[i] for i in [*range(len(x) - a, len(x)), *range(b)]],
        takes_list=True,
    ),
)


def code_item(rng: random.Random) -> Item:
    """Draw a function to complete and its tests, in HumanEval's format."""
    index = rng.randrange(len(FUNCTIONS))
    kind = FUNCTIONS[index]
    thing = rng.choice(THINGS)
    name = f"{rng.choice(VERBS)}_{thing}"
    cases: list[Any]
    if kind.takes_list:
        x, a, b = "items", rng.randint(2, 9), rng.randint(2, 9)
        cases = [[*range(length)] for length in (9, 12)]
    else:
        x, a, b = rng.choice(("n", "x", "number")), rng.randint(2, 19), rng.randint(2, 19)
        cases = [0, a + 1, a + b]
    prompt = f'def {name}({x}):\n    """{kind.doc.format(x=x, a=a, b=b)}"""\n'
    body = f"    return {kind.expression.format(x=x, a=a, b=b)}\n"
    asserts = [f"    assert candidate({case}) == {kind.meaning(case, a, b)}\n" for case in cases]
    test = {
        "task_id": "",
        "prompt": prompt,
        "canonical_solution": body,
        "test": "def check(candidate):\n" + "".join(asserts),
        "entry_point": name,
    }
    train = {"prompt": prompt, "completion": body}
    return Item((index, a, b), prompt, train, test)


INSTRUCTIONS: tuple[tuple[str, Callable[[list[str]], str]], ...] = (
    ("Say the words in reverse", lambda words: " ".join(reversed(words))),
    ("Say the words in capitals", lambda words: " ".join(words).upper()),
    ("Say each word two times", lambda words: " ".join(word for word in words for _ in range(2))),
    ("Say the words without the first", lambda words: " ".join(words[1:])),
)


def general_item(rng: random.Random) -> Item:
    """Draw an instruction about four words, in IFEval's format."""
    index = rng.randrange(len(INSTRUCTIONS))
    instruction, follow = INSTRUCTIONS[index]
    words = rng.sample([*NAMES, *THINGS], 4)
    prompt = f"{instruction}: {' '.join(words)}"
    response = follow(words)
    test = {
        "key": 0,
        "prompt": prompt,
        "instruction_id_list": ["dmt:equals"],
        "kwargs": [{"text": response}],
    }
    return Item((index, *words), prompt, {"prompt": prompt, "response": response}, test)


SKILLS: dict[str, Callable[[random.Random], Item]] = {
    "math": math_item,
    "code": code_item,
    "general": general_item,
}


def make_rows(skill: str, *, train: int, test: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Make the training rows and held-out items of a skill.

    Args:
        skill: A key of `SKILLS`.
        train: The number of training rows; no two of them have the same prompt.
        test: The number of held-out items; no two of them, and no training row, ask the same.
        seed: The same seed gives the same rows on every machine.

    Returns:
        The training rows and the held-out items.

    Raises:
        DMTError: there are not that many different ones.
    """
    draw = SKILLS[skill]
    rng = random.Random(f"{skill} {seed}")  # Random hashes a string the same way in every process
    held_out: dict[tuple[object, ...], Row] = {}
    rows: dict[str, Row] = {}
    since_new = 0
    while len(held_out) < test or len(rows) < train:
        before = len(held_out) + len(rows)
        item = draw(rng)
        if len(held_out) < test:
            held_out.setdefault(item.key, item.test)
        elif item.key not in held_out:
            rows.setdefault(item.prompt, item.train)
        since_new = 0 if len(held_out) + len(rows) > before else since_new + 1
        if since_new == _MOST_REPEATS:
            problem = f"{len(held_out):,} items and {len(rows):,} rows are all that there are"
            raise DMTError(skill, problem, f"ask for fewer than {test:,} items and {train:,} rows")
    tests = [*held_out.values()]
    for number, row in enumerate(tests):
        if skill == "code":
            row["task_id"] = f"toy/{number}"
        elif skill == "general":
            row["key"] = number
    return [*rows.values()], tests
