"""The class for `dmt_general_mtbench.yaml`; lm-eval executes this file for each `!function`."""

from axolotl_dmt.scoring.mtbench_task import MTBench, dataset
from axolotl_dmt.scoring.thinking import without_thinking

__all__ = ["MTBench", "dataset", "without_thinking"]
