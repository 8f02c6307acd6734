"""Small chunks, so that small plans are compiled in several of them, and in a partial last one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

CHUNKS = {"permutation.CHUNK": 61, "ranking._BLOCK": 53, "totals._CHUNK": 47, "draws._CHUNK": 64}
"""What a plan holds does not depend on these; golden values were made with the usual ones."""


def chunk_size(name: str) -> int:
    module, _, constant = name.partition(".")
    return int(getattr(importlib.import_module(f"axolotl_dmt.plan.{module}"), constant))


USUAL = {name: chunk_size(name) for name in CHUNKS}


@pytest.fixture(scope="package", autouse=True)
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, size in CHUNKS.items():
            patch.setattr(f"axolotl_dmt.plan.{name}", size)
        yield
