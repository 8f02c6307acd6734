"""The `dmt.replay` block: what is replayed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from axolotl_dmt.config.amount_fields import PartOfStage
from axolotl_dmt.config.evaluate_args import Block
from axolotl_dmt.errors import DMTError


class ReplayConfig(Block):
    """How much is replayed, and which rows: `dmt.replay`."""

    share: PartOfStage | None = Field(
        None,
        description="Instead of `k`, for `strategy: dmt`: the share of stage 2's rows that is "
        "replayed, divided among the specialised domains in proportion to their rows.",
        examples=[0.1],
    )
    select: Literal["random", "hardest"] | None = Field(
        None,
        description="random, or hardest: the rows with the highest loss first, and those that an "
        "earlier stage trained on before all others. Default: `dmt.select`.",
        examples=["hardest"],
    )
    losses: str | None = Field(
        None,
        min_length=1,
        description="For hardest: the file with the loss of each row, which `axolotl "
        "dmt row-losses CONFIG --model STAGE_FOLDER` writes. A file made from other rows is "
        "refused.",
        examples=["outputs/stage-1/dmt/row_losses.parquet"],
    )

    def check_share(self, *, sets_k: bool, has_stages: bool) -> None:
        """Check that the amount of replay is given in one way.

        Args:
            sets_k: whether the block sets `k`, too.
            has_stages: whether the block has explicit stages.

        Raises:
            DMTError: `share` is set beside `k` or explicit stages.
        """
        if self.share is None:
            return
        if has_stages:
            fix = "write {joint_share: s} for the domains in a stage's mix"
            raise DMTError("replay.share", "needs a strategy that replays", fix)
        if sets_k:
            problem = "cannot be combined with k, which is a fraction of each specialised domain"
            raise DMTError("replay.share", problem, "keep one of the two")
