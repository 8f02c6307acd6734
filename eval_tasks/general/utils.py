"""Functions for the YAML files of this folder; lm-eval executes this file for each `!function`."""

from axolotl_dmt.scoring.instructions import (
    dataset,
    doc_to_text,
    instruction_accuracy,
    instruction_accuracy_stderr,
    process_results,
)
from axolotl_dmt.scoring.thinking import without_thinking

largest = max

__all__ = [
    "dataset",
    "doc_to_text",
    "instruction_accuracy",
    "instruction_accuracy_stderr",
    "largest",
    "process_results",
    "without_thinking",
]
