"""Functions for the YAML files of this folder; lm-eval executes this file for each `!function`."""

from axolotl_dmt.scoring.code import (
    dataset,
    doc_to_target,
    doc_to_text,
    mbpp_dataset,
    process_results,
    run_answers,
)
from axolotl_dmt.scoring.thinking import without_thinking

__all__ = [
    "dataset",
    "doc_to_target",
    "doc_to_text",
    "mbpp_dataset",
    "process_results",
    "run_answers",
    "without_thinking",
]
