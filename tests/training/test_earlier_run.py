"""The files of an earlier run are moved to a new folder, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from axolotl_dmt.plan import TrainingPlan, compile_plan
from axolotl_dmt.report.model_card import with_section
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.report.write import write_report
from axolotl_dmt.results import Results
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.training.earlier_run import set_aside, take_next_plan
from axolotl_dmt.training.recorder import Recorder
from tests.pools import domain, stage
from tests.report.test_report import TWO

LEFT = {
    "README.md": with_section("# A model", "scores"),
    "checkpoint-5/trainer_state.json": "{}",
    "dmt/abilities.png": "png",
    "dmt/config.yaml": "a: 1",
    "dmt/contamination.json": "old",
    "dmt/hidden_states.png": "png",
    "dmt/nearest_rows.json": "{}",
    "dmt/plan/plan.json": "{}",
    "dmt/report.html": "html",
    "dmt/report.md": "md",
    "dmt/results.json": "{}",
    "stages/01-only/model.safetensors": "weights",
}
STAYS = {
    "dmt/solution.json": "of `axolotl dmt solve`",
    "dmt/plan.next/plan.json": "of the new run",
    "dmt/row_losses.parquet": "a next run may read it",
    "model.safetensors": "Axolotl's",
}


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def file_names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def plan_of(rows: int) -> TrainingPlan:
    return compile_plan(
        stages=[stage({"math": "all"})], domains=[domain("math", rows)], seed=1, global_batch=8
    )


def test_every_product_of_a_run_is_moved_and_what_the_next_run_reads_stays(tmp_path: Path) -> None:
    fill(tmp_path, {**LEFT, **STAYS})
    kept = set_aside(tmp_path, with_checkpoints=True)
    assert kept is not None and kept.parent == tmp_path
    assert files(kept) == LEFT
    assert {n: t for n, t in files(tmp_path).items() if not n.startswith(kept.name)} == STAYS


def test_runs_that_ended_in_the_same_second_get_separate_folders(tmp_path: Path) -> None:
    kept = []
    for _ in range(3):
        fill(tmp_path, {"dmt/config.yaml": "a: 1"})
        os.utime(tmp_path / "dmt/config.yaml", (0, 0))
        kept.append(set_aside(tmp_path, with_checkpoints=True))
    assert len(set(kept)) == 3 and all(folder and files(folder) for folder in kept)
    assert set_aside(tmp_path, with_checkpoints=True) is None


def test_a_model_card_without_our_section_stays(tmp_path: Path) -> None:
    fill(tmp_path, {**LEFT, "README.md": "# My own"})
    set_aside(tmp_path, with_checkpoints=True)
    assert (tmp_path / "README.md").read_text() == "# My own"


def test_every_file_of_a_report_is_a_product(tmp_path: Path) -> None:
    written = write_report(ReportView.of(TWO), tmp_path / "dmt")
    assert written and set_aside(tmp_path, with_checkpoints=True)
    assert not any(path.exists() for path in written)


@pytest.mark.parametrize(
    ("resumed", "same", "moved"),
    [
        (False, True, True),
        (False, False, True),
        (True, True, False),
        (True, False, True),  # under on_plan_change: replan
    ],
)
@pytest.mark.parametrize("ended", [True, False], ids=["a stage had ended", "no stage had"])
def test_a_resumed_run_keeps_its_own_files(
    tmp_path: Path, resumed: bool, same: bool, moved: bool, ended: bool
) -> None:
    plan, new = plan_of(80), plan_of(80 if same else 88)
    fill(tmp_path, LEFT)
    plan.save(tmp_path / "dmt/plan")
    if ended:
        Results(plan_fingerprint=plan.fingerprint).save(tmp_path / "dmt/results.json")
    else:
        (tmp_path / "dmt/results.json").unlink()
    before = file_names(tmp_path)
    new.save(RunFolder(tmp_path).next_plan)
    (RunFolder(tmp_path).next_plan / "contamination.json").write_text("what the new plan found")
    Recorder(tmp_path, new, writes=True).start(resumed=resumed, wait=lambda: None)
    take_next_plan(tmp_path)

    assert TrainingPlan.load(tmp_path / "dmt/plan").fingerprint == new.fingerprint
    assert not (RunFolder(tmp_path).next_plan).exists()
    kept = list(tmp_path.glob("_earlier-*"))
    assert len(kept) == moved
    assert (tmp_path / "dmt/contamination.json").read_text() == "what the new plan found"
    assert not moved or (kept[0] / "dmt/contamination.json").read_text() == "old"
    assert (tmp_path / "dmt/report.html").exists() is not moved
    # A resumed run needs the checkpoint that it resumes from.
    assert (tmp_path / "checkpoint-5").exists() is resumed
    if moved:
        assert TrainingPlan.load(kept[0] / "dmt/plan").fingerprint == plan.fingerprint
    else:
        assert file_names(tmp_path) == before


def test_until_training_starts_the_folder_holds_the_earlier_plan(tmp_path: Path) -> None:
    fill(tmp_path, LEFT)
    plan_of(80).save(tmp_path / "dmt/plan")
    plan_of(88).save(RunFolder(tmp_path).next_plan)
    assert TrainingPlan.load(tmp_path / "dmt/plan").fingerprint == plan_of(80).fingerprint
