"""Adds the results of other runs to those of a run that went on from them, or began like them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from axolotl_dmt.report.view import ReportView
from axolotl_dmt.report.write import write_report
from axolotl_dmt.results.folder import MODEL, RunFolder, load_results
from axolotl_dmt.results.items import (
    Point,
    items_of,
    record_items,
    rename_point,
)
from axolotl_dmt.results.results import Results, StageResult


def add_earlier(run: RunFolder, folders: Sequence[Path]) -> None:
    """Add the results of the runs before a run, as if one run had trained all stages.

    If the run scored the model that it started from, these are the scores of the stage before it.
    A run that has resumed after this has them already, and stays as it is.

    Args:
        run: the run, which trained the last stages.
        folders: the output folders of the runs before it, in order.
    """
    results = load_results(run.output_dir)
    earlier = [load_results(folder) for folder in folders]
    stages = [
        _elsewhere(stage, RunFolder(folder).model_of(index, stage), run.output_dir)
        for folder, each in zip(folders, earlier, strict=True)
        for index, stage in enumerate(each.stages)
    ]
    if {stage.name for stage in stages} & {stage.name for stage in results.stages}:
        return
    if (start := results.baseline) is not None:
        last = stages[-1] = replace(
            stages[-1], scores=start.scores, samples=start.samples, error=start.error
        )
        rename_point(run.items, Point.baseline(), Point.stage(last.name, last.end_step))
    for folder, each in zip(folders, earlier, strict=True):
        if each.baseline is not None:
            _add_items(run, folder, Point.baseline())
        for stage in each.stages:
            _add_items(run, folder, Point.stage(stage.name, stage.end_step))
    baseline = earlier[0].baseline
    _write(run, replace(results, stages=(*stages, *results.stages), baseline=baseline))


def add_baseline(run: RunFolder, folder: Path) -> None:
    """Add the results of the model before training, which another run measured.

    Args:
        run: the run, which started from the same model.
        folder: the output folder of the run that measured them.
    """
    results, other = load_results(run.output_dir), load_results(folder)
    _add_items(run, folder, Point.baseline())
    _write(run, replace(results, baseline=other.baseline))


def _elsewhere(stage: StageResult, model: Path, output_dir: Path) -> StageResult:
    """Return the result of a stage whose model is not in the output folder."""
    path = os.path.relpath(model.resolve(), output_dir.resolve())
    return replace(stage, extra={**stage.extra, MODEL: path})


def _add_items(run: RunFolder, folder: Path, point: Point) -> None:
    ledger = RunFolder(folder).items
    if ledger.is_file():
        record_items(run.items, point, items_of(ledger, point.name))


def _write(run: RunFolder, results: Results) -> None:
    results.save(run.results)
    write_report(ReportView.of(results, run.output_dir), run.dmt)
