"""What `dmt_general_mtbench.yaml` names; lm-eval runs this file anew for each `!function`."""

from axolotl_dmt.scoring.mtbench_task import MTBench, dataset

__all__ = ["MTBench", "dataset"]
