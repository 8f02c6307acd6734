"""The model before training is scored by one run, and the others get its scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.items import read_items
from axolotl_dmt.study.cells import StudyRun, runs_of
from axolotl_dmt.study.folder import StudyFolder, open_study
from axolotl_dmt.study.runner import emit
from tests.study.made_up import (
    MadeUpWorkers,
    cells_of,
    finish,
    opened,
    perform,
    with_baseline,
)


def asked_before(folder: StudyFolder, run: StudyRun) -> bool | None:
    """Return `dmt.evaluate.before` of the YAML that a run would be trained with."""
    before: bool | None = folder.config(run)["dmt"]["evaluate"].get("before")
    return before


def test_the_model_before_training_is_scored_once_for_the_runs_that_start_from_it(
    tmp_path: Path,
) -> None:
    cells = cells_of(tmp_path, strategy=["multi_task", "sequential", "mixed_sequential"])
    folder = opened(tmp_path, cells)
    starts = [run for run in runs_of(cells) if run.parent is None]
    multi, code, specialise = starts
    assert [asked_before(folder, run) for run in starts] == [None, False, False]
    finish(folder, code, 0.5)
    folder.share_baseline(code)
    assert load_results(folder.of(code)).baseline is None
    with_baseline(folder, multi, 0.25)
    assert asked_before(folder, specialise) is False
    folder.share_baseline(multi)
    shared = load_results(folder.of(code))
    assert shared.baseline is not None
    assert (shared.baseline.values(), shared.stages[0].values()) == ({"math": 0.25}, {"math": 0.5})
    (row,) = read_items(RunFolder(folder.of(code)).items).to_pylist()
    assert (row["kind"], row["score"]) == ("baseline", 0.25)
    assert "0.25" in (folder.of(code) / "dmt/report.md").read_text()


def test_models_that_differ_or_are_asked_differently_are_scored_each(tmp_path: Path) -> None:
    cells = cells_of(
        tmp_path,
        seeds=[1, 2],
        strategy="multi_task",
        base_model=["models/a", "models/b"],
        set={"dmt.evaluate.limit": [20, 40]},
    )
    folder = opened(tmp_path, cells)
    assert [asked_before(folder, cell.run) for cell in cells] == [None] * 8


def test_a_run_that_another_study_trained_without_a_baseline_is_given_one(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, strategy=["multi_task", "sequential", "mixed_sequential"])
    folder = opened(tmp_path, cells)
    _, code, specialise = (run for run in runs_of(cells) if run.parent is None)
    finish(folder, code, 0.5)
    others = cells_of(tmp_path, strategy=["sequential", "mixed_sequential"])
    other = open_study(
        tmp_path / "b", others, retrain_changed=False, runs_dir=tmp_path / "out/runs"
    )
    assert asked_before(other, specialise) is None  # nobody else is left who would score it
    with_baseline(other, specialise)
    other.share_baseline(specialise)
    assert load_results(other.of(code)).baseline is not None


def has_baseline(folder: StudyFolder, run: StudyRun) -> bool:
    return load_results(folder.of(run)).baseline is not None


@pytest.mark.parametrize("jobs", [1, 2])
def test_another_run_scores_the_start_where_the_first_one_fails(tmp_path: Path, jobs: int) -> None:
    cells = cells_of(tmp_path, strategy=["multi_task", "sequential", "mixed_sequential"])
    folder, runs = opened(tmp_path, cells), runs_of(cells)
    multi, code, specialise = (run for run in runs if run.parent is None)
    workers = MadeUpWorkers(folder, runs, jobs=jobs)
    workers.broken = {multi.name}
    assert [*perform(workers).failed] == [multi.key]
    scored = [has_baseline(folder, run) for run in (code, specialise)]
    assert scored == [True, True] or jobs == 2
    workers.broken = set()
    assert perform(workers).failed == {}
    assert all(has_baseline(folder, run) for run in (multi, code, specialise))


def test_a_start_that_could_not_be_scored_is_scored_by_another_run(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, strategy=["multi_task", "sequential", "mixed_sequential"])
    folder = opened(tmp_path, cells)
    multi, code, specialise = (run for run in runs_of(cells) if run.parent is None)
    with_baseline(folder, multi)
    results = load_results(folder.of(multi))
    assert results.baseline is not None
    failed = replace(results.baseline, error="judge unreachable", scores={})
    replace(results, baseline=failed).save(folder.of(multi) / "dmt/results.json")
    assert (asked_before(folder, code), asked_before(folder, specialise)) == (None, False)
    finish(folder, code, 0.5)
    folder.share_baselines()
    assert not has_baseline(folder, code)


def test_a_run_that_scored_the_start_does_so_again_if_it_is_trained_again(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, strategy=["sequential", "mixed_sequential"])
    folder, runs = opened(tmp_path, cells), runs_of(cells)
    code, specialise = (run for run in runs if run.parent is None)
    with_baseline(folder, code)  # without weights
    list(emit(folder, runs, ""))
    config = YamlFile.read(folder.of(code) / "config.yaml").data
    assert "before" not in config["dmt"]["evaluate"]
    perform(MadeUpWorkers(folder, runs, jobs=2))
    assert has_baseline(folder, code) and has_baseline(folder, specialise)


def test_starts_are_shared_by_the_next_call_after_runs_that_ended_on_their_own(
    tmp_path: Path,
) -> None:
    cells = cells_of(tmp_path, strategy=["multi_task", "single"], domain="math")
    folder, (multi, single) = opened(tmp_path, cells), runs_of(cells)
    with_baseline(folder, multi)
    finish(folder, single, 0.5)
    perform(MadeUpWorkers(folder, [multi, single]))
    assert has_baseline(folder, single)
