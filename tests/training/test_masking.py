"""Which data sets can be trained on with and without their inputs, stage by stage."""

from __future__ import annotations

import pytest
from axolotl.utils.dict import DictDefault
from datasets import Dataset

from axolotl_dmt.training.pool import check_masking
from tests.mistakes import expect_error

TOKENS = [[5, 6, 7], [8, 9]]
ALL, ANSWERS = TOKENS, [[-100, 6, 7], [-100, 9]]


def rows(labels: list[list[int]], tokens: list[list[int]] | None = None) -> Dataset:
    return Dataset.from_dict({"input_ids": tokens or TOKENS, "labels": labels})


def check(before: Dataset, after: Dataset, train_on_inputs: bool) -> None:
    entry = DictDefault({"path": "a.jsonl", "type": "completion"})
    check_masking(before, after, DictDefault({"train_on_inputs": train_on_inputs}), entry, "end")


def test_a_data_set_whose_labels_change_is_accepted() -> None:
    check(rows(ANSWERS), rows(ALL), train_on_inputs=True)
    check(rows(ALL), rows(ANSWERS), train_on_inputs=False)


def test_a_data_set_that_trains_on_everything_anyway_can_be_asked_to() -> None:
    check(rows(ALL), rows(ALL), train_on_inputs=True)


@pytest.mark.parametrize(("labels", "wanted"), [(ALL, False), (ANSWERS, True)])
def test_a_type_that_decides_by_itself_is_refused(labels: list[list[int]], wanted: bool) -> None:
    with expect_error("train_on_inputs (stage end)", "a.jsonl", "completion"):
        check(rows(labels), rows(labels), train_on_inputs=wanted)


def test_rows_that_are_dropped_under_one_of_the_two_are_refused() -> None:
    with expect_error("train_on_inputs (stage end)", "a.jsonl", 2, 1):
        check(rows(ANSWERS), rows([[5, 6, 7]], [[5, 6, 7]]), train_on_inputs=True)
