"""The starting model is scored where its weights are trained, unless the YAML says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.starting_model import scores_before
from axolotl_dmt.toy import UNTRAINED


def decided(raw: dict[str, Any], **evaluate: Any) -> bool:
    start = {"start_stage": raw.pop("start_stage")} if "start_stage" in raw else {}
    block = {"strategy": "dmt", "evaluate": {"tasks": ["dmt_math"], **evaluate}, **start}
    return scores_before(raw, read_config(block))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"base_model": "org/model"}, True),
        ({"base_model": "org/model", "reinit_weights": True}, False),
        ({"base_model": "org/model", "start_stage": "generalise"}, False),
    ],
)
def test_a_model_with_trained_weights_is_scored_unless_an_earlier_run_did(
    raw: dict[str, Any], expected: bool
) -> None:
    assert decided(dict(raw)) is expected
    assert decided(dict(raw), before=True) is True
    assert decided(dict(raw), before=False) is False


def test_a_folder_can_say_that_its_weights_are_random(tmp_path: Path) -> None:
    assert decided({"base_model": str(tmp_path)})
    (tmp_path / UNTRAINED).touch()
    assert not decided({"base_model": str(tmp_path)})


def test_nothing_is_scored_before_a_run_that_scores_nothing() -> None:
    assert not decided({"base_model": "org/model"}, when="never", before=True)
    assert not scores_before({"base_model": "org/model"}, read_config({"strategy": "dmt"}))
