"""Functions for the YAML files in this folder; lm-eval runs this file for each `!function`."""

from axolotl_dmt.scoring.instructions import (
    dataset,
    doc_to_text,
    instruction_accuracy,
    instruction_accuracy_stderr,
    process_results,
)

largest = max

__all__ = [
    "dataset",
    "doc_to_text",
    "instruction_accuracy",
    "instruction_accuracy_stderr",
    "largest",
    "process_results",
]
