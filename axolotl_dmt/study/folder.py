"""Finds and writes the folders of a study and of its runs.

    OUTPUT_DIR/
      study.json                       the cells, and the runs of each
      runs/dmt-k1_16/seed-1/
        config.yaml                    the YAML for `axolotl train`
        run.json                       the digest of what the run trains; why it failed, if it did
        run.log                        the output of the run
        stages/, dmt/                  as in the output folder of any training
      report/                          tables and pictures of all cells

A run is identified by the digest of what it trains, not by the name of its folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json, write_json, write_text
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.study.baselines import same_starts
from axolotl_dmt.study.cells import Cell, StudyRun, runs_of
from axolotl_dmt.study.earlier_results import add_baseline
from axolotl_dmt.study.weights import delete_weights, has_weights
from axolotl_dmt.training.earlier_run import set_aside

SCHEMA = 1
RUNS = "runs"
STUDY_FILE = "study.json"
RUN_FILE = "run.json"
CONFIG_FILE = "config.yaml"
LOG_FILE = "run.log"
FINISHED = "train and evaluate"
"""The timing that a run writes last: a run without it is unfinished."""


class StudyFolder:
    """A study's folder and the folders of its runs.

    Attributes:
        root: the study's `output_dir`.
        existing: {key of a run: its folder} for the runs that have a folder.
        folders: {key of a run: its folder} for all runs of the study.
    """

    def __init__(self, root: Path, runs: Iterable[StudyRun], runs_dir: Path | None = None) -> None:
        """Find the runs that have a folder already.

        Args:
            root: the study's `output_dir`.
            runs: the runs of the study.
            runs_dir: the folder of the runs, by default in `root`.
        """
        self.root = root
        runs = list(runs)
        runs_dir = runs_dir or root / RUNS
        self.existing = {
            key: file.parent
            for file in sorted(runs_dir.glob(f"*/*/{RUN_FILE}"))
            if (key := read_object(file).get("key"))
        }
        self.folders = self._places(runs, runs_dir)
        self._same_starts = same_starts(runs)
        self._needed = {source.key for run in runs for source in run.sources()}

    def _places(self, runs: Iterable[StudyRun], runs_dir: Path) -> dict[str, Path]:
        """Return {key of a run: its folder}; two runs never share one.

        A run has the folder that it was trained in, whatever it was called then. A new run whose
        name is that of such a folder gets a number.
        """
        keys = {run.key: run for run in runs}
        places = {key: self.existing[key] for key in keys if key in self.existing}
        for key, run in keys.items():
            if key not in places:
                path, taken = runs_dir / run.name, set(places.values())
                numbers = itertools.count(2)
                while path in taken:
                    path = runs_dir / f"{Path(run.name).parent}-{next(numbers)}" / path.name
                places[key] = path
        return places

    def of(self, run: StudyRun) -> Path:
        """Return the folder of a run."""
        return self.folders[run.key]

    def last_stage(self, run: StudyRun) -> Path:
        """Return the folder of the model after the last stage of a run."""
        return self.stages(run)[-1]

    def stages(self, run: StudyRun) -> list[Path]:
        """Return the folders of the models after each stage of a run."""
        folder = RunFolder(self.of(run))
        return [folder.stage(index, name) for index, name in enumerate(run.stages)]

    def is_done(self, run: StudyRun) -> bool:
        """Whether a run has finished."""
        return run.key in self.existing and is_finished(self.of(run), run.stages)

    def unfinished(self, runs: Sequence[StudyRun]) -> list[StudyRun]:
        """Return the runs that are left to perform.

        They include finished runs whose weights are gone, where an unfinished run needs them.

        Args:
            runs: parents before children.
        """
        pending: set[str] = set()
        needed: set[str] = set()
        for run in reversed(runs):
            is_lost = run.key in needed and not all(map(has_weights, self.stages(run)))
            if is_lost or not self.is_done(run):
                pending.add(run.key)
                needed.update(source.key for source in run.sources())
        return [run for run in runs if run.key in pending]

    def delete_weights(self, run: StudyRun) -> None:
        """Delete the weights of a finished run, except those that other runs start from or merge.

        Those are the models after its stages. If a stage could not be scored, all weights stay, so
        that it can be scored later.
        """
        if any(stage.error for stage in load_results(self.of(run)).stages):
            return
        delete_weights(self.of(run), keep_stages=run.key in self._needed)

    def changed(self, runs: Iterable[StudyRun]) -> list[StudyRun]:
        """Return the runs whose folder holds a run with other settings."""
        return [run for run in runs if run.key not in self.existing and self.of(run).exists()]

    def set_aside(self, runs: Iterable[StudyRun]) -> list[Path]:
        """Rename the folders of runs that changed and return their new paths."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        moved = []
        for run in runs:
            target = self.of(run).with_name(f"{self.of(run).name}.{stamp}")
            os.replace(self.of(run), target)
            moved.append(target)
        return moved

    def config(self, run: StudyRun) -> dict[str, Any]:
        """Return the whole YAML of a run, with its output folder and the weights to start from."""
        if run.merge is not None:
            models = [str(model) for earlier in run.sources() for model in self.stages(earlier)]
            merge = {"method": run.merge, "weight": run.merge_weight, "models": models}
            model = {"base_model": str(self.last_stage(run)), "output_dir": str(self.of(run))}
            return {**run.config, **model, "merge": merge}
        config = {**run.config, "output_dir": str(self.of(run))}
        if run.key in self._same_starts and not self._scores_start(run):
            block = config["dmt"]
            config["dmt"] = {**block, "evaluate": {**block["evaluate"], "before": False}}
        if run.parent is not None:
            # With an adapter, the stage folders hold the adapter only.
            weights = "lora_model_dir" if config.get("adapter") else "base_model"
            config[weights] = str(self.last_stage(run.parent))
        return config

    def _scores_start(self, run: StudyRun) -> bool:
        """Whether a run scores the model before training, which others start from as well.

        A run that has its scores keeps on scoring it. Otherwise, unless a finished run has them,
        the first run does that has neither finished nor failed.
        """
        group = self._same_starts[run.key]
        if any(self._has_baseline(other) for other in group):
            return self._has_baseline(run)
        candidates = (other.key for other in group if not self._has_ended(other))
        return run.key == next(candidates, run.key)

    def share_baselines(self) -> None:
        """Give the scores of each model before training to all finished runs that start from it."""
        for first in {group[0].key: group[0] for group in self._same_starts.values()}.values():
            self.share_baseline(first)

    def share_baseline(self, run: StudyRun) -> None:
        """Do so for the runs that start like this one."""
        finished = [other for other in self._same_starts.get(run.key, ()) if self.is_done(other)]
        source = next((other for other in finished if self._has_baseline(other)), None)
        for other in finished:
            if source is not None and not self._has_baseline(other):
                add_baseline(RunFolder(self.of(other)), self.of(source))

    def _has_baseline(self, run: StudyRun) -> bool:
        if not self.is_done(run):
            return False
        baseline = load_results(self.of(run)).baseline
        return baseline is not None and not baseline.error

    def _has_ended(self, run: StudyRun) -> bool:
        return self.is_done(run) or bool(read_object(self.of(run) / RUN_FILE).get("failed"))

    def set_results_aside(self, run: StudyRun) -> None:
        """Move the results of a finished run away, so that it is trained again from its start."""
        set_aside(self.of(run), with_checkpoints=True)

    def write(self, run: StudyRun) -> Path:
        """Write a run's `config.yaml` and `run.json`; return the path of `config.yaml`."""
        folder = self.of(run)
        folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.config(run), sort_keys=False, allow_unicode=True)
        path = folder / CONFIG_FILE
        write_text(path, text)
        self.record(run)
        return path

    def record(self, run: StudyRun, failed: str | None = None) -> None:
        """Write `run.json`: what a run trains and, if it failed, why."""
        entry = {"key": run.key, **({"failed": failed} if failed else {})}
        write_json(self.of(run) / RUN_FILE, entry)
        self.existing[run.key] = self.of(run)

    def write_cells(self, cells: Sequence[Cell]) -> None:
        """Write `study.json`, which lists the cells and their runs."""
        entries = [
            {
                "name": cell.name,
                "settings": cell.plain_settings(),
                "seed": cell.seed,
                "runs": [
                    {
                        "folder": os.path.relpath(self.of(run), self.root),
                        "key": run.key,
                        "stages": list(run.stages),
                    }
                    for run in cell.run.chain()
                ],
            }
            for cell in cells
        ]
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self.root / STUDY_FILE, {"schema": SCHEMA, "cells": entries})


