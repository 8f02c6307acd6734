"""`axolotl train` through both stages on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.results.secrets import MASK
from tests.conftest import ROWS
from tests.e2e.runs import Finished, axolotl, config, train
from tests.e2e.secrets_in_a_yaml import planted, secrets


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("run")
    data = {name: str(toy / f"data/{name}_test.jsonl") for name in ROWS}
    dmt = {
        "strategy": "dmt",
        "k": "1/4",
        "evaluate": {
            "tasks": ["dmt_suite"],
            "before": True,
            "data": data,
            "max_new_tokens": 16,
            "allow_unsafe_code": True,
        },
    }
    text = planted(config(toy, folder / "out", dmt=dmt))
    assert text.count("<<: *entry") == 3
    (folder / "dmt.yaml").write_text(text)
    # Variables with which people set secrets.
    variables = {"HF_TOKEN": secrets()[2], "DMT_JUDGE_API_KEY": secrets()[3]}
    done = axolotl(
        "train", str(folder / "dmt.yaml"), "--launcher", "python", timeout=1800, **variables
    )
    return Finished(done.returncode, done.stdout + done.stderr, folder / "out")


def files_with(secret: str, folder: Path) -> list[str]:
    """Return the files below a folder that contain a text, written plainly or as JSON."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_both_stages_run_to_their_ends(finished: Finished) -> None:
    assert finished.code == 0, finished.output[-4000:]
    names = [(stage["name"], stage["end_step"]) for stage in finished.results["stages"]]
    # 180 rows of math and code, then 100 + 30 + 15 rows, at 8 rows per step.
    assert names == [("specialise", 23), ("generalise", 23 + 19)]


def test_rows_of_each_stage_are_exact(finished: Finished) -> None:
    rows = [stage["rows"] for stage in finished.results["stages"]]
    assert rows == [{"math": 120, "code": 60}, {"general": 100, "math": 30, "code": 15}]


def test_every_stage_and_the_start_are_scored(finished: Finished) -> None:
    for part in [finished.results["baseline"], *finished.results["stages"]]:
        assert set(part["scores"]) == {"math", "code", "general"}
        for ability, score in part["scores"].items():
            assert score["task"] == f"dmt_{ability}"
            assert 0 <= score["value"] <= 1
            assert score["n"] == 6
            assert score["stderr"] is not None


def test_stage_folders_load_with_from_pretrained(finished: Finished) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for name in ("01-specialise", "02-generalise"):
        folder = finished.folder / "stages" / name
        assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
        assert AutoTokenizer.from_pretrained(folder).eos_token == "</s>"


def test_report_and_picture_are_written(finished: Finished) -> None:
    folder = finished.folder / "dmt"
    assert "specialise" in (folder / "report.md").read_text()
    assert (folder / "abilities.png").stat().st_size > 5000
    assert "generalise" in finished.output


def test_no_secret_of_the_yaml_is_in_a_file_of_the_run_or_in_its_log(
    toy: Path, finished: Finished
) -> None:
    written = {secret: files_with(secret, finished.folder) for secret in secrets()}
    assert {secret: files for secret, files in written.items() if files} == {}
    assert [secret for secret in secrets() if files_with(secret, toy / "prepared")] == []
    assert [secret for secret in secrets() if secret in finished.output] == []
    names = {path.name for path in finished.folder.rglob("*") if path.is_file()}
    assert {"results.json", "config.yaml", "debug.log", "README.md", "report.html"} <= names
    card = (finished.folder / "README.md").read_text()
    assert "path: " in card and "<<: *entry" in card and f"# comet_api_key: {MASK}" in card


def test_no_secret_of_the_yaml_is_in_the_recipe_of_the_run(
    finished: Finished, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe"
    arguments = ["recipe", "export", str(finished.folder), "--to", str(recipe)]
    exported = CliRunner().invoke(dmt, arguments, catch_exceptions=False)
    assert exported.exit_code == 0, exported.output
    assert len(list(recipe.iterdir())) >= 3
    assert [secret for secret in secrets() if files_with(secret, tmp_path)] == []
    assert [secret for secret in secrets() if secret in exported.output] == []


def test_each_stage_warms_up_and_decays_on_its_own(finished: Finished) -> None:
    curve = json.loads((finished.folder / "dmt/results.json").read_text())["learning_curve"]
    assert [point["step"] for point in curve] == list(range(1, 43))
    assert [point["stage"] for point in curve] == ["specialise"] * 23 + ["generalise"] * 19
    rates = [point["learning_rate"] for point in curve]
    for part in (rates[:23], rates[23:]):
        assert part[0] == pytest.approx(1e-3)
        assert part[-1] < 2e-5
        assert part == sorted(part, reverse=True)


@pytest.mark.slow
def test_a_later_run_can_start_at_stage_2_from_stage_1s_weights(
    toy: Path, finished: Finished, tmp_path: Path
) -> None:
    settings = config(
        toy, tmp_path / "out", dmt={"strategy": "dmt", "k": "1/4", "start_stage": "generalise"}
    )
    settings["base_model"] = str(finished.folder / "stages/01-specialise")
    done = train(tmp_path, settings)
    assert done.code == 0, done.output[-4000:]
    assert [stage["name"] for stage in done.results["stages"]] == ["generalise"]
    ours, theirs = (
        (folder / "model.safetensors").read_bytes() for folder in (done.folder, finished.folder)
    )
    assert ours == theirs
