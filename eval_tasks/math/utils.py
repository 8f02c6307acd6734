"""Functions for the YAML files in this folder; lm-eval runs this file for each `!function`."""

from axolotl_dmt.scoring.math import dataset, doc_to_text, process_results

__all__ = ["dataset", "doc_to_text", "process_results"]
