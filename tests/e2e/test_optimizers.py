"""Stage 2 equals a run of its own, and a killed run the unbroken one, whatever the optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.e2e.runs import Finished, config, train

BOUNDARY = 23
OPTIMIZERS = [
    "adamw_bnb_8bit",
    pytest.param("paged_adamw_8bit", marks=pytest.mark.slow),
    pytest.param("muon", marks=pytest.mark.slow),
    pytest.param("adafactor", marks=pytest.mark.slow),
    "schedule_free_adamw",
]


def settings(toy: Path, output: Path, optimizer: str) -> dict[str, Any]:
    made = config(
        toy,
        output,
        optimizer=optimizer,
        dmt={
            "strategy": "dmt",
            "k": "1/4",
            "overrides": {"generalise": {"learning_rate": 5e-4, "weight_decay": 0.1}},
        },
        save_strategy="steps",
        save_steps=6,
        save_total_limit=9,
        auto_resume_from_checkpoints=True,
    )
    made["plugins"] += ["tests.e2e.killer.KillerPlugin"]
    return made


def run(folder: Path, made: dict[str, Any], **variables: str) -> Finished:
    """Train without compiling Muon's kernel, which takes a minute and changes no result here."""
    return train(folder, made, TORCHDYNAMO_DISABLE="1", **variables)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_stage_2_is_a_run_of_its_own_and_a_killed_run_ends_as_the_unbroken_one(
    toy: Path, tmp_path: Path, optimizer: str
) -> None:
    whole = run(tmp_path, settings(toy, tmp_path / "whole", optimizer))
    assert whole.code == 0, whole.output[-4000:]
    expected = load_file(whole.folder / "stages/02-generalise/model.safetensors")

    alone = settings(toy, tmp_path / "alone", optimizer)
    alone["base_model"] = str(whole.folder / "stages/01-specialise")
    alone["dmt"]["start_stage"] = "generalise"
    second = run(tmp_path, alone)
    assert second.code == 0, second.output[-4000:]
    assert_same(second.folder / "model.safetensors", expected)

    for kill_at in (f"checkpoint:{BOUNDARY}", "step:26"):
        made = settings(toy, tmp_path / kill_at.replace(":", "-"), optimizer)
        assert run(tmp_path, made, KILL_AT=kill_at).code != 0
        resumed = run(tmp_path, made)
        assert resumed.code == 0, resumed.output[-4000:]
        assert_same(resumed.folder / "model.safetensors", expected)


def assert_same(file: Path, expected: dict[str, Any]) -> None:
    weights = load_file(file)
    assert weights.keys() == expected.keys()
    differing = [name for name in expected if not weights[name].equal(expected[name])]
    assert not differing
