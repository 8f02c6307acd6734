"""`axolotl dmt merge`: which options go together, and what a comparison of merges prints."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.cli.merge import show
from axolotl_dmt.results import Results, StageResult
from tests.mistakes import assert_mistake


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that held out no rows."""
    names = ("specialise", "generalise")
    stages = tuple(StageResult(name=name, end_step=i + 1) for i, name in enumerate(names))
    folder = tmp_path / "run"
    Results(plan_fingerprint="feed", stages=stages).save(folder / "dmt" / "results.json")
    settings = {"base_model": "a/model", "dmt": {"strategy": "dmt"}, "output_dir": str(folder)}
    (folder / "dmt" / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


def merge(*arguments: object) -> Result:
    return CliRunner().invoke(dmt, ["merge", *map(str, arguments)])


def message(done: Result) -> str:
    return done.output.strip().removeprefix("axolotl-dmt: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ("--to, --measure", "neither", "--to FOLDER", "--measure 0.25,0.5,0.75")),
        (("--to", "x", "--measure", "0.5"), ("--to, --measure", "both")),
        (("--measure", "0.5,half"), ("--measure", "half", "0.25,0.5,0.75")),
        (("--measure", "0.5,"), ("--measure", "empty")),
        (("--measure", "1.5"), ("--measure", "1.5")),
        (("--measure", "nan"), ("--measure", "nan")),
        (("--to", "x", "--json"), ("--json", "--measure")),
        (("--to", "x", "--config", __file__), ("--config", "--measure")),
        (("--measure", "0.5", "--weight", "0.5"), ("--weight", "--measure")),
        (("--measure", "0.5"), ("val_rows", "test_datasets", "--config")),
    ],
)
def test_mistakes_are_told_in_one_line(
    run: Path, arguments: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    done = merge(run, *arguments)
    assert done.exit_code == 2
    assert_mistake(message(done), *expected)
    assert not Path("x").exists()


def test_a_stage_that_is_missing_is_told_before_a_model_is_loaded(run: Path) -> None:
    config = run / "dmt" / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["dmt"]["val_rows"] = 10
    config.write_text(yaml.safe_dump(settings))
    done = merge(run, "--measure", "0.5")
    assert done.exit_code == 2
    assert_mistake(message(done), "OUTPUT_DIR", "01-specialise")
    done = merge(run, "--measure", "0.5", "--stages", "specialise")
    assert_mistake(message(done), "--stages", 1, "specialise,generalise")


def test_the_table_says_which_weights_are_better_than_the_last_stage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    losses = {
        0.0: {"math": 0.75, "general": 2.4},
        0.5: {"math": 0.74, "general": 2.32},
        0.75: {"math": 0.753, "general": 2.306},
        1.0: {"math": 0.761, "general": 2.308},
    }
    show(losses, ["specialise", "generalise"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if "0.7530" in line] == [
        ["│", "0.75", "│", "0.7530", "│", "2.3060", "│", "1.5295", "│"]
    ]
    assert lines[-2:] == [
        "Less loss than generalise in every domain: 0.75.",
        "Lowest mean over the domains: 0.75.",
    ]
    show({0.0: losses[0.0], 1.0: {"math": 0.7, "general": 2.3}}, ["a/first", "b/last"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "Less loss than last in every domain: no weight.",
        "Lowest mean over the domains: 1 (last).",
    ]


def test_a_loss_that_is_not_a_number_is_not_the_lowest(capsys: pytest.CaptureFixture[str]) -> None:
    nan = float("nan")
    show({0.0: {"math": nan}, 0.5: {"math": 1.0}, 1.0: {"math": 1.2}}, ["a", "b"])
    assert capsys.readouterr().out.splitlines()[-1] == "Lowest mean over the domains: 0.5."
    show({0.0: {"math": nan}, 1.0: {"math": nan}}, ["a", "b"])
    assert capsys.readouterr().out.splitlines()[-1].endswith("no weight.")


def test_folders_of_one_name_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    show({0.0: {"math": 1.0}, 1.0: {"math": 1.2}}, ["a/merged", "b/merged"])
    assert "Less loss than b/merged in every domain" in capsys.readouterr().out
