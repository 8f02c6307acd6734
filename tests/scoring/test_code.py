"""Correct answers of every shape pass, wrong ones fail, and passes are counted without bias."""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt import sandbox
from axolotl_dmt.scoring import code, sources
from tests.mistakes import expect_error
from tests.public_data import public_file

ROOT = Path(__file__).parents[2]
PROMPT = 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """Add them up."""\n'
TESTS = """
def check(candidate):
    assert candidate([]) == 0
    assert candidate([1, 2]) == 3
"""

# Tasks in HumanEval's format, for tests that do not need its data.
SMALL: list[dict[str, Any]] = [
    {
        "task_id": "small/0",
        "prompt": PROMPT,
        "entry_point": "total",
        "test": TESTS,
        "canonical_solution": "    return sum(xs)\n",
    },
    {
        "task_id": "small/1",
        "prompt": 'def twice(x):\n    """Double it."""\n    return 2 * x\n\n\n'
        'def half(x):\n    """The number that twice() makes x of."""\n',
        "entry_point": "half",
        "test": "def check(candidate):\n"
        "    for x in range(5):\n        assert twice(candidate(x)) == x\n",
        "canonical_solution": "    return x / 2\n",
    },
    {
        "task_id": "small/2",
        "prompt": "def roots(a, b):\n",
        "entry_point": "roots",
        "test": "def check(candidate):\n    x, y = candidate(2, 3)\n    assert {x, y} == {2, 3}\n",
        "canonical_solution": "    import math\n    return (a, math.floor(b))\n",
    },
]
BROKEN = ("    return None\n", "    pass\n")


def verdicts(rows: list[dict[str, Any]], answers: list[str]) -> list[bool]:
    programs = [code.humaneval_program(row, text) for row, text in zip(rows, answers, strict=True)]
    outcomes = sandbox.run_programs(programs, timeout=20, allow_unsafe_code=True)
    return [outcome.passed for outcome in outcomes]


def passes(answer: str) -> bool:
    return verdicts(SMALL[:1], [answer]) == [True]


# Correct and broken answers


def test_correct_solutions_pass_and_broken_ones_fail() -> None:
    assert verdicts(SMALL, [row["canonical_solution"] for row in SMALL]) == [True] * 3
    for broken in BROKEN:
        assert verdicts(SMALL, [broken] * 3) == [False] * 3


