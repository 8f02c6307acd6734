"""Puts losses on held-out rows into the result of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from axolotl_dmt.results.results import StageResult


def with_held_out_losses(result: StageResult, losses: Mapping[str, float]) -> StageResult:
    """Return a result with {domain: loss on its held-out rows}, where there are any."""
    extra = {**result.extra, "held_out_loss": dict(losses)} if losses else result.extra
    return replace(result, extra=extra)
