r"""Expressions are read from every notation and compared by their value."""

from __future__ import annotations

import json
import os
import random
import re
import signal

import pytest

from axolotl_dmt.scoring import expression_worker, expressions
from axolotl_dmt.scoring.boxes import last_boxed
from axolotl_dmt.scoring.expression_answers import final_expression
from axolotl_dmt.scoring.expressions import equivalent
from axolotl_dmt.scoring.math_hard import process_results
from axolotl_dmt.scoring.notation import plain_latex
from tests.mistakes import expect_error
from tests.public_data import public_file

EQUAL = [
    (r"\frac{\sqrt{2}}{2}", "1/sqrt(2)"),
    ("(1, 2]", r"\left(1,2\right]"),
    ("3,-1", "-1, 3"),
    (r"\dfrac12", "0.5"),
    (r"1\frac{1}{2}", "3/2"),
    ("x=5", "5"),
    ("1,000", "1000"),
    (r"5\text{ cm}", "5"),
    (r"\text{Monday}", "monday"),
    (r"\text{(A)}", "(A)"),
    (r"3\pm\sqrt{2}", r"3-\sqrt2, 3+\sqrt2"),
    ("x^2+2x+1", "(x+1)^2"),
    (r"\{1,2\}", r"\{2,1\}"),
    (r"90^\circ", "90"),
    (r"\sqrt[3]{8}", "2"),
    (r"\log_2 8", "3"),
    (r"\sin^2 x+\cos^2 x", "1"),
    (r"e^{i\pi}", "-1"),
    (r"x \in [1,2]", "[1,2]"),
    (r"1\text{ and }2", "2,1"),
    (r"\sqrt{12}", r"2\sqrt{3}"),
    (r"\frac{3}{4}\pi", r"\frac{3\pi}{4}"),
    ("-2^2", "-4"),
    ("5!", "120"),
    (r"\tan 45^\circ", "1"),
    (r"\frac \pi4", r"\frac{\pi}{4}"),
    (r"1.5 \times 10^{-12}", r"\frac{3}{2} \times 10^{-12}"),
]
UNEQUAL = [
    ("1", "2"),
    ("(1,2)", "(2,1)"),
    ("[1,2]", "(1,2)"),
    ("0.333", "1/3"),
    ("0.333333", "1/3"),
    ("x", "y"),
    ("x=3", "y=3"),
    ("|x|", "x"),
    ("|x+2|", "x+2"),
    ("", "1"),
    (r"\infty", "5"),
    ("1,2", "1,2,3"),
    ("1/0", "1"),
    (r"\frac{3}{0}", r"\frac{3}{5}"),
    ("5xyz", "5"),
    ("5c", "5"),
    ("5", "5t"),
    ("R", "r"),
    (r"\frac{4}{200!}", r"\frac{1}{200!}"),
    ("52_7", "52_8"),
    ("-52_7", "-52_8"),
    (r"9\text{ a.m.}", r"9\text{ p.m.}"),
]

# A comma before three digits separates the elements of a list, or thousands.
EQUAL_WITH_COMMA = [
    ("(0,100)", "(0, 100)"),
    ("(2,150)", "(2, 150)"),
    ("(-5,100)", "(-5, 100)"),
    ("[0,100]", "[0, 100]"),
    ("(0,100]", "(0, 100]"),
    ("[1,100]", r"1 \le x \le 100"),
    (r"x \in [1,100]", "[1, 100]"),
    (r"(2,12) \cup (12,102)", r"(2, 12) \cup (12, 102)"),  # an answer of MATH's test set
    (r"\{1,100\}", r"\{1, 100\}"),
    (r"\{1,100\}", r"\{100,1\}"),
    ("(1,125)", r"\left(1, 125\right)"),
    (r"\left(1,125\right)", "(1, 125)"),
    (r"\langle 1,125\rangle", r"\langle 1, 125 \rangle"),
    ("(0,100,200)", "(0, 100, 200)"),
    ("(1,100,200)", "(1, 100, 200)"),
    (r"(\sqrt{2}+1,100)", r"(1+\sqrt2, 100)"),
    ("(1,100),(2,200)", "(2, 200), (1, 100)"),
    (r"\{(1,100),(2,200)\}", r"\{(2, 200), (1, 100)\}"),
    ("0,100", "0, 100"),
    ("1,100", "1, 100"),
    ("1,100", "100,1"),
    ("1,100", "(1,100)"),
    ("1,100", "1100"),
    ("1,100,200", "1, 100, 200"),
    (r"\$1,200", "1200"),
    ("-1,200", "-1200"),
    ("x = 12,345", "12345"),
    ("1,234,567", "1234567"),
    (r"\frac{1,200}{7}", r"\frac{1200}{7}"),
    (r"\sqrt[3]{1,201}", r"\sqrt[3]{1201}"),
    ("(1,000)", "1000"),
    ("(1{,}200)", "1200"),
    (r"(1,\!200)", "1200"),
    (r"(5, 1\,200)", "(5,1200)"),
]
UNEQUAL_WITH_COMMA = [
    ("[1,200]", "1200"),
    ("(1,200)", "1200"),
    (r"\{1,200\}", "1200"),
    ("(0,100)", "(0100)"),
    ("0,100", "100"),
    ("1,100", "100"),
    ("1,100", "1,101"),
    ("1,100", "[1,100]"),
    ("(1,100)", "(100,1)"),
    ("(1,100)", "[1,100]"),
    ("(1,200)", "(1,201)"),
    (r"\frac{1,200}{7}", r"\frac{1}{7}"),
]


@pytest.mark.parametrize(("answer", "gold"), EQUAL + EQUAL_WITH_COMMA)
def test_equal_expressions_are_equivalent_in_either_order(answer, gold):
    assert equivalent(answer, gold)
    assert equivalent(gold, answer)