def humaneval() -> list[dict[str, Any]]:
    lines = public_file("humaneval.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_humaneval_solution_passes() -> None:
    rows = humaneval()
    passed = verdicts(rows, [row["canonical_solution"] for row in rows])
    assert len(rows) == 164
    assert [row["task_id"] for row, fine in zip(rows, passed, strict=True) if not fine] == []


@pytest.mark.parametrize("broken", BROKEN)
def test_every_broken_humaneval_body_fails(broken: str) -> None:
    rows = humaneval()
    passed = verdicts(rows, [broken] * len(rows))
    assert [row["task_id"] for row, fine in zip(rows, passed, strict=True) if fine] == []


# From answer to program

CORRECT = {
    "a body": "    return sum(xs)\n",
    "a body and the next function": "    return sum(xs)\n\n\ndef other(x):\n    oh no\n",
    "a body and a call": "    return sum(xs)\nprint(total([1]))\n",
    "a body and a main block": "    return sum(xs)\n\nif __name__ == '__main__':\n    1/0\n",
    "a body and a stray fence": "    return sum(xs)\n```\nThis adds them up.",
    "a body over several lines": """\
    n = 0

    # add
    for x in xs:
        n += x
    return n
""",
    "a body whose first line lost a space": "   return sum(xs)\n",
    "a body whose first line lost its indentation": "n = sum(xs)\n    return n\n",
    "a loop whose first line lost its indentation": """\
for x in [1]:
        n = sum(xs)
    return n
""",
    "a body that lost all indentation": "n = 0\nfor x in xs:\n    n += x\nreturn n\n",
    "a body after an empty line": "\n    return sum(xs)\n",
    "a body after the space of a chat template": " return sum(xs)",
    "a fenced function": """\
 Sure!
```python
def total(xs):
    return sum(xs)
```
Hope it helps.""",
    "a fenced function that needs the prompt's import": """\
```python
def total(xs: List[int]) -> int:
    return sum(xs)
```""",
    "a fenced function and a second fence": """\
```py
def total(xs):
    return sum(xs)
```
Use it:
```python
print(total(1))
```""",
    "a fence that is not closed": "```python\ndef total(xs):\n    return sum(xs)\n",
    "a fence with a helper after it": """\
```
def total(xs):
    return add(xs)

def add(xs):
    return sum(xs)
```""",
    "a fenced body": "```python\n    return sum(xs)\n```",
    "a fenced body without indentation": "```python\nreturn sum(xs)\n```",
    "an indented fence": "1. So:\n   ```python\ndef total(xs):\n    return sum(xs)\n   ```",
    "a bare function": "def total(xs):\n    return sum(xs)\n",
    "a bare function after the space of a chat template": " def total(xs):\n    return sum(xs)",
    "a bare function in prose": """\
Here it is:

import math

def total(xs):
    return sum(xs)

It adds them up.""",
    "a bare function with a helper": """\
def add(xs):
    return sum(xs)

def total(xs):
    return add(xs)
""",
}


def test_correct_answers_of_every_shape_pass() -> None:
    rows = [SMALL[0]] * len(CORRECT)
    passed = dict(zip(CORRECT, verdicts(rows, list(CORRECT.values())), strict=True))
    assert [shape for shape, fine in passed.items() if not fine] == []


def test_wrong_answers_of_every_shape_fail() -> None:
    answers = [
        text.replace("sum(xs)", "len(xs)").replace("+= x", "+= 1") for text in CORRECT.values()
    ]
    passed = verdicts([SMALL[0]] * len(answers), answers)
    assert passed == [False] * len(answers)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot.",
        "```python\n```",
        "    return (\n",
        "    while True:\n        return 3\n",
        "\0",
    ],
)
def test_an_answer_without_a_program_fails_without_an_error(answer: str) -> None:
    assert not passes(answer)


def test_an_answer_that_replaces_the_check_function_fails() -> None:
    cheat = "    return 0\n\n\ncheck = lambda candidate: None\n"
    assert not passes(cheat)
    assert not passes(f"```python\ndef total(xs):\n{cheat}```")


# MBPP

