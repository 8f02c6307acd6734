"""Functions for the YAML files of this folder; lm-eval executes this file for each `!function`."""

from axolotl_dmt.scoring.math import dataset, doc_to_text, process_results
from axolotl_dmt.scoring.thinking import without_thinking

__all__ = ["dataset", "doc_to_text", "process_results", "without_thinking"]
