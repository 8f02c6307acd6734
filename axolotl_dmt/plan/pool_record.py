"""The record of a domain's pool in a plan, and the digests by which plans are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.plan.permutation import for_chunks

BLOCK: Final = 1 << 20
"""Elements that are hashed at a time. Every digest depends on it: it must not change."""


@dataclass(frozen=True, kw_only=True)
class PoolRecord:
    """The record of a domain's pool in a plan, by which a change of the data is noticed.

    Args:
        name: name of the domain.
        rows: number of rows.
        datasets: (label, rows) of each dataset, in pool order.
        digest: digest of the rows' lengths and trained lengths.
        content: digest of the tokens and labels of each dataset; empty if unknown. The fingerprint
            does not depend on it.
    """

    name: str
    rows: int
    datasets: tuple[tuple[str, int], ...]
    digest: str
    content: tuple[str, ...] = ()

    @classmethod
    def of(cls, domain: Domain) -> PoolRecord:
        """Return the record of a domain."""
        columns = (domain.lengths, domain.trained, domain.trained_when_remasked)
        digest = hash_parts([digest_array(column) for column in columns if column is not None])
        return cls(name=domain.name, rows=domain.rows, datasets=domain.datasets, digest=digest)

    def to_plain(self) -> dict[str, Any]:
        """Return the record in the form that JSON holds; `from_plain` reads it."""
        plain = asdict(self)
        return plain if self.content else {k: v for k, v in plain.items() if k != "content"}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> PoolRecord:
        """Return the record that `to_plain` wrote, perhaps in a version without `content`."""
        datasets = tuple(map(tuple, plain["datasets"]))
        return cls(**{**plain, "datasets": datasets, "content": tuple(plain.get("content", ()))})


def digest_array(array: NDArray[Any], change: Any = None) -> str:
    """Return a hex digest of an array, hashed in blocks on a few threads.

    Args:
        array: one-dimensional array of integers.
        change: function that is applied to each block before it is hashed.
    """

    def work(start: int, stop: int) -> str:
        block = array[start:stop] if change is None else change(array[start:stop])
        little = np.ascontiguousarray(block.astype(block.dtype.newbyteorder("<"), copy=False))
        return blake2b(little.data, digest_size=16).hexdigest()

    return hash_parts([len(array), *for_chunks(work, len(array), BLOCK)])


def hash_parts(parts: Sequence[Any]) -> str:
    """Return a hex digest of values that JSON can hold."""
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
