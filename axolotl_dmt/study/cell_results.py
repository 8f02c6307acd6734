"""Reads the results of a study's cells from the folders of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axolotl_dmt.analysis.measure import SCORE, Measure, require
from axolotl_dmt.analysis.treatments import CellResult, CellStage
from axolotl_dmt.errors import DMTError
from axolotl_dmt.results.changes import Answers, last_answers
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.results.results import Results
from axolotl_dmt.study.folder import RUN_FILE, SCHEMA, STUDY_FILE, is_finished, read_object


def read_cell_results(study_dir: Path, measure: Measure = SCORE) -> list[CellResult]:
    """Read the results of a study's finished cells.

    Args:
        study_dir: a study's `output_dir`.
        measure: what treatments are compared by.

    Raises:
        DMTError: the folder holds no study, or no cell has a value of the measure.
    """
    results = []
    for cell in _cells(study_dir):
        if all(_is_entry_finished(study_dir, run) for run in cell["runs"]):
            runs = [load_results(study_dir / run["folder"]) for run in cell["runs"]]
            stages = [
                CellStage(name=stage.name, rows=stage.rows, scores=measure.values(stage))
                for run in runs
                for stage in run.stages
            ]
            before = runs[0].baseline
            results.append(
                CellResult(
                    name=cell["name"],
                    settings=cell["settings"],
                    seed=cell["seed"],
                    stages=tuple(stages),
                    before=measure.values(before) if before else {},
                    measure=measure,
                    answers=_answers(study_dir / cell["runs"][-1]["folder"], runs[-1], measure),
                )
            )
    require(measure, (stage.scores for cell in results for stage in cell.stages))
    return results


def _answers(folder: Path, results: Results, measure: Measure) -> Mapping[str, Answers]:
    """Return the answers after the last stage of a run; empty where they are not to be compared."""
    if not measure.is_score:
        return {}
    try:
        return last_answers(folder, results)
    except DMTError:  # the report of a study does not fail because of a ledger
        return {}


def read_missing(study_dir: Path) -> dict[str, str]:
    """Return {cell: why it is missing} for the cells that `read_cell_results` leaves out.

    Raises:
        DMTError: the folder holds no study.
    """
    missing = {}
    for cell in _cells(study_dir):
        unfinished = [run for run in cell["runs"] if not _is_entry_finished(study_dir, run)]
        if unfinished:
            first = unfinished[0]["folder"]
            failed = read_object(study_dir / first / RUN_FILE).get("failed")
            missing[cell["name"]] = f"{first}: {failed}" if failed else f"{first}: not trained yet"
    return missing


def _cells(study_dir: Path) -> list[dict[str, Any]]:
    """Return the cells that `study.json` lists.

    Raises:
        DMTError: there is no such file of this schema.
    """
    content = read_object(study_dir / STUDY_FILE)
    if content.get("schema") != SCHEMA:
        fix = "name the output_dir of a study that has started"
        raise DMTError(str(study_dir), f"holds no {STUDY_FILE} of schema {SCHEMA}", fix)
    cells: list[dict[str, Any]] = content["cells"]
    return cells


def _is_entry_finished(study_dir: Path, run: Mapping[str, Any]) -> bool:
    folder = study_dir / run["folder"]
    is_same_run = read_object(folder / RUN_FILE).get("key") == run["key"]
    return is_same_run and is_finished(folder, run["stages"])
