"""The task `dmt_math` (GSM8K): compare the number that an answer ends with to the correct one."""

from __future__ import annotations

from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.scoring.math_answers import flexible_number, gold_number, marked_number
from axolotl_dmt.scoring.sources import (
    Hub,
    Prompt,
    Row,
    Splits,
    as_splits,
    load_examples,
    load_rows,
    prompt_of,
    prompt_template,
    set_generation,
    with_prompts,
)
from axolotl_dmt.scoring.worked_examples import WORKED_EXAMPLES

FIELDS = {"question": str, "answer": str}
GSM8K = Hub(path="openai/gsm8k", configs=("main",))


@as_splits
def dataset(generation: dict[str, Any] | None = None, **metadata: Any) -> Splits:
    """Return the rows of `dmt_math`: GSM8K's test split, or the file that `dmt_math_data` names.

    The `train` split contains the few-shot examples: the eight of `worked_examples`, or those of
    the file that `dmt_math_fewshot` names.

    Args:
        generation: The task's `generation_kwargs`; its answer length is changed in place.
        metadata: The task's metadata.

    Raises:
        DMTError: If a setting or a row is wrong.
    """
    set_generation(generation, metadata)
    name = "dmt_math_data"
    rows = load_rows(name, metadata, fields=FIELDS, hub=GSM8K)
    for number, row in enumerate(rows, 1):
        if gold_number(row["answer"]) is None:
            raise DMTError(name, f"the answer of row {number} has no number", "end it with #### N")
    examples = load_examples("dmt_math_fewshot", metadata, fields=FIELDS, built_in=WORKED_EXAMPLES)
    template = prompt_template(metadata, "dmt_math", generation)
    return {
        "test": with_prompts(rows, "question", template, answer="answer"),
        "train": with_prompts(examples, "question", template, answer="answer"),
    }


def doc_to_text(doc: Row) -> Prompt:
    """Return the question in the training prompt."""
    return prompt_of(doc, "question")


def process_results(doc: Row, results: list[str]) -> dict[str, float]:
    """Score one answer: `dmt_score` is the flexible match, `strict_match` requires the `####`."""
    gold = gold_number(doc["answer"])
    return {
        "dmt_score": float(flexible_number(results[0]) == gold),
        "strict_match": float(marked_number(results[0]) == gold),
    }
