"""The results of a solved stage are completed by those of the stages before it."""

from __future__ import annotations

from pathlib import Path

from axolotl_dmt.results import Results, Score, StageResult
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.items import Item, Point, read_items, record_items
from axolotl_dmt.study.earlier_results import add_earlier


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
