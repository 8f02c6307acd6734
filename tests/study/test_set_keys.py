"""A study refuses to set a key that nothing reads: its runs would be twins."""

from __future__ import annotations

from typing import Any

import pytest

from axolotl_dmt.study.config import Study
from axolotl_dmt.study.set_keys import check_set_keys
from tests.mistakes import expect_error

BASE: dict[str, Any] = {
    "base_model": "m",
    "datasets": [{"path": "math.jsonl", "type": "alpaca", "domain": "math"}],
    "dmt": {"strategy": "multi_task"},
}


def check(**keys: Any) -> None:
    study = Study.model_validate({"base": BASE, "output_dir": "out", "seeds": [1], **keys})
    check_set_keys(study, BASE)


@pytest.mark.parametrize(
    ("key", "close"),
    [
        ("optimiser", "optimizer"),
        ("dmt.strateggy", "strategy"),
        ("datasets.0.pathh", "path"),
        ("zzz_top", "zzz_top"),
    ],
)
def test_a_misspelt_place_is_refused(key: str, close: str) -> None:
    with expect_error(f"study.set.{key}", close):
        check(set={key: [1, 2]})
    with expect_error(f"study.cells[0].set.{key}", close):
        check(cells=[{"set": {key: [1, 2]}}])
    with expect_error(f"study.variants.one.{key}", close):
        check(variants={"one": {key: 1}})


def test_known_places_are_accepted() -> None:
    check(set={"learning_rate": [1e-3], "dmt.order": ["blocks"], "datasets.0.split": "train"})
