"""Provides Axolotl's sample packing to the plan, which packs rows stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.plan.inputs import Packing


def packing(cfg: Any) -> Packing:
    """Return how Axolotl packs rows under a configuration.

    Args:
        cfg: Axolotl's validated configuration with `sample_packing: true`.
    """
    return packing_by(packing_settings(cfg))


def packing_settings(cfg: Any) -> dict[str, Any]:
    """Return the settings that decide how rows are packed, as plain values.

    Args:
        cfg: as in `packing`.
    """
    # As in Axolotl's trainer: one long pack per micro batch if attention keeps packed rows apart,
    # else as many packs as the micro batch has rows.
    real_batches = cfg.multipack_real_batches
    if real_batches is None:
        real_batches = not cfg.attn_supports_packing
    micro_batches = cfg.batch_size // cfg.micro_batch_size
    capacity = cfg.sequence_len * (1 if real_batches else cfg.micro_batch_size)
    return {
        "capacity": capacity,
        "packs_per_step": micro_batches * (cfg.micro_batch_size if real_batches else 1),
        "sequentially": bool(cfg.sample_packing_sequentially),
        "group_size": cfg.sample_packing_group_size,
        "bin_size": cfg.sample_packing_bin_size or capacity,
    }


def packing_by(settings: Mapping[str, Any]) -> Packing:
    """Return how Axolotl packs rows under settings that `packing_settings` returned."""

    def pack(lengths: NDArray[np.int32]) -> list[list[int]]:
        from axolotl.utils.samplers.multipack import allocate_sequentially, pack_parallel

        if settings["sequentially"]:
            packs, _, _ = allocate_sequentially(lengths, 0, settings["capacity"], 1)
            return packs
        # First fit in the order of the rows: packs are then as evenly mixed as the rows.
        return pack_parallel(
            lengths,
            bin_capacity=settings["capacity"],
            group_size=settings["group_size"],
            bin_size=settings["bin_size"],
            num_processes=1,
        )

    return Packing(
        capacity=settings["capacity"], packs_per_step=settings["packs_per_step"], pack=pack
    )