@contextlib.contextmanager
def locked(root: Path) -> Iterator[int]:
    """Lock a study's folder on entry; unlock it on exit.

    Processes that inherit the descriptor hold the lock as well.

    Yields:
        The descriptor of the locked file.

    Raises:
        DMTError: another process holds the lock, or the folder cannot be created.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{root} cannot be created ({error.strerror})"
        raise DMTError("study.output_dir", problem, "name a folder that you can write to") from None
    with (root / ".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            problem = f"{root} is in use by another study, or by a run that it started"
            raise DMTError("study.output_dir", problem, "wait for it, or stop it") from None
        yield file.fileno()


def open_study(
    root: Path, cells: Sequence[Cell], *, retrain_changed: bool, runs_dir: Path | None = None
) -> StudyFolder:
    """Open a study's folder and find the runs that it holds.

    Args:
        root: the study's `output_dir`.
        cells: the cells of the study.
        retrain_changed: whether to set runs with changed settings aside instead of refusing.
        runs_dir: the folder of the runs, by default in `root`.

    Raises:
        DMTError: the folder holds runs of this study with other settings.
    """
    runs = runs_of(cells)
    folder = StudyFolder(root, runs, runs_dir)
    changed = folder.changed(runs)
    if changed and not retrain_changed:
        names = ", ".join(run.name for run in changed[:3]) + (", ..." if len(changed) > 3 else "")
        raise DMTError(
            "study.output_dir",
            f"{runs_dir or root} holds {len(changed)} runs with other settings ({names})",
            "name another output_dir, or pass --retrain-changed to train them again; the old "
            "folders are kept under new names",
        )
    folder.set_aside(changed)
    return folder


def is_finished(folder: Path, stages: Sequence[str]) -> bool:
    """Whether the results in a run's folder are complete and of these stages."""
    try:
        results = load_results(folder)
    except DMTError:
        return False
    names = [stage.name for stage in results.stages]
    return FINISHED in results.timings and names == list(stages)


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is no readable one."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
