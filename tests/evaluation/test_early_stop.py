"""An answer counts as decided only where its line or its block of code is complete."""

from __future__ import annotations

import pytest

from axolotl_dmt.evaluation.early_stop import decides

DECIDED = {
    "number": ("dmt_math", "7 * 8 = 56\n#### 56\n"),
    "money": ("dmt_math_cot", "#### $1,200\nThat is"),
    "negative": ("dmt_math", "####-3\n"),
    "function": ("dmt_code", "Here:\n```python\nx = 1\ndef f():\n    return x\n```\n"),
    "other fence": ("dmt_code_mbpp", "~~~\nasync def f():\n    return '```'\n~~~\nIt"),
}
OPEN = {
    "line without an end": ("dmt_math", "#### 5"),
    "no mark": ("dmt_math", "It is 5\n"),
    "heading": ("dmt_math", "#### Step 1: add\n5 + 5 = 10\n"),
    "open fence": ("dmt_code", "```python\ndef f():\n    return 1\n"),
    "fence without a line end": ("dmt_code", "```python\ndef f():\n    return 1\n```"),
    "no function": ("dmt_code", "```bash\npip install x\n```\nNow:\n```python\ndef f():\n"),
}


@pytest.mark.parametrize("case", DECIDED)
def test_a_complete_answer_is_decided(case: str) -> None:
    task, text = DECIDED[case]
    pattern = decides(task)
    assert pattern is not None
    assert pattern.search(text)


@pytest.mark.parametrize("case", OPEN)
def test_an_answer_that_may_go_on_is_not_decided(case: str) -> None:
    task, text = OPEN[case]
    pattern = decides(task)
    assert pattern is not None
    assert not pattern.search(text)


@pytest.mark.parametrize("task", ["dmt_general", "dmt_math_hard", "gsm8k"])
def test_other_tasks_end_only_where_the_model_ends(task: str) -> None:
    assert decides(task) is None
