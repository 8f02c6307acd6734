"""The names of the files and folders that a run writes under its `output_dir`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.errors import DMTError
from axolotl_dmt.results.items import ITEMS_FILE
from axolotl_dmt.results.results import RESULTS_FILE, Results, StageResult

DEFAULT_OUTPUT_DIR: Final = "model-out"
"""Axolotl's own default for `output_dir`."""

CONFIG_FILE: Final = "config.yaml"
PICTURE: Final = "abilities.png"
REPORT_MARKDOWN: Final = "report.md"
REPORT_HTML: Final = "report.html"

MODEL: Final = "model"
"""Key of a stage's result: where its model is, relative to the `output_dir`, if elsewhere."""

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_TIME = "%Y%m%d-%H%M%S"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run: where each file lies, whether or not it exists.

    Attributes:
        output_dir: the run's `output_dir`.
    """

    output_dir: Path

    @classmethod
    def of_config(cls, cfg: Mapping[str, Any]) -> RunFolder:
        """Return the folder that an Axolotl configuration, raw or checked, writes to."""
        return cls(Path(str(cfg.get("output_dir") or DEFAULT_OUTPUT_DIR)))

    @property
    def dmt(self) -> Path:
        """The folder of what axolotl-dmt writes, except for the stages' models."""
        return self.output_dir / "dmt"

    @property
    def results(self) -> Path:
        """The scores after each stage."""
        return self.dmt / RESULTS_FILE

    @property
    def items(self) -> Path:
        """The ledger: each item's verdict at each point."""
        return self.dmt / ITEMS_FILE

    @property
    def config(self) -> Path:
        """The YAML that the run was started with."""
        return self.dmt / CONFIG_FILE

    @property
    def plan(self) -> Path:
        """The folder of the plan that the run follows."""
        return self.dmt / "plan"

    @property
    def next_plan(self) -> Path:
        """The folder of a compiled plan until its training starts; it then becomes `plan`."""
        return self.dmt / "plan.next"

    @property
    def solution(self) -> Path:
        """What `axolotl dmt solve` measured, fitted and chose."""
        return self.dmt / "solution.json"

    @property
    def probes(self) -> Path:
        """The folder of the study that `axolotl dmt solve` ran."""
        return self.dmt / "solve"

    @property
    def row_losses(self) -> Path:
        """The losses of rows, where the YAML names no other file for them."""
        return self.dmt / "row_losses.parquet"

    @property
    def report_markdown(self) -> Path:
        """The report in Markdown."""
        return self.dmt / REPORT_MARKDOWN

    @property
    def report_html(self) -> Path:
        """The report as one HTML file."""
        return self.dmt / REPORT_HTML

    @property
    def picture(self) -> Path:
        """The picture of each ability by stage."""
        return self.dmt / PICTURE

    @property
    def hidden_states(self) -> Path:
        """The picture that `axolotl dmt visualise` draws."""
        return self.dmt / "hidden_states.png"

    @property
    def model_card(self) -> Path:
        """The model card, which Axolotl writes."""
        return self.output_dir / "README.md"

    @property
    def starting_model(self) -> Path:
        """The folder of the model before training, while another process scores it."""
        return self.stages / "00-start"

    @property
    def stages(self) -> Path:
        """The folder that holds a folder for each stage."""
        return self.output_dir / "stages"

    def stage(self, index: int, name: str) -> Path:
        """Return the folder of the model that a stage ends with; the first stage has index 0."""
        return self.stages / f"{index + 1:02d}-{name}"

    def model_of(self, index: int, result: StageResult) -> Path:
        """Return the folder of the model after a stage of the results, whether or not it exists.

        The results may begin with stages of earlier runs. Their models are in the folders that the
        results name, and those of this run's own stages are counted without them.

        Args:
            index: the place of the stage in the results.
            result: its result.
        """
        elsewhere = result.extra.get(MODEL)
        if isinstance(elsewhere, str):
            # The results of a run that was set aside lie one folder deeper.
            places = [self.output_dir / elsewhere, self.output_dir.parent / elsewhere]
            return next((place for place in places if place.is_dir()), places[0])
        own = re.compile(rf"\d{{2,}}-{re.escape(result.name)}")
        found = self.stages.iterdir() if self.stages.is_dir() else ()
        folders = sorted(path for path in found if own.fullmatch(path.name))
        return folders[0] if folders else self.stage(index, result.name)

    def checkpoints(self) -> list[Path]:
        """Return the checkpoint folders, the one with the lowest step first."""
        if not self.output_dir.is_dir():
            return []
        steps = {
            path: int(match[1])
            for path in self.output_dir.iterdir()
            if (match := _CHECKPOINT.fullmatch(path.name)) and path.is_dir()
        }
        return sorted(steps, key=lambda path: steps[path])

    def incomplete(self, checkpoint: Path) -> Path:
        """Return a new name for an incomplete checkpoint, under which it is not resumed."""
        return checkpoint.with_name(f"incomplete-{checkpoint.name}-{time.strftime(_TIME)}")

    def earlier_runs(self) -> list[Path]:
        """Return the folders of earlier runs that were set aside here, the oldest first."""
        return sorted(self.output_dir.glob("_earlier-*"))

    def new_earlier_run(self, ended: float) -> Path:
        """Return an unused name for the folder of an earlier run.

        Args:
            ended: when that run ended, in seconds since the epoch.
        """
        # The underscore keeps the trainer from uploading the folder with the model.
        name = time.strftime(f"_earlier-{_TIME}", time.localtime(ended))
        folder, count = self.output_dir / name, 1
        while folder.exists():
            count += 1
            folder = self.output_dir / f"{name}-{count}"
        return folder


def load_results(output_dir: Path) -> Results:
    """Read the results of a run.

    Args:
        output_dir: the `output_dir` of the run.

    Raises:
        DMTError: the folder holds no results, or they cannot be read.
    """
    folder = RunFolder(output_dir)
    if folder.results.is_file():
        return Results.load(folder.results)
    if not folder.config.is_file():
        runs = [above for above in output_dir.parents if RunFolder(above).results.is_file()]
        fix = f"did you mean {runs[0]}?" if runs else "name the output_dir of a dmt run"
        raise DMTError("OUTPUT_DIR", f"no file {folder.results}", fix)
    fix = "wait for its first stage, or train it again"
    if earlier := folder.earlier_runs():
        fix += f"; an earlier run is kept in {earlier[-1]}"
    raise DMTError("OUTPUT_DIR", f"no stage of the run in {output_dir} has ended yet", fix)
