"""The results of a solved stage are completed by those of the stages before it."""

from __future__ import annotations

from pathlib import Path

from axolotl_dmt.evaluation.any_model import AnyModel
from axolotl_dmt.results import Results, Score, StageResult
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.items import Item, Point, read_items, record_items
from axolotl_dmt.study.earlier_results import add_earlier
from axolotl_dmt.training.earlier_run import set_aside
from axolotl_dmt.training.merge import two_models


def run_of(folder: Path, *stages: StageResult) -> RunFolder:
    """Write the results of a run with these stages."""
    Results(plan_fingerprint="x", stages=stages).save(folder / "dmt/results.json")
    return RunFolder(folder)


def scored(value: float) -> dict[str, Score]:
    return {"math": Score(task="t", metric="m", value=value, stderr=None, n=10)}


def test_the_start_of_a_run_is_the_end_of_the_stage_before(tmp_path: Path) -> None:
    before = StageResult(name="specialise", end_step=7, extra={"held_out_loss": {"math": 2.0}})
    first = run_of(tmp_path / "first", before)
    run = run_of(tmp_path / "run", StageResult(name="general", end_step=3, scores=scored(0.5)))
    load_results(run.output_dir).with_baseline(scored(0.75)).save(run.results)
    item = Item(task="t", ability="math", item="a@0", doc=0, score=0.75, passed=None)
    record_items(run.items, Point.baseline(), [item])
    record_items(run.items, Point.stage("general", 3), [item])
    add_earlier(run, [first.output_dir])
    results = load_results(run.output_dir)
    assert results.baseline is None
    assert [(s.name, s.values()) for s in results.stages] == [
        ("specialise", {"math": 0.75}),
        ("general", {"math": 0.5}),
    ]
    assert results.stages[0].held_out_losses() == {"math": 2.0}
    rows = read_items(run.items).to_pylist()
    assert {(row["kind"], row["point"]) for row in rows} == {
        ("stage", "specialise"),
        ("stage", "general"),
    }
    assert "0.750" in run.report_markdown.read_text()


def test_scores_and_start_of_an_earlier_run_are_taken(tmp_path: Path) -> None:
    before = StageResult(name="specialise", end_step=7, scores=scored(0.75))
    first = run_of(tmp_path / "first", before)
    load_results(first.output_dir).with_baseline(scored(0.25)).save(first.results)
    run = run_of(tmp_path / "run", StageResult(name="general", end_step=3, scores=scored(0.5)))
    add_earlier(run, [first.output_dir])
    results = load_results(run.output_dir)
    assert results.baseline is not None and results.baseline.values() == {"math": 0.25}
    assert [s.values()["math"] for s in results.stages] == [0.75, 0.5]


def test_a_repeated_call_changes_nothing(tmp_path: Path) -> None:
    """A run that is resumed after it has ended keeps its results, and is completed again."""
    first = run_of(tmp_path / "first", StageResult(name="specialise", end_step=7))
    run = run_of(tmp_path / "run", StageResult(name="general", end_step=3, scores=scored(0.5)))
    load_results(run.output_dir).with_baseline(scored(0.75)).save(run.results)
    add_earlier(run, [first.output_dir])
    once = run.results.read_text()
    # The resumed run has the baseline of the run before it.
    load_results(run.output_dir).with_baseline(scored(0.75)).save(run.results)
    add_earlier(run, [first.output_dir])
    results = load_results(run.output_dir)
    assert [stage.name for stage in results.stages] == ["specialise", "general"]
    assert '"model": "../first/stages/01-specialise"' in once


def test_the_models_of_all_stages_are_found(tmp_path: Path) -> None:
    first = run_of(tmp_path / "first", StageResult(name="specialise", end_step=7))
    run = run_of(tmp_path / "run", StageResult(name="general", end_step=3))
    models = [first.stage(0, "specialise"), run.stage(0, "general")]
    for model in models:
        model.mkdir(parents=True)
    add_earlier(run, [first.output_dir])
    stages = load_results(run.output_dir).stages
    found = [run.model_of(index, stage) for index, stage in enumerate(stages)]
    assert [model.resolve() for model in found] == [model.resolve() for model in models]
    assert AnyModel.of(str(run.output_dir)).path == str(models[1])
    both = two_models(run.output_dir, ["specialise", "general"])
    assert [model.resolve() for model in both] == [model.resolve() for model in models]


def test_a_model_is_found_from_a_run_that_was_set_aside(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", StageResult(name="general", end_step=3))
    probe = run.probes / "runs/first"
    first = run_of(probe, StageResult(name="specialise", end_step=7))
    first.stage(0, "specialise").mkdir(parents=True)
    add_earlier(run, [probe])
    kept = set_aside(run.output_dir, with_checkpoints=True)
    assert kept is not None
    stage = load_results(kept).stages[0]
    found = RunFolder(kept).model_of(0, stage)
    assert found.resolve() == first.stage(0, "specialise").resolve() and found.is_dir()