@pytest.mark.parametrize(("answer", "gold"), UNEQUAL + UNEQUAL_WITH_COMMA)
def test_unequal_expressions_are_not_equivalent(answer, gold):
    assert not equivalent(answer, gold)
    assert not gold or not equivalent(gold, answer)


@pytest.mark.parametrize(
    "text",
    ["9^{9^{9^{9}}}", "200!!!", "0^{-1}", "(" * 250, "*".join(["99999999^{900}"] * 12)],
)
def test_an_answer_too_large_to_compute_is_wrong(text):
    assert not equivalent(text, "1")
    assert equivalent("2/2", "1")  # and the next answer is compared


def test_an_answer_is_never_executed_as_python(tmp_path):
    mark = tmp_path / "ran"
    assert not equivalent(f"__import__('pathlib').Path('{mark}').touch()", "1")
    assert not mark.exists()


def test_a_process_that_was_killed_is_replaced():
    worker = expression_worker.Worker()
    assert worker.equal("1/2", "0.5")
    first = worker._process
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert worker.equal("1/3", "2/6")
    assert worker._process.pid != first.pid


def test_a_library_that_cannot_be_loaded_is_named(tmp_path, monkeypatch):
    (tmp_path / "math_verify.py").write_text("raise ImportError('no antlr4 runtime')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with expect_error("dmt_math_hard", "no antlr4 runtime", "math-verify"):
        expression_worker.Worker().start()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{\frac{1}{2}} it is, not $3$", r"\frac{1}{2}"),
        ("Work\n#### 5", "5"),
        ("The final answer is $x+1$. I hope it is correct.", "x+1"),
        ("The answer is 5.", "5"),
        ("Thus $2x$ or rather $3x$", "3x"),
        ("Hm\n12", "12"),
        ("", ""),
        (r"\(5\)", "5"),
        ("**5**", "5"),
        ("Answer: 5", "5"),
        (r"\[5\]", "5"),
        ("$$\n5\n$$", "5"),
        ("$$\nx = 1 + 4 \\\\\n= 5\n$$", "5"),
        ("#### Step 1\nAdd.\n\nThe answer is $7$.", "7"),
        ("The value of $x$ is $5$.", "5"),
        ("The answer is $5$ (since $x>0$).", "5"),
        ("The answers are $x=2$ and $x=5$.", "x=2, x=5"),
    ],
)
def test_the_final_answer_is_read_from_every_notation(text, answer):
    assert final_expression(text) == answer


def test_boxes_that_and_or_a_comma_joins_are_one_answer():
    assert last_boxed("\\boxed{1} then \\boxed{2^{3}}") == "2^{3}"
    assert last_boxed("$\\boxed{1}$ and $\\boxed{2}$") == "1, 2"
    assert last_boxed("\\boxed{1}, \\boxed{2} or \\boxed{3}") == "1, 2, 3"
    assert last_boxed("\\boxed{1} and \\boxed{1}") == "1"
    assert last_boxed("\\boxed{1}. Wait, no: \\boxed{2}") == "2"
    assert last_boxed("\\boxed{4") == "4"
    assert last_boxed("\\boxed 5 it is") == "5"
    assert last_boxed("none, \\boxed{}") is None


@pytest.mark.parametrize("piece", ["1/", "\\frac{", "\\(", "$", "\\text{", "answer is ", "\\\\ "])
def test_endless_repetition_is_scored_without_an_error(piece):
    assert process_results({"gold": "1"}, [piece * 20_000])["strict_match"] == 0


def test_hard_strict_match_requires_a_box():
    right = {"dmt_score": 1.0, "strict_match": 1.0}
    assert process_results({"gold": "1/2"}, [r"\boxed{0.5}"]) == right
    assert process_results({"gold": "1/2"}, ["It is $0.5$"]) == {**right, "strict_match": 0.0}


# The answers of MATH's test set


@pytest.fixture(scope="module")
def math_golds():
    lines = public_file("math_test.jsonl").read_text(encoding="utf-8").splitlines()
    golds = [last_boxed(json.loads(line)["solution"]) for line in lines]
    assert len(golds) == 5000
    return golds


def test_every_gold_of_math_equals_itself_in_a_sentence(math_golds):
    answers = [f"We find that.\n\nThe final answer is $\\boxed{{{gold}}}$." for gold in math_golds]
    wrong = [
        gold
        for gold, answer in zip(math_golds, answers, strict=True)
        if process_results({"gold": gold}, [answer]) != {"dmt_score": 1.0, "strict_match": 1.0}
    ]
    assert wrong == []


@pytest.mark.slow
def test_every_gold_of_math_is_parsed(math_golds):
    unread = [
        gold
        for gold in dict.fromkeys(map(plain_latex, math_golds))
        if not re.fullmatch(r"[a-zA-Z ]+", gold) and not expressions._worker.equal(gold, gold)
    ]
    assert sorted(unread) == ["4:30 p.m", "9 a.m"]


def test_a_gold_of_math_with_another_digit_is_another_answer(math_golds):
    draw = random.Random(0)
    golds = [gold for gold in dict.fromkeys(math_golds) if re.search(r"[1-9]", gold)]
    for gold in draw.sample(golds, 60):
        digits = list(re.finditer(r"(?<![_^])[1-9]", re.sub(r"\\text\{.*?\}\^\d", "", gold)))
        if not digits:
            continue
        digit = draw.choice(digits)
        other = str(int(digit[0]) % 9 + 1)
        changed = gold[: digit.start()] + other + gold[digit.end() :]
        assert not equivalent(changed, gold), (changed, gold)
