"""Functions for `dmt_math_hard.yaml`; lm-eval runs this file for each `!function`."""

from axolotl_dmt.scoring.math_hard import dataset, process_results

__all__ = ["dataset", "process_results"]
