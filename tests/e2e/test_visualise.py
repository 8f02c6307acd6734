"""`axolotl dmt visualise` on the folder of a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from axolotl_dmt.results import Results, StageResult
from tests.e2e import runs


@pytest.mark.slow
def test_a_run_is_pictured_from_the_models_in_its_folder(toy: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    names = ("specialise", "generalise")
    for i, name in enumerate(names):
        shutil.copytree(toy / "base", output / "stages" / f"{i + 1:02d}-{name}")
    stages = tuple(StageResult(name=name, end_step=i + 1) for i, name in enumerate(names))
    Results(plan_fingerprint="feed", stages=stages).save(output / "dmt" / "results.json")
    settings = runs.config(toy, output)
    settings["dmt"]["val_rows"] = {"math": 20}
    runs.write(output / "dmt" / "config.yaml", settings)
    arguments = ("--queries", "15", "--method", "pca")
    done = runs.axolotl("dmt", "visualise", str(output), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    png = (output / "dmt" / "hidden_states.png").read_bytes()
    assert png[:4] == b"\x89PNG" and int.from_bytes(png[16:20], "big") >= 900
    lines = [line for line in done.stdout.splitlines() if "silhouette" in line]
    assert [line.split(":")[0] for line in lines] == [
        "before training",
        "after specialise",
        "after generalise",
    ]
    assert len({line.split()[-1] for line in lines}) == 1  # the same weights, the same queries
