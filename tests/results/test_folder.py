"""The layout of a run's folder is a file format: other versions and scripts depend on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from axolotl_dmt.results.folder import RunFolder, load_results
from tests.mistakes import expect_error


def test_the_layout_of_an_output_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    paths = {
        run.results: "dmt/results.json",
        run.config: "dmt/config.yaml",
        run.plan: "dmt/plan",
        run.next_plan: "dmt/plan.next",
        run.solution: "dmt/solution.json",
        run.probes: "dmt/solve",
        run.row_losses: "dmt/row_losses.parquet",
        run.report_markdown: "dmt/report.md",
        run.report_html: "dmt/report.html",
        run.picture: "dmt/abilities.png",
        run.hidden_states: "dmt/hidden_states.png",
        run.model_card: "README.md",
        run.stage(0, "specialise"): "stages/01-specialise",
        run.stage(11, "last"): "stages/12-last",
    }
    assert {path.relative_to(tmp_path).as_posix() for path in paths} == set(paths.values())
    assert all(path == tmp_path / place for path, place in paths.items())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("cfg", "folder"),
    [({"output_dir": "out"}, "out"), ({}, "model-out"), ({"output_dir": None}, "model-out")],
)
def test_the_folder_of_a_configuration(cfg: dict[str, str | None], folder: str) -> None:
    assert RunFolder.of_config(cfg) == RunFolder(Path(folder))


def test_checkpoints_are_ordered_by_step(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "none").checkpoints() == []
    for name in ("checkpoint-10", "checkpoint-9", "incomplete-checkpoint-8-2026", "checkpoint-x"):
        (tmp_path / name).mkdir()
    run = RunFolder(tmp_path)
    assert [path.name for path in run.checkpoints()] == ["checkpoint-9", "checkpoint-10"]
    run.checkpoints()[0].rename(run.incomplete(run.checkpoints()[0]))
    assert [path.name for path in run.checkpoints()] == ["checkpoint-10"]


def test_a_folder_within_a_run_leads_to_the_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.dmt.mkdir(parents=True)
    run.results.write_text("{}")
    with expect_error("OUTPUT_DIR", run.dmt, f"did you mean {run.output_dir}?"):
        load_results(run.dmt)
    with expect_error("OUTPUT_DIR", "name the output_dir of a dmt run"):
        load_results(tmp_path)


def test_each_earlier_run_gets_a_unique_name(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    made = []
    for ended in (0, 0, 86400):
        made.append(run.new_earlier_run(ended))
        made[-1].mkdir()
    assert run.earlier_runs() == made


def test_the_names_load_neither_torch_nor_axolotl() -> None:
    code = "import sys, axolotl_dmt.results.folder; print({'torch', 'axolotl'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
