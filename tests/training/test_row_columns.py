"""Columns of rows from different sources are brought to one type, or refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from datasets import Dataset

from axolotl_dmt.training.row_columns import align_columns, check_lengths
from tests.mistakes import expect_error


def rows(ids: pa.DataType, count: int, **columns: pa.Array) -> Dataset:
    lists = pa.array([[1, 2]] * count, pa.list_(ids))
    return Dataset(pa.table({"input_ids": lists, **columns}))


def test_whole_numbers_take_the_type_that_most_rows_have() -> None:
    parts = {"a": rows(pa.int64(), 2), "b": rows(pa.int32(), 3), "c": rows(pa.int64(), 2)}
    aligned = align_columns(parts)
    assert {str(part.features["input_ids"].feature.dtype) for part in aligned.values()} == {"int64"}
    assert [part["input_ids"][1] for part in aligned.values()] == [[1, 2]] * 3


def test_rows_of_one_type_are_not_copied() -> None:
    parts = {"a": rows(pa.int32(), 2), "b": rows(pa.int32(), 3)}
    aligned = align_columns(parts)
    assert aligned["a"] is parts["a"] and aligned["b"] is parts["b"]


def test_only_the_columns_that_all_have_remain() -> None:
    aligned = align_columns({"a": rows(pa.int32(), 1, x=pa.array([1])), "b": rows(pa.int32(), 1)})
    assert aligned["a"].column_names == ["input_ids"]


def test_other_types_and_numbers_that_do_not_fit_are_refused() -> None:
    with expect_error("b", "x", "string", "int64", "a"):
        align_columns(
            {"a": rows(pa.int32(), 1, x=pa.array([1])), "b": rows(pa.int32(), 1, x=pa.array(["1"]))}
        )
    large = Dataset(pa.table({"input_ids": pa.array([[2**40]], pa.list_(pa.int64()))}))
    with expect_error("b", "input_ids", str(2**40)):
        align_columns({"a": rows(pa.int32(), 5), "b": large})


def test_lengths_are_compared_row_by_row() -> None:
    def labelled(lists: list[list[int] | None]) -> Dataset:
        return rows(pa.int32(), 3, labels=pa.array(lists, pa.list_(pa.int64())))

    check_lengths(labelled([[1, 2]] * 3), "datasets[0]", "a.jsonl")
    check_lengths(labelled([[1, 2]] * 3).select(np.array([2, 0])), "datasets[0]", "a.jsonl")
    with expect_error("datasets[0]", "a.jsonl", "2 of 3 rows", "row 1 with 3 and 2"):
        check_lengths(labelled([[1, 2], [1, 2, 3], None]), "datasets[0]", "a.jsonl")
    no_tokens = rows(pa.int32(), 1, labels=pa.array([None], pa.list_(pa.int64())))
    no_tokens = Dataset(no_tokens.data.table.set_column(0, "input_ids", no_tokens.data.column(1)))
    with expect_error("datasets[0]", "row 0 with 0 and 0"):
        check_lengths(no_tokens, "datasets[0]", "a.jsonl")
