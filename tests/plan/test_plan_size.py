"""A plan that would not fit into memory is refused before it is allocated."""

from __future__ import annotations

from axolotl_dmt.plan.plan_size import check_size
from tests.mistakes import expect_error


def test_a_plan_beyond_memory_is_refused() -> None:
    check_size("dmt.stages[0]", 10**6, 4)
    with expect_error("dmt.stages[0].epochs", "1e+15 rows", "GiB"):
        check_size("dmt.stages[0]", 10**15, 4)
