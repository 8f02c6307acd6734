"""Hidden states against a direct computation, and the picture of a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from axolotl_dmt.cli.visualise import _query, hidden_states, project, visualise
from axolotl_dmt.results import Results, StageResult
from tests.mistakes import expect_error
from tests.tiny_model import make_model

ROWS = [[5, 6, 7, 8, 9], [10], [11, 12, 13], *([20 + i, 30] for i in range(20))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("token", ["mean", "last"])
def test_states_are_those_of_each_row_alone(model: str, layer: int, token: str) -> None:
    states = hidden_states(model, ROWS, layer=layer, token=token)
    alone = AutoModelForCausalLM.from_pretrained(model).eval()
    assert states.shape == (len(ROWS), 16)
    for row, state in zip(ROWS, states, strict=True):
        with torch.inference_mode():
            expected_states = alone(torch.tensor([row]), output_hidden_states=True).hidden_states[
                layer
            ][0]
        expected = expected_states.mean(dim=0) if token == "mean" else expected_states[-1]
        np.testing.assert_allclose(state, expected.numpy(), atol=1e-5)


def test_an_adapter_changes_the_states_of_its_base(model: str, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(model)
    adapted = get_peft_model(base, LoraConfig(r=2, init_lora_weights=False, task_type="CAUSAL_LM"))
    adapted.save_pretrained(tmp_path)
    before = hidden_states(model, ROWS, layer=1, token="mean")
    after = hidden_states(str(tmp_path), ROWS, layer=1, token="mean")
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize("method", ["pca", pytest.param("tsne", marks=pytest.mark.long)])
def test_two_clusters_stay_apart_in_two_dimensions(method: str) -> None:
    chance = np.random.default_rng(0)
    states = chance.normal(0, 1, (40, 16)).astype(np.float32)
    states[20:] += 20
    points = project(states, method)
    assert points.shape == (40, 2)
    assert np.array_equal(points, project(states, method))
    middle = points[:20].mean(axis=0), points[20:].mean(axis=0)
    for own, far, part in ((*middle, points[:20]), (*middle[::-1], points[20:])):
        near = np.linalg.norm(part - own, axis=1) < np.linalg.norm(part - far, axis=1)
        assert near.all()


def test_the_query_is_what_comes_before_the_answer() -> None:
    def query(labels: list[int]) -> list[int]:
        return _query({"input_ids": [1, 2, 3, 4], "labels": labels})

    assert query([-100, -100, 3, 4]) == [1, 2]
    assert query([1, 2, 3, 4]) == [1, 2, 3, 4]
    assert query([-100] * 4) == [1, 2, 3, 4]


def run_folder(folder: Path, config: str, model: str) -> Path:
    results = Results(plan_fingerprint="feed", stages=(StageResult(name="one", end_step=1),))
    results.save(folder / "dmt" / "results.json")
    (folder / "dmt" / "config.yaml").write_text(config)
    (folder / "stages").mkdir()
    (folder / "stages" / "01-one").symlink_to(model)
    return folder


def picture(folder: Path, **changes: Any) -> None:
    settings = {"config_file": None, "layer": None, "method": "pca", "token": "mean"}
    visualise(folder, **{**settings, "queries": 9, "to": folder / "x.png", **changes})


def test_mistakes_are_refused_before_data_is_read(model: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", f"base_model: {model}", model)
    with expect_error("--layer", 2, "0 to 1"):
        picture(folder, layer=2)
    with expect_error("--queries", 1):
        picture(folder, queries=1)
    (folder / "stages" / "01-one").unlink()
    with expect_error("OUTPUT_DIR", "01-one"):
        picture(folder)


def test_hooks_named_in_a_folder_are_not_run(model: str, tmp_path: Path) -> None:
    config = f"base_model: {model}\ndmt: {{hooks: [somebodys.module]}}"
    folder = run_folder(tmp_path / "run", config, model)
    with expect_error("--config", "config.yaml", "hooks"):
        picture(folder)
    (folder / "dmt" / "config.yaml").unlink()
    with expect_error("--config", "config.yaml"):
        picture(folder)
