"""A plan that would not fit into memory is refused before it is allocated."""

from __future__ import annotations

import pytest

from axolotl_dmt.plan import plan_size
from axolotl_dmt.plan.plan_size import check_size
from tests.mistakes import expect_error


def test_a_plan_beyond_memory_is_refused() -> None:
    check_size("dmt.stages[0].epochs", 10**6, 4)
    with expect_error("dmt.stages[0].epochs", "1e+15 rows", "3,725,290 GiB"):
        check_size("dmt.stages[0].epochs", 10**15, 4)


def test_half_of_the_memory_may_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = {"SC_PAGE_SIZE": 64, "SC_PHYS_PAGES": 100}
    monkeypatch.setattr(plan_size.os, "sysconf", machine.__getitem__)
    check_size("dmt.stages[0].epochs", 800, 4)
    with expect_error("dmt.stages[0].epochs", "801 rows"):
        check_size("dmt.stages[0].epochs", 801, 4)
