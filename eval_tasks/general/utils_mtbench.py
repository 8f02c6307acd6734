"""Functions for `dmt_general_mtbench.yaml`; lm-eval runs this file for each `!function`."""

from axolotl_dmt.scoring.mtbench_task import MTBench, dataset

__all__ = ["MTBench", "dataset"]
