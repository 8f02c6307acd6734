"""A run that was killed goes on with the same rows from another folder, cut into other batches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.forks import train_all
from tests.e2e.runs import Finished, config


def settings(toy: Path, output: Path, micro: int, accumulation: int) -> dict[str, Any]:
    made = config(
        toy,
        output,
        max_steps=4,
        micro_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        save_strategy="steps",
        save_steps=2,
        auto_resume_from_checkpoints=True,
    )
    made["plugins"] += ["tests.e2e.killer.KillerPlugin"]
    return made


def with_data(made: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the settings with the datasets of another folder."""
    entries = [{**e, "path": str(folder / Path(e["path"]).name)} for e in made["datasets"]]
    return {**made, "datasets": entries, "dataset_prepared_path": str(folder / "prepared")}


def edit(file: Path) -> None:
    """Change the last digit of the first answer, which leaves the number of its tokens."""
    first, *others = file.read_text().splitlines()
    row = json.loads(first)
    place = max(i for i, character in enumerate(row["answer"]) if character.isdigit())
    digit = str((int(row["answer"][place]) + 1) % 10)
    row["answer"] = row["answer"][:place] + digit + row["answer"][place + 1 :]
    file.write_text("\n".join([json.dumps(row), *others]) + "\n")


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    folder = tmp_path_factory.mktemp("elsewhere")
    moved, edited = (shutil.copytree(toy / "data", folder / name) for name in ("moved", "edited"))
    edit(edited / "math.jsonl")
    out = folder / "out"
    return train_all(
        folder,
        {
            "killed": settings(toy, out, 2, 4),
            "edited": with_data(settings(toy, out, 2, 4), edited),
            "halved": settings(toy, out, 4, 1),
            "moved": with_data(settings(toy, out, 4, 2), moved),
        },
        {"killed": {"KILL_AT": "step:6"}},
    )


@pytest.mark.slow
def test_the_same_rows_in_the_same_global_batch_go_on(finished: dict[str, Finished]) -> None:
    assert finished["killed"].code != 0
    done = finished["moved"]
    assert done.code == 0, done.output[-4000:]
    assert [stage["end_step"] for stage in done.results["stages"]] == [4, 8]
    assert [entry["step"] for entry in done.history if "loss" in entry] == [*range(1, 9)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"), [("edited", ("math",)), ("halved", ("global_batch", "8", "4"))]
)
def test_other_rows_or_another_batch_are_refused_in_one_line(
    name: str, values: tuple[str, ...], finished: dict[str, Finished]
) -> None:
    done = finished[name]
    assert done.code == 2
    (line,) = [line for line in done.output.splitlines() if line.startswith("axolotl-dmt: ")]
    assert all(value in line for value in values), line
    assert "Traceback" not in done.output
