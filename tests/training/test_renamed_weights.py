"""A checkpoint of a model that is saved under other names is loaded, and not passed over."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from axolotl_dmt.training.renamed_weights import has_renamed_weights, load_renamed_weights
from tests.tiny_model import make_model
from tests.tiny_vlm import make_vlm


def test_the_weights_of_a_vision_language_model_are_loaded(tmp_path: Path) -> None:
    make_vlm(tmp_path / "base", seed=0)
    make_vlm(tmp_path / "checkpoint", seed=1)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "base")
    expected = AutoModelForImageTextToText.from_pretrained(tmp_path / "checkpoint").state_dict()
    assert has_renamed_weights(tmp_path / "checkpoint", model)
    assert not all(torch.equal(weight, expected[n]) for n, weight in model.state_dict().items())
    load_renamed_weights(tmp_path / "checkpoint", model)
    assert all(torch.equal(weight, expected[n]) for n, weight in model.state_dict().items())


def test_other_models_are_left_to_the_trainer(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_model(tmp_path))
    assert not has_renamed_weights(tmp_path, model)
    (tmp_path / "empty").mkdir()
    assert not has_renamed_weights(tmp_path / "empty", model)
