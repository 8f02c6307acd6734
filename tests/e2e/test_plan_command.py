"""`axolotl dmt plan` writes nothing to the folder of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.runs import axolotl, config, train, write
from tests.mistakes import assert_mistake


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return the content of every file in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_a_finished_run_is_left_unchanged_and_a_second_run_sets_it_aside(
    toy: Path, tmp_path: Path
) -> None:
    settings = config(toy, tmp_path / "out")
    assert train(tmp_path, settings).code == 0
    before = snapshot(tmp_path / "out")
    other = {**settings, "dmt": {"strategy": "dmt", "k": "1/2"}}
    path = str(write(tmp_path / "other.yaml", other))
    assert axolotl("dmt", "plan", path).returncode == 0
    assert snapshot(tmp_path / "out") == before

    refused = axolotl("dmt", "plan", path, "--plot", "/no/such/folder/plan.png")
    assert refused.returncode == 2
    (message,) = [text for text in refused.stderr.splitlines() if text.startswith("axolotl-dmt: ")]
    assert_mistake(message, "axolotl-dmt: --plot", "/no/such/folder/plan.png")

    single = {"stages": [{"name": "only", "mix": {"math": {"rows": 16}}}]}
    second = train(tmp_path, {**settings, "dmt": single})
    assert second.code == 0, second.output[-3000:]
    assert [folder.name for folder in (second.folder / "stages").iterdir()] == ["01-only"]
    (kept,) = second.folder.glob("_earlier-*")
    stages = [folder.name for folder in (kept / "stages").iterdir()]
    assert sorted(stages) == ["01-specialise", "02-generalise"]
    results = json.loads((kept / "dmt/results.json").read_text())
    assert [stage["name"] for stage in results["stages"]] == [
        "specialise",
        "generalise",
    ]


@pytest.mark.long
def test_data_that_cannot_be_read_is_named_in_one_line(toy: Path, tmp_path: Path) -> None:
    settings = config(toy, tmp_path / "out")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"question": 1}\nnot json\n')
    settings["datasets"][1]["path"] = str(bad)
    done = train(tmp_path, settings)
    assert done.code == 2
    (line,) = [line for line in done.output.splitlines() if line.startswith("axolotl-dmt: ")]
    assert_mistake(line, "axolotl-dmt: datasets[1].path", bad, "line 2")
    assert "Traceback" not in done.output


@pytest.mark.long
def test_a_base_model_that_cannot_be_loaded_is_named_in_one_line(toy: Path, tmp_path: Path) -> None:
    settings = config(toy, tmp_path / "out", base_model="nobody/nothing-1b")
    done = axolotl("dmt", "plan", str(write(tmp_path / "dmt.yaml", settings)))
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "axolotl-dmt" in line]
    assert_mistake(line, "axolotl-dmt: base_model", "hf download nobody/nothing-1b")
    assert "Traceback" not in done.stderr
