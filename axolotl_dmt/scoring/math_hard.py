r"""The task `dmt_math_hard` (MATH): compare answers that are expressions by their value.

A row is either `{"problem", "solution"}`, as in MATH, with the correct answer in the last
`\boxed{...}` of the solution, or `{"question", "answer"}` with the answer alone.
"""

from __future__ import annotations

from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.scoring.boxes import last_boxed
from axolotl_dmt.scoring.expression_answers import boxed_expression, final_expression
from axolotl_dmt.scoring.expressions import equivalent, load_math_verify
from axolotl_dmt.scoring.sources import (
    Hub,
    Row,
    Splits,
    as_splits,
    each_row,
    load_examples,
    load_rows,
    prompt_template,
    set_generation,
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


def _with_gold(row: Row, name: str) -> Row:
    """Return a row of either form as `question`, `solution` and `gold`, the correct answer."""
    question = row.get("question", row.get("problem"))
    solution = row.get("answer", row.get("solution"))
    if not isinstance(question, str) or not isinstance(solution, str):
        fix = 'a line is {"problem": ..., "solution": ...} or {"question": ..., "answer": ...}'
        raise DMTError(name, f"a row has the fields {', '.join(row)}", fix)
    gold = last_boxed(solution)
    if gold is None and "answer" not in row:
        problem = f"the solution {solution!r:.60} has no \\boxed answer"
        raise DMTError(name, problem, "put the answer into \\boxed{}")
    return {"question": question, "solution": solution, "gold": solution if gold is None else gold}


@as_splits
def dataset(generation: dict[str, Any] | None = None, **metadata: Any) -> Splits:
    """Return the rows of `dmt_math_hard`: MATH's test split, or those of `dmt_math_hard_data`.

    The `train` split contains the few-shot examples: the four of `worked_examples`, or those of the
    file that `dmt_math_hard_fewshot` names.

    Args:
        generation: The task's `generation_kwargs`; its answer length is changed in place.
        metadata: The task's metadata.

    Raises:
        DMTError: If a setting or a row is wrong, or math-verify cannot be loaded.
    """
    load_math_verify()
    set_generation(generation, metadata)
    name, examples_name = "dmt_math_hard_data", "dmt_math_hard_fewshot"
    rows = load_rows(name, metadata, fields={}, hub=MATH)
    rows = each_row(name, rows, lambda row: _with_gold(row, name))
    examples = load_examples(examples_name, metadata, fields={}, built_in=HARD_EXAMPLES)
    examples = [_with_gold(row, examples_name) for row in examples]
    template = prompt_template(metadata, "dmt_math_hard", generation)
    return {
        "test": with_prompts(rows, "question", template, answer="solution"),
        "train": with_prompts(examples, "question", template, answer="solution"),
    }


def process_results(doc: Row, results: list[str]) -> dict[str, float]:
    """Score one answer: `dmt_score` reads any final answer, `strict_match` requires a box."""
    boxed = boxed_expression(results[0])
    return {
        "dmt_score": float(equivalent(final_expression(results[0]), doc["gold"])),
        "strict_match": float(boxed is not None and equivalent(boxed, doc["gold"])),
    }
