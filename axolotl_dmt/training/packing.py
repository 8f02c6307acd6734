"""Provides Axolotl's sample packing to the plan, which packs rows stage by stage."""

from __future__ import annotations

import numpy as np
from axolotl.utils.dict import DictDefault
from axolotl.utils.samplers.multipack import allocate_sequentially, pack_parallel
from numpy.typing import NDArray

from axolotl_dmt.plan.inputs import Packing


def packing(cfg: DictDefault) -> Packing:
    """Return how Axolotl packs rows under a configuration.

    Args:
        cfg: Axolotl's validated configuration with `sample_packing: true`.
    """
    # As in Axolotl's trainer: one long pack per micro batch if attention keeps packed rows apart,
    # else as many packs as the micro batch has rows.
    real_batches = cfg.multipack_real_batches
    if real_batches is None:
        real_batches = not cfg.attn_supports_packing
    micro_batches = cfg.batch_size // cfg.micro_batch_size
    per_micro_batch = cfg.micro_batch_size if real_batches else 1
    capacity = cfg.sequence_len * (1 if real_batches else cfg.micro_batch_size)

    def pack(lengths: NDArray[np.int32]) -> list[list[int]]:
        if cfg.sample_packing_sequentially:
            packs, _, _ = allocate_sequentially(lengths, 0, capacity, 1)
            return packs
        # First fit in the order of the rows: packs are then as evenly mixed as the rows.
        return pack_parallel(
            lengths,
            bin_capacity=capacity,
            group_size=cfg.sample_packing_group_size,
            bin_size=cfg.sample_packing_bin_size or capacity,
            num_processes=1,
        )

    return Packing(capacity=capacity, packs_per_step=micro_batches * per_micro_batch, pack=pack)
