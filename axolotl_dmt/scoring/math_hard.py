r"""Competition mathematics (MATH): answers that are expressions, compared by value.

A row is `{"problem", "solution"}`, as in MATH, with the right answer in the solution's last
`\boxed{...}`, or `{"question", "answer"}` with the answer alone.
"""

from __future__ import annotations

import re
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.scoring.latex import equivalent
from axolotl_dmt.scoring.math import last_boxed
from axolotl_dmt.scoring.sources import (
    Hub,
    Row,
    load_rows,
    prompt_template,
    read_rows,
    set_generation,
    setting,
    splits,
    with_prompts,
)
from axolotl_dmt.scoring.worked_examples import HARD_EXAMPLES

MATH = Hub(
    path="EleutherAI/hendrycks_math",
    configs=(
        "algebra",
        "counting_and_probability",
        "geometry",
        "intermediate_algebra",
        "number_theory",
        "prealgebra",
        "precalculus",
    ),
)
_STATED = re.compile(r"answer\s+is:?\s*([^\n]+)", re.IGNORECASE)
_MARKED = re.compile(r"####\s*([^\n]+)")
_INLINE = re.compile(r"\$([^$\n]+)\$")


def final_answer(text: str) -> str:
    r"""What an answer ends on: its last box, its `####`, what it says the answer is, its last `$`.

    The first that is there counts; with none of them, the last line does.
    """
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    if marked := _MARKED.search(text):
        return marked[1].strip()
    if stated := _STATED.findall(text):
        # "The final answer is $5$. I hope it is correct."
        formula = _INLINE.search(stated[-1])
        return formula[1] if formula else re.split(r"\.(?:\s|$)", stated[-1])[0].strip()
    if formulas := _INLINE.findall(text):
        return str(formulas[-1])
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _question_and_answer(row: Row, name: str) -> Row:
    question = row.get("question", row.get("problem"))
    solution = row.get("answer", row.get("solution"))
    if not isinstance(question, str) or not isinstance(solution, str):
        fix = 'a line is {"problem": ..., "solution": ...} or {"question": ..., "answer": ...}'
        raise DMTError(name, f"a row has the fields {', '.join(row)}", fix)
    gold = last_boxed(solution)
    if gold is None and "answer" not in row:
        raise DMTError(name, f"no \\boxed answer in the solution {solution!r:.60}", "box it")
    return {"question": question, "solution": solution, "gold": solution if gold is None else gold}


def dataset(generation: dict[str, Any] | None = None, **metadata: Any) -> Any:
    """The rows of `dmt_math_hard`: MATH's test split, or the file that `dmt_math_hard_data` names.

    The `train` split holds four worked examples of our own, or those of `dmt_math_hard_fewshot`.
    """
    set_generation(generation, metadata)
    name, shots_name = "dmt_math_hard_data", "dmt_math_hard_fewshot"
    rows = [
        _question_and_answer(row, name) for row in load_rows(name, metadata, fields={}, hub=MATH)
    ]
    shots_file = setting(shots_name, metadata)
    shots: list[Row] = (
        [{"question": question, "answer": answer} for question, answer in HARD_EXAMPLES]
        if shots_file is None
        else read_rows(shots_name, shots_file, {})
    )
    shots = [_question_and_answer(row, shots_name) for row in shots]
    template = prompt_template(metadata)
    return splits(
        test=with_prompts(rows, "question", template, answer="solution"),
        train=with_prompts(shots, "question", template, answer="solution"),
    )


def process_results(doc: Row, results: list[str]) -> dict[str, float]:
    """Score one answer: `dmt_score` reads any final answer, `strict_match` wants a box."""
    boxed = last_boxed(results[0])
    return {
        "dmt_score": float(equivalent(final_answer(results[0]), doc["gold"])),
        "strict_match": float(boxed is not None and equivalent(boxed, doc["gold"])),
    }
