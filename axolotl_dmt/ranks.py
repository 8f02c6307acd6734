"""What the processes of a run tell one another beside the training.

A rank that fails never leaves the others waiting: where they meet, each brings either its part or
its error. A rank that dies is seen by the launcher, which ends the others.
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
"""How long ranks wait for one another here: longer than scoring on one of them ever takes."""


class Ranks:
    """This process among the run's; all ranks make one together, and call its methods together.

    Messages go over a gloo group: training's own group may be NCCL's, whose time limit would end a
    run while one rank scores a stage.

    Attributes:
        index: this process's number, 0 for the first.
        count: number of processes.
        first_on_host: whether this process is the first of its host.
    """

    def __init__(self) -> None:
        if (
            not (is_distributed() or dist.is_initialized())
            and int(os.environ.get("WORLD_SIZE", 1)) > 1
        ):
            # On CPUs Axolotl leaves it to the trainer, and the plan is made before that.
            dist.init_process_group("gloo")
        together = dist.is_initialized()
        self.index: int = dist.get_rank() if together else 0
        self.count: int = dist.get_world_size() if together else 1
        self.first_on_host: bool = os.environ.get("LOCAL_RANK", "0") == "0"
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE) if self.count > 1 else None

    def from_first(self, value: Any) -> Any:
        """What rank 0 gives as `value`, on every rank."""
        box = [value if self.index == 0 else None]
        if self.count > 1:
            dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def gathered(self, value: Any) -> list[Any]:
        """Every rank's `value`, in order of ranks, on every rank."""
        values = [value] * self.count
        if self.count > 1:
            dist.all_gather_object(values, value, group=self._group)
        return values

    def wait(self) -> None:
        """Wait until every rank is here."""
        self.gathered(None)

    def once_a_host(self, act: Callable[[], None]) -> None:
        """Run `act` on the first process of each host, while the others wait.

        Raises:
            DMTError: on every rank, where it was raised on one.
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
