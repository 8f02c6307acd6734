"""Studies whose runs have made-up results: nothing is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.report.console import Console
from axolotl_dmt.results import Results, Score, StageResult
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.items import Item, Point, record_items
from axolotl_dmt.study.cells import Cell, StudyRun, expand
from axolotl_dmt.study.config import read_study
from axolotl_dmt.study.folder import FINISHED, StudyFolder, open_study
from axolotl_dmt.study.runner import StudyRunner

BASE: dict[str, Any] = {
    "base_model": "models/{seed}",
    "datasets": [
        {"path": "math.jsonl", "type": "alpaca", "domain": "math"},
        {"path": "code.jsonl", "type": "alpaca", "domain": "code"},
        {"path": "chat.jsonl", "type": "alpaca", "domain": "general"},
    ],
    "dmt": {"strategy": "dmt", "k": "1/8", "evaluate": {"tasks": ["dmt_suite"]}},
    "learning_rate": 1e-3,
}


def cells_of(tmp_path: Path, base: dict[str, Any] = BASE, **study: Any) -> list[Cell]:
    """Write a study of one seed with these keys, read it and return its cells."""
    settings = {"base": base, "output_dir": str(tmp_path / "out"), "seeds": [1], **study}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return expand(*read_study(path))


def finish(folder: StudyFolder, run: StudyRun, value: float) -> None:
    """Write the results of a run whose scores are all `value`."""
    folder.write(run)
    score = Score(task="t", metric="m", value=value, stderr=None, n=10)
    stages = tuple(
        StageResult(name=name, end_step=5, rows={"math": 7}, scores={"math": score})
        for name in run.stages
    )
    results = Results(plan_fingerprint="x", stages=stages, timings={FINISHED: 1.0})
    results.save(folder.of(run) / "dmt" / "results.json")


def with_weights(folder: StudyFolder, run: StudyRun) -> None:
    """Write files like those of a finished training."""
    for model in (folder.of(run), *folder.stages(run), folder.of(run) / "checkpoint-5"):
        model.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "model.safetensors", "training_args.bin"):
            (model / name).write_bytes(b"{}")


def opened(tmp_path: Path, cells: list[Cell], *, retrain_changed: bool = False) -> StudyFolder:
    """Open the study's folder and list the cells in it, as the command does."""
    folder = open_study(tmp_path / "out", cells, retrain_changed=retrain_changed)
    folder.write_cells(cells)
    return folder


def with_baseline(folder: StudyFolder, run: StudyRun, value: float = 0.5) -> None:
    """Write the results and the items of a finished run that scored the model before training."""
    finish(folder, run, value)
    results = load_results(folder.of(run))
    score = replace(results.stages[0].scores["math"], value=0.25)
    results.with_baseline({"math": score}).save(folder.of(run) / "dmt/results.json")
    ledger = RunFolder(folder.of(run)).items
    item = Item(task="t", ability="math", item="a@0", doc=0, score=0.25, passed=None)
    record_items(ledger, Point.baseline(), [item])


class MadeUpWorkers:
    """Writes results and weights in place of training; scores the start where the YAML asks so.

    Attributes:
        performed: the names of the runs, in the order in which they ended.
    """

    def __init__(self, folder: StudyFolder, runs: Iterable[StudyRun], jobs: int = 1) -> None:
        """Store the runs; `broken` may then be filled with the names of those that fail."""
        self.folder, self.jobs = folder, jobs
        self.by_name = {run.name: run for run in runs}
        self.broken: set[str] = set()
        self.performed: list[str] = []
        self.was_stopped = False

    def perform(self, name: str, command: Sequence[str], log: Path) -> int | str:
        """Finish a run, or fail."""
        log.write_text("no luck\n")
        if name in self.broken:
            return 1
        run = self.by_name[name]
        assert all(
            (stage / "model.safetensors").is_file()
            for source in run.sources()
            for stage in self.folder.stages(source)
        ), f"{name} has no weights to start from"
        config: Mapping[str, Any] = YamlFile.read(log.with_name("config.yaml")).data
        before = config["dmt"]["evaluate"].get("before")
        with_start = run.parent is None and before is not False
        (with_baseline if with_start else finish)(self.folder, run, 0.5)
        with_weights(self.folder, run)
        self.performed.append(name)
        return 0

    def stop(self) -> None:
        """Note that the runs were stopped."""
        self.was_stopped = True


def perform(workers: MadeUpWorkers, *, keep_weights: bool = True) -> StudyRunner:
    """Perform the unfinished runs of a study."""
    runner = StudyRunner(
        workers.folder,
        workers=workers,
        launcher_args="",
        console=Console(),
        keep_weights=keep_weights,
    )
    runner.train(list(workers.by_name.values()))
    return runner
