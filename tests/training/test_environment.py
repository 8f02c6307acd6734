"""Settings that need a GPU are refused where there is none, before the model is loaded."""

from __future__ import annotations

import pytest
import torch
from axolotl.utils.dict import DictDefault

from axolotl_dmt.training.environment import check_offloading
from tests.mistakes import expect_error


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("value", [True, "legacy", "disk"])
def test_offloading_needs_a_gpu(value: bool | str) -> None:
    with expect_error("activation_offloading", value, "hidden_states"):
        check_offloading(DictDefault({"activation_offloading": value}))


@pytest.mark.parametrize("value", [None, False, "hidden_states"])
def test_other_settings_are_accepted(value: bool | str | None) -> None:
    check_offloading(DictDefault({"activation_offloading": value}))
