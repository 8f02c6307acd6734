"""Small chunks, so that small plans are compiled in several of them, and in a partial last one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

CHUNKS = {"permutation.CHUNK": 61, "ranking._BLOCK": 53, "totals._CHUNK": 47, "draws._CHUNK": 64}
"""What a plan holds does not depend on these; golden values were made with the usual ones."""


@pytest.fixture(scope="package", autouse=True)
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, size in CHUNKS.items():
            patch.setattr(f"axolotl_dmt.plan.{name}", size)
        yield
