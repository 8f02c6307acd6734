"""An Axolotl plugin that makes accelerate treat two CPU processes as if each had a GPU.

accelerate shards nothing on CPUs, although DeepSpeed and FSDP2 can, over gloo. The plugin also
records what the stage boundary does to the optimiser, in one OPTIMIZER_FILE for each rank.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from accelerate.parallelism_config import ParallelismConfig
from accelerate.state import DistributedType, PartialState
from axolotl.integrations.base import BasePlugin

from axolotl_dmt.training import callback
from axolotl_dmt.training.optimizer import _innermost, reset_optimizer


def _prepare_backend(*args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
    return "gloo", DistributedType.MULTI_GPU


def _set_device(state: PartialState) -> None:
    state.device = torch.device("cpu")


def _all_gather_into_tensor(
    output_tensor: Any, input_tensor: Any, *args: Any, **kwargs: Any
) -> Any:
    # gloo copies in place, in a separate thread in which gradients are enabled.
    return _gather(output_tensor.detach(), input_tensor.detach(), *args, **kwargs)


_gather = torch.distributed.all_gather_into_tensor
torch.distributed.all_gather_into_tensor = _all_gather_into_tensor


def _build_device_mesh(config: ParallelismConfig, device_type: str) -> Any:
    return _build(config, "cpu")


_build = ParallelismConfig.build_device_mesh
ParallelismConfig.build_device_mesh = _build_device_mesh
PartialState._prepare_backend = _prepare_backend
PartialState.set_device = _set_device


def sums(tensors: Any) -> list[float]:
    local = [getattr(tensor, "_local_tensor", tensor) for tensor in tensors]
    return [float(tensor.detach().double().abs().sum()) for tensor in local]


def snapshot(optimizer: Any) -> dict[str, list[float]]:
    """Return sums of the moments, the step counts and the weights that the optimiser holds."""
    unwrapped = getattr(optimizer, "optimizer", optimizer)
    masters = getattr(unwrapped, "single_partition_of_fp32_groups", None) or getattr(
        unwrapped, "fp32_partitioned_groups_flat", None
    )
    if masters is None:
        masters = [p for group in unwrapped.param_groups for p in group["params"]]
    states = [state for inner in _innermost(optimizer) for state in inner.state.values()]
    return {
        "moments": sums(state[name] for state in states for name in ("exp_avg", "exp_avg_sq")),
        "steps": [float(state["step"]) for state in states],
        "weights": sums(masters),
    }


def reset_and_record(trainer: Any) -> None:
    """Reset the optimiser and write its snapshots before and after to OPTIMIZER_FILE."""
    optimizer = trainer.optimizer
    before = snapshot(optimizer)
    reset_optimizer(trainer)
    record = {
        "before": before,
        "after": snapshot(optimizer),
        "kind": str(type(optimizer.optimizer)),
    }
    path = Path(os.environ["OPTIMIZER_FILE"]).with_suffix(f".{os.environ['RANK']}.json")
    path.write_text(json.dumps(record))


class PretendedGPUPlugin(BasePlugin):
    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        callback.reset_optimizer = reset_and_record
        return []
