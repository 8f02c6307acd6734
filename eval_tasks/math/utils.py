"""What the YAML files of this folder name; lm-eval runs this file anew for each `!function`."""

from axolotl_dmt.scoring.math import dataset, doc_to_text, process_results

__all__ = ["dataset", "doc_to_text", "process_results"]
