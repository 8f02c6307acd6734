"""Functions for the YAML files in this folder; lm-eval runs this file for each `!function`."""

from axolotl_dmt.scoring.code import (
    dataset,
    doc_to_target,
    doc_to_text,
    mbpp_dataset,
    process_results,
    run_answers,
)

__all__ = [
    "dataset",
    "doc_to_target",
    "doc_to_text",
    "mbpp_dataset",
    "process_results",
    "run_answers",
]