MBPP = {
    "task_id": 1,
    "text": "Write a function to find the shared items of two tuples.",
    "code": "def shared(a, b):\r\n  return tuple(set(a) & set(b))",
    "test_list": ["assert sorted(shared((1, 2), (2, 3))) == [2]", "assert shared((), (1,)) == ()"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
MBPP_MODULE = {
    **MBPP,
    "code": "import math\ndef rad(x): return math.radians(x)",
    "test_list": ["assert math.isclose(rad(180), 3.14159, rel_tol=0.001)"],
}
MBPP_CLASS = {
    **MBPP,
    "code": "class Node:\n  def __init__(self, v): self.v = v\ndef value(n): return n.v",
    "test_list": ["assert value(root) == 3"],
    "test_setup_code": "root = Node(3)",
}


def test_correct_mbpp_answers_of_every_shape_pass_and_wrong_ones_fail() -> None:
    rows = [MBPP, MBPP_MODULE, MBPP_CLASS]
    right = [row["code"] for row in rows]
    shown = [f"[BEGIN]\n{text}\n[DONE]\nmore" for text in right]
    fenced = [f"Sure:\n```python\n{text}\n```\n" for text in right]
    wrong = ["def shared(a, b): return a", "def rad(x): return x", "class Node: pass"]
    for answers, expected in ((right, True), (shown, True), (fenced, True), (wrong, False)):
        judged = code.run_answers([[text] for text in answers], rows)
        assert [verdict["passed"] for (verdict,) in judged] == [expected] * 3


def test_a_missing_module_is_reported_apart_from_wrong_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = ["import numpy.linalg\ndef rad(x): return x", "def rad(x): return 0"]
    ((absent, wrong),) = code.run_answers([answers], [MBPP_MODULE])
    assert not absent["passed"] and absent["missing_module"] == "numpy"
    assert not wrong["passed"] and wrong["missing_module"] == ""
    assert "1 of 2" in caplog.text and "numpy (1)" in caplog.text
    assert code.scores([absent, wrong])["missing_module"] == 0.5


def test_mbpp_solutions_pass() -> None:
    rows = [json.loads(line) for line in public_file("mbpp.jsonl").read_text().splitlines()]
    assert len(rows) == 974
    special = {126, 367, 533, 596, 601, 927}  # all but these call one function with plain values
    rows = [row for row in rows if row["task_id"] in special or row["task_id"] % 25 == 0]
    judged = code.run_answers([[row["code"]] for row in rows], rows)
    failed = [
        row["task_id"]
        for row, (verdict,) in zip(rows, judged, strict=True)
        if not verdict["passed"]
    ]
    assert failed == []


@pytest.mark.slow
def test_every_mbpp_solution_of_the_whole_file_passes() -> None:
    rows = [json.loads(line) for line in public_file("mbpp.jsonl").read_text().splitlines()]
    judged = code.run_answers([[row["code"]] for row in rows], rows)
    assert sum(verdict["passed"] for (verdict,) in judged) == 974


def test_an_mbpp_question_contains_its_tests() -> None:
    question = code.mbpp_question(MBPP)
    assert question.startswith("Write a function") and all(t in question for t in MBPP["test_list"])


# Metrics


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_pass_at_k_is_the_mean_over_all_choices_of_k_answers(n: int) -> None:
    for passed in range(n + 1):
        for k in range(1, n + 1):
            draws = list(combinations([i < passed for i in range(n)], k))
            expected = sum(any(draw) for draw in draws) / len(draws)
            assert code.pass_at_k(n, passed, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "passed", "k"), [(1, 0, 2), (3, 4, 1), (3, 1, 0), (0, 0, 1)])
def test_pass_at_k_with_impossible_counts_is_a_value_error(n: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k}"):
        code.pass_at_k(n, passed, k)


def test_pass_at_larger_k_is_reported_with_enough_answers() -> None:
    assert code.scores([{"passed": True}]) == {"dmt_score": 1.0, "missing_module": 0.0}
    metrics = code.scores([{"passed": i == 0} for i in range(20)])
    expected = {"dmt_score": 0.05, "pass@10": 0.5, "pass@20": 1.0, "missing_module": 0.0}
    assert metrics == pytest.approx(expected)


# Settings


def write(rows: list[dict[str, Any]], file: Path) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


@pytest.fixture
def only_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a machine without namespaces and bubblewrap."""
    from axolotl_dmt.sandbox import harness

    monkeypatch.setattr(harness, "available_level", lambda: sandbox.Level.RLIMITS)
    monkeypatch.delenv("DMT_ALLOW_UNSAFE_CODE", raising=False)


def test_an_unsafe_sandbox_is_refused_before_rows_are_loaded(only_limits: None) -> None:
    with expect_error("dmt.evaluate.allow_unsafe_code", "--confirm_run_unsafe_code"):
        code.dataset(dmt_code_data="/no/such/file.jsonl")


@pytest.mark.parametrize("way", ["metadata", "environment", "flag"])
def test_unsafe_code_can_be_allowed(
    only_limits: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    metadata: dict[str, Any] = {"dmt_code_data": write(SMALL, tmp_path / "rows.jsonl")}
    if way == "metadata":
        metadata["allow_unsafe_code"] = True
    elif way == "environment":
        monkeypatch.setenv("DMT_ALLOW_UNSAFE_CODE", "true")
    else:
        monkeypatch.setattr(sys, "argv", ["lm_eval", "--confirm_run_unsafe_code"])
    record: dict[str, Any] = {}
    assert len(code.dataset(record=record, **metadata)["test"]) == 3
    assert record["sandbox"].startswith("rlimits")


# In lm-eval


def evaluate(tmp_path: Path, task: str, rows: list[dict[str, Any]], **metadata: Any) -> Any:
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager, get_task_dict

    repeats = metadata.pop("repeats", 1)
    answers = {code.mbpp_question(row) if "text" in row else row["prompt"]: row for row in rows}

    class Scripted(LM):  # type: ignore[misc]
        """Answers all questions correctly but the last, which it does every other time."""

        prompts: list[str]

        def __init__(self) -> None:
            super().__init__()
            self.prompts = []

        def generate_until(self, requests: list[Any], **_: Any) -> list[str]:
            for request in requests:
                self.prompts.append(request.args[0])
                assert request.args[1]["max_gen_toks"] == 77
            last = [*answers][-1]
            texts = []
            for number, prompt in enumerate(self.prompts):
                row = next(r for question, r in answers.items() if question.strip() in prompt)
                right = row is not answers[last] or (repeats > 1 and number % 2 == 0)
                texts.append(
                    row.get("canonical_solution") or row["code"] if right else "    pass\n"
                )
            return texts

        def loglikelihood(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    metadata["dmt_max_gen_toks"] = 77
    metadata[f"{task}_data"] = write(rows, tmp_path / "rows.jsonl")
    metadata["allow_unsafe_code"] = True
    manager = TaskManager(
        include_path=str(ROOT / "eval_tasks"), include_defaults=False, metadata=metadata
    )
    loaded_task = get_task_dict([task], manager)[task]
    loaded_task.set_config("repeats", repeats)
    model = Scripted()
    result = simple_evaluate(model=model, tasks=[loaded_task], task_manager=manager)
    return result, model.prompts


def test_lm_eval_scores_dmt_code(tmp_path: Path) -> None:
    result, prompts = evaluate(tmp_path, "dmt_code", SMALL)
    scores = result["results"]["dmt_code"]
    assert scores["dmt_score,none"] == pytest.approx(2 / 3)
    assert scores["dmt_score_stderr,none"] == pytest.approx(1 / 3)
    # The model continues the bare prompt.
    assert prompts == [row["prompt"] for row in SMALL]
    recorded = result["configs"]["dmt_code"]["dataset_kwargs"]["record"]["sandbox"]
    assert recorded == sandbox.describe(sandbox.require_level(allow_unsafe_code=True))
    (judged,) = result["samples"]["dmt_code"][2]["filtered_resps"][0]
    assert judged["status"] == "failed"


def test_lm_eval_reports_pass_at_k_for_repeated_answers(tmp_path: Path) -> None:
    result, _ = evaluate(tmp_path, "dmt_code", SMALL, repeats=4)
    scores = result["results"]["dmt_code"]
    assert scores["dmt_score,none"] == pytest.approx(2.5 / 3)
    assert scores["pass@4,none"] == pytest.approx(1.0)
    assert "pass@4_stderr,none" in scores


def test_lm_eval_scores_dmt_code_mbpp(tmp_path: Path) -> None:
    result, prompts = evaluate(tmp_path, "dmt_code_mbpp", [MBPP, MBPP_MODULE, MBPP_CLASS])
    assert result["results"]["dmt_code_mbpp"]["dmt_score,none"] == pytest.approx(2 / 3)
    assert prompts[0] == code.mbpp_question(MBPP)


def test_the_question_is_rendered_into_the_training_prompt(tmp_path: Path) -> None:
    _, prompts = evaluate(tmp_path, "dmt_code", SMALL, dmt_prompt="vicuna")
    vicuna = sources.TEMPLATES["vicuna"]
    assert prompts == [vicuna.render(row["prompt"]) for row in SMALL]
