"""Communication between the processes of a run outside the training itself.

A rank that fails never leaves the others waiting: at each exchange, every rank contributes either
its result or its error. If a rank dies, the launcher ends the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from axolotl.utils.distributed import is_distributed

from axolotl_dmt.errors import DMTError

PATIENCE = timedelta(days=7)
"""How long ranks wait for one another: longer than scoring on one rank ever takes."""


class Ranks:
    """This process among the processes of the run.

    The constructor and the methods are collective: every rank must call them, in the same order.
    Messages use a gloo group, since the training's own group may use NCCL, whose timeout would end
    the run while one rank scores a stage.

    Attributes:
        index: the rank of this process, from 0.
        count: number of processes.
        first_on_host: whether this process is the first of its host.
    """

    def __init__(self) -> None:
        if (
            not (is_distributed() or dist.is_initialized())
            and int(os.environ.get("WORLD_SIZE", 1)) > 1
        ):
            # On CPUs the trainer starts the group, but the plan is compiled before that.
            dist.init_process_group("gloo")
        distributed = dist.is_initialized()
        self.index: int = dist.get_rank() if distributed else 0
        self.count: int = dist.get_world_size() if distributed else 1
        self.first_on_host: bool = os.environ.get("LOCAL_RANK", "0") == "0"
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE) if self.count > 1 else None

    def from_first(self, value: Any) -> Any:
        """Return rank 0's `value` on every rank."""
        box = [value if self.index == 0 else None]
        if self.count > 1:
            dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def gathered(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in the order of the ranks, on every rank."""
        values = [value] * self.count
        if self.count > 1:
            dist.all_gather_object(values, value, group=self._group)
        return values

    def wait(self) -> None:
        """Return once every rank has called this."""
        self.gathered(None)

    def once_a_host(self, act: Callable[[], None]) -> None:
        """Run `act` on the first process of each host, while the others wait.

        Raises:
            DMTError: on every rank, if `act` raised it on one of them.
        """
        error = None
        if self.first_on_host:
            try:
                act()
            except DMTError as caught:
                error = caught
        for failure in self.gathered(error):
            if failure is not None:
                raise failure
