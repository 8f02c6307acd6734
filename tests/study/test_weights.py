"""Weights are deleted that no run needs, and trained again where one needs them after all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.results.folder import load_results
from axolotl_dmt.study.cells import runs_of
from axolotl_dmt.study.runner import emit, emit_slurm
from axolotl_dmt.study.weights import has_weights
from tests.study.made_up import MadeUpWorkers, cells_of, finish, opened, perform, with_weights


def test_weights_that_no_other_run_needs_can_be_deleted(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, cells=[{"k": ["1/4", "1/8"]}, {"merge": "linear", "k": "1/8"}])
    folder = opened(tmp_path, cells)
    first, quarter, eighth, merge = runs_of(cells)
    for run in (first, quarter, eighth, merge):
        finish(folder, run, 0.5)
        with_weights(folder, run)
        folder.delete_weights(run)
    kept = [first, eighth]  # stage 1, and the model that is merged with it
    left = sorted((tmp_path / "out/runs").glob("**/model.safetensors"))
    assert left == sorted(folder.last_stage(run) / "model.safetensors" for run in kept)
    for run in (first, quarter):
        assert (folder.last_stage(run) / "config.json").is_file()
        assert (folder.last_stage(run) / "training_args.bin").is_file()
        assert not (folder.of(run) / "checkpoint-5").exists()
    assert folder.unfinished([first, quarter, eighth, merge]) == []


def test_a_finished_run_whose_weights_are_gone_is_unfinished_where_others_need_it(
    tmp_path: Path,
) -> None:
    cells = cells_of(tmp_path, cells=[{"k": "1/4"}, {"merge": "linear", "k": "1/8"}])
    folder = opened(tmp_path, cells)
    first, quarter, eighth, merge = runs_of(cells)
    for run in (first, eighth, merge):
        finish(folder, run, 0.5)
    runs = [first, quarter, eighth, merge]
    assert folder.unfinished(runs) == [first, quarter]
    with_weights(folder, first)
    assert folder.unfinished(runs) == [quarter]
    (folder.of(merge) / "dmt/results.json").unlink()
    assert folder.unfinished(runs) == [quarter, eighth, merge]
    lines = [line for line in emit(folder, runs, "") if line.startswith("#")]
    again = "trained again, since other runs need their weights, which are gone"
    assert lines == [
        f"# {again}: {eighth.name}",
        "# wave 1 of 2: 2 runs, in any order",
        "# wave 2 of 2: 1 runs, in any order",
    ]
    (folder.last_stage(first) / "model.safetensors").unlink()
    assert folder.unfinished(runs) == runs


def test_a_study_keeps_what_its_runs_start_from_and_merge(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, cells=[{"k": ["1/4", "1/8"]}, {"merge": "linear", "k": "1/8"}])
    folder, runs = opened(tmp_path, cells), runs_of(cells)
    workers = MadeUpWorkers(folder, runs, jobs=2)
    assert perform(workers, keep_weights=False).failed == {}
    assert [has_weights(folder.last_stage(run)) for run in runs] == [True, False, True, False]
    assert not any(has_weights(folder.of(run)) for run in runs)
    assert {*workers.performed} == {run.name for run in runs}
    perform(workers, keep_weights=False)
    assert len(workers.performed) == 4


def test_weights_stay_where_a_stage_could_not_be_scored(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, strategy="multi_task")
    folder, (run,) = opened(tmp_path, cells), runs_of(cells)
    finish(folder, run, 0.5)
    with_weights(folder, run)
    results = load_results(folder.of(run))
    stages = tuple(replace(stage, error="judge unreachable") for stage in results.stages)
    replace(results, stages=stages).save(folder.of(run) / "dmt/results.json")
    folder.delete_weights(run)
    assert has_weights(folder.last_stage(run)) and has_weights(folder.of(run))


def test_weights_of_runs_that_an_earlier_call_trained_stay(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, strategy="multi_task")
    folder, (run,) = opened(tmp_path, cells), runs_of(cells)
    perform(MadeUpWorkers(folder, [run]))
    perform(MadeUpWorkers(folder, [run]), keep_weights=False)
    assert has_weights(folder.of(run))


def test_a_model_is_whole_only_with_every_file_of_its_index(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1.safetensors").touch()
    assert not has_weights(tmp_path)
    (tmp_path / "model-2.safetensors").touch()
    assert has_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{")
    assert not has_weights(tmp_path)


def test_a_merge_waits_for_a_stage_1_that_is_trained_again(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, merge="linear")
    folder = opened(tmp_path, cells)
    first, second, merge = runs_of(cells)
    for run in (first, second):
        finish(folder, run, 0.5)
    with_weights(folder, second)
    script = list(emit_slurm(folder, [first, second, merge], "", "report it"))
    assert "--dependency=afterok:$job_1 " in script[-2]
    finish(folder, first, 0.5)
    workers = MadeUpWorkers(folder, [first, second, merge], jobs=2)
    workers.broken = {first.name}
    assert perform(workers).failed[merge.key] == f"skipped, {first.name} failed"
    workers.broken = set()
    assert perform(workers).failed == {}
    assert workers.performed == [first.name, merge.name]


def test_a_run_is_trained_again_from_its_start_and_its_former_results_are_kept(
    tmp_path: Path,
) -> None:
    cells = cells_of(tmp_path, k="1/4")
    folder = opened(tmp_path, cells)
    first, _ = runs = runs_of(cells)
    finish(folder, first, 0.25)
    (folder.of(first) / "checkpoint-5").mkdir()
    perform(MadeUpWorkers(folder, runs))
    (earlier,) = folder.of(first).glob("*/dmt/results.json")
    assert '"value": 0.25' in earlier.read_text()
    assert (earlier.parents[1] / "checkpoint-5").is_dir()
    assert load_results(folder.of(first)).stages[0].values() == {"math": 0.5}


def test_a_failure_to_delete_is_printed_and_the_study_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(39, "Directory not empty", "checkpoint-5")

    monkeypatch.setattr("axolotl_dmt.study.weights.shutil.rmtree", refuse)
    cells = cells_of(tmp_path, strategy="multi_task", seeds=[1, 2])
    workers = MadeUpWorkers(opened(tmp_path, cells), runs_of(cells))
    assert perform(workers, keep_weights=False).failed == {}
    assert len(workers.performed) == 2 and not workers.was_stopped
    assert "Directory not empty" in capsys.readouterr().out
