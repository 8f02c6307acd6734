"""The records and digests by which a change of the data is noticed."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import numpy as np

from axolotl_dmt.plan.pool_record import BLOCK, PoolRecord, digest_array, hash_parts
from tests.pools import domain

MATH = domain("math", 40, datasets=(("a.jsonl", 30), ("b.jsonl", 10)))


def test_a_digest_is_the_one_always_computed() -> None:
    # Golden values: a change here changes the fingerprint of every plan that anybody ever made.
    short, long = np.arange(7, dtype=np.int32), np.arange(BLOCK + 5, dtype=np.int32)
    assert digest_array(short) == "e00b29e5141279acdcdd6738b38b3028"
    assert digest_array(long) == "141d5ed9501cb7e77f549a03989bd488"
    assert hash_parts([1, "two", {"b": None, "a": 1.5}]) == "831490f879c1a216d0736a87725b9a9b"


def test_a_digest_is_made_of_those_of_its_blocks() -> None:
    array = np.arange(2 * BLOCK + 3, dtype=np.int32)
    blocks = [array[:BLOCK], array[BLOCK : 2 * BLOCK], array[2 * BLOCK :]]
    digests = [blake2b(block.tobytes(), digest_size=16).hexdigest() for block in blocks]
    assert digest_array(array) == hash_parts([len(array), *digests])


def test_a_digest_depends_on_every_element_and_on_no_byte_order() -> None:
    array = np.arange(50, dtype=np.int32)
    changed = array.copy()
    changed[-1] += 1
    assert digest_array(array) == digest_array(array.astype(">i4"))
    assert digest_array(array) == digest_array(np.repeat(array, 2)[::2])
    assert len({digest_array(part) for part in (array, changed, array[:-1])}) == 3
    assert digest_array(array, lambda block: block + 1) == digest_array(array + 1)


def test_a_record_notices_each_column_of_lengths() -> None:
    remasked = replace(MATH, trained_when_remasked=MATH.lengths)
    bare = replace(MATH, lengths=None, trained=None)
    other = replace(MATH, trained=MATH.trained + 1)
    records = [PoolRecord.of(pool) for pool in (MATH, remasked, bare, other)]
    assert len({record.digest for record in records}) == 4
    assert {(record.name, record.rows, record.datasets) for record in records} == {
        ("math", 40, MATH.datasets)
    }


def test_a_record_survives_being_written_and_read() -> None:
    record = PoolRecord.of(MATH)
    assert "content" not in record.to_plain()
    known = replace(record, content=("one", "two"))
    for kept in (record, known):
        assert PoolRecord.from_plain(kept.to_plain()) == kept
    plain = {**known.to_plain(), "datasets": [["a.jsonl", 30], ["b.jsonl", 10]]}
    assert PoolRecord.from_plain(plain | {"content": ["one", "two"]}) == known
