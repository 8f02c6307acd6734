"""Stage 2 equals a run of its own, and a killed run the unbroken one, whatever the optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.e2e.runs import Finished, config, train

pytestmark = pytest.mark.slow

OPTIMIZERS = ("adamw_bnb_8bit", "paged_adamw_8bit", "muon", "adafactor", "schedule_free_adamw")
KILLS = ("checkpoint:23", "step:24", "step:32")
"""Stage 1 ends at step 23, and every sixth step is saved.

The run is resumed at step 18 in stage 1, at the boundary just after the reset, and at step 30.
"""


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


@pytest.fixture(scope="module")
def whole(
    request: pytest.FixtureRequest, toy: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Finished]:
    """The name of an optimiser, and an unbroken run with it."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(folder, settings(toy, folder / "out", request.param))
    assert done.code == 0, done.output[-4000:]
    return request.param, done


@pytest.mark.parametrize(
    ("whole", "kills"),
    [
        ("adamw_bnb_8bit", KILLS[-1:]),
        *(pytest.param(name, KILLS, marks=pytest.mark.slow) for name in OPTIMIZERS),
    ],
    indirect=["whole"],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} kills",
)
def test_a_killed_run_ends_as_the_unbroken_one(
    toy: Path, tmp_path: Path, whole: tuple[str, Finished], kills: tuple[str, ...]
) -> None:
    optimizer, unbroken = whole
    made = settings(toy, tmp_path / "out", optimizer)
    for kill_at in kills:
        assert run(tmp_path, made, KILL_AT=kill_at).code != 0
    resumed = run(tmp_path, made)
    assert resumed.code == 0, resumed.output[-4000:]
    assert_same_end(resumed, unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("whole", OPTIMIZERS, indirect=True)
def test_stage_2_is_a_run_of_its_own(
    toy: Path, tmp_path: Path, whole: tuple[str, Finished]
) -> None:
    optimizer, unbroken = whole
    made = settings(toy, tmp_path / "out", optimizer)
    made["base_model"] = str(unbroken.folder / "stages/01-specialise")
    made["dmt"]["start_stage"] = "generalise"
    alone = run(tmp_path, made)
    assert alone.code == 0, alone.output[-4000:]
    assert_same_end(alone, unbroken)


def assert_same_end(ours: Finished, theirs: Finished) -> None:
    for part in (".", "stages/*-generalise"):  # a run that starts there has it as its first stage
        one, two = (weights(done.folder, part) for done in (ours, theirs))
        assert one.keys() == two.keys()
        assert not [name for name in one if not one[name].equal(two[name])]


def weights(folder: Path, part: str) -> dict[str, Any]:
    (file,) = folder.glob(f"{part}/model.safetensors")
    return load_file(file)
