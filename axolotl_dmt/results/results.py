"""The scores of a run after each stage, and their file, `OUTPUT_DIR/dmt/results.json`.

The file is a contract that others may build on (schema 1). Keys that this version does not know are
preserved by a load and a save: at the top level, on a stage and on a score.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json, write_text
from axolotl_dmt.results import metrics
from axolotl_dmt.results.metrics import ScoreMatrix
from axolotl_dmt.results.secrets import masked

SCHEMA = 1
BASELINE = "baseline"
RESULTS_FILE = "results.json"

EVALUATE = "evaluate"
"""Key of the file: the `dmt.evaluate` block that the stages were scored by."""
HARDWARE = "hardware"
"""Key of the file: the hardware that the run was trained on, {part: description}."""
HOOKS = "hooks"
"""Key of the file: the hooks that the run used."""
PARTS = "parts"
"""Key of the score of a group of tasks, such as `mmlu`: the scores of its tasks."""
SOURCES = "sources"
"""Key of the file: where the base model and the data came from."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score of one ability.

    Attributes:
        task: name of the lm-eval task.
        metric: lm-eval's name of the metric.
        value: the score, higher is better; NaN where the evaluation has none.
        stderr: its standard error, or None where unknown.
        n: number of items scored.
        extra: keys of the file that this version does not know.
    """

    task: str
    metric: str
    value: float
    stderr: float | None
    n: int
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; numbers that are not finite become null on saving."""
        return {**self.extra, **{name: getattr(self, name) for name in _SCORE_KEYS}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Score:
        """Read what `to_json` returned.

        Raises:
            KeyError: an entry is missing.
            TypeError: an entry has the wrong type.
            ValueError: an entry has the right type, but cannot be converted.
        """
        return cls(
            task=str(data["task"]),
            metric=str(data["metric"]),
            value=math.nan if data["value"] is None else float(data["value"]),
            stderr=None if data.get("stderr") is None else float(data["stderr"]),
            n=int(data["n"]),
            extra={key: value for key, value in data.items() if key not in _SCORE_KEYS},
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One generated answer.

    Attributes:
        ability: the ability that the prompt tests.
        prompt: the text that the model was given. Reports show the answers of different stages to
            the same prompt side by side.
        answer: the text that the model generated; it is untrusted.
        passed: the scorer's verdict, or None where there is none.
    """

    ability: str
    prompt: str
    answer: str
    passed: bool | None = None


def losses_by_domain(losses: Mapping[str, float | None]) -> dict[str, float]:
    """Return {domain: loss} of losses on held-out rows as the file has them; null becomes NaN.

    The loss of an entry of `test_datasets` is called after its file, such as `test_math`.
    """
    return {
        name.removeprefix("test_"): float(math.nan if loss is None else loss)
        for name, loss in losses.items()
    }


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """The result of one stage, or of the model before training.

    Attributes:
        name: name of the stage.
        end_step: number of optimiser steps done when it ended, over all stages.
        rows: {domain: number of distinct rows that the stage trained on}.
        scores: {ability: score}; empty where nothing was evaluated.
        error: why the evaluation failed, or None.
        samples: some generated answers.
        extra: keys of the file that this version does not know.
    """

    name: str
    end_step: int
    rows: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    error: str | None = None
    samples: tuple[Sample, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """Return {ability: score}, with NaN where the evaluation has none."""
        return {ability: score.value for ability, score in self.scores.items()}

    def held_out_losses(self) -> dict[str, float]:
        """Return {domain: loss on its held-out rows}, where they were measured."""
        return losses_by_domain(self.extra.get("held_out_loss") or {})

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, with `error` and `samples` only where there are any."""
        data = dict(self.extra)
        data |= {"name": self.name, "end_step": self.end_step, "rows": dict(self.rows)}
        data["scores"] = {ability: score.to_json() for ability, score in self.scores.items()}
        if self.error is not None:
            data["error"] = self.error
        if self.samples:
            data["samples"] = [vars(sample).copy() for sample in self.samples]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "stage") -> StageResult:
        """Read what `to_json` returned.

        Args:
            data: the JSON object.
            where: its place in the file, for the error.

        Raises:
            DMTError: an entry is missing or malformed; the error names it.
        """
        return cls(
            name=_read(where, lambda: str(data["name"])),
            end_step=_read(where, lambda: int(data["end_step"])),
            rows=_read(f"{where}.rows", lambda: {k: int(n) for k, n in data["rows"].items()}),
            scores={
                ability: _read(f"{where}.scores.{ability}", partial(Score.from_json, score))
                for ability, score in _mapping(data.get("scores"), f"{where}.scores").items()
            },
            error=data.get("error"),
            samples=_read(
                f"{where}.samples",
                lambda: tuple(
                    Sample(
                        ability=str(sample["ability"]),
                        prompt=str(sample["prompt"]),
                        answer=str(sample["answer"]),
                        passed=sample.get("passed"),
                    )
                    for sample in data.get("samples") or ()
                ),
            ),
            extra={key: value for key, value in data.items() if key not in _STAGE_KEYS},
        )


@dataclass(frozen=True, kw_only=True)
class Results:
    """The scores of a run after each stage, with what its report shows beside them.

    Attributes:
        plan_fingerprint: fingerprint of the plan that was trained.
        stages: results of the stages that have ended, in training order.
        baseline: the scores before stage 1 (`with_baseline`), or None.
        abilities: their display order; abilities not named here follow in order of appearance.
        learning_curve: {"step", "stage", "loss", "learning_rate"} for each logged step.
        held_out_curve: {"step", "stage", "losses"} for each step at which the losses on held-out
            rows were measured.
        timings: {part of the run: seconds}.
        versions: {package: version}.
        settings: settings of the run as plain values. They never include secrets, because reports
            are shared.
        plan: what the plan's `to_json()` returned, or None.
        extra: keys of the file that this version does not know, and those named at the top of this
            module.
    """

    plan_fingerprint: str
    stages: tuple[StageResult, ...] = ()
    baseline: StageResult | None = None
    abilities: tuple[str, ...] = ()
    learning_curve: tuple[Mapping[str, Any], ...] = ()
    held_out_curve: tuple[Mapping[str, Any], ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def with_stage(self, stage: StageResult) -> Results:
        """Return these results with a stage; it replaces the one of its name or is added last."""
        names = [earlier.name for earlier in self.stages]
        if stage.name not in names:
            return replace(self, stages=(*self.stages, stage))
        index = names.index(stage.name)
        return replace(self, stages=(*self.stages[:index], stage, *self.stages[index + 1 :]))

    def with_baseline(
        self,
        scores: Mapping[str, Score],
        *,
        samples: Sequence[Sample] = (),
        error: str | None = None,
    ) -> Results:
        """Return these results with the scores before stage 1."""
        baseline = StageResult(
            name=BASELINE, end_step=0, scores=scores, samples=tuple(samples), error=error
        )
        return replace(self, baseline=baseline)

    def points(self) -> tuple[StageResult, ...]:
        """Return the baseline, where there is one, and then every stage, scored or not."""
        return (*((self.baseline,) if self.baseline else ()), *self.stages)

    def matrix(self, *, baseline: bool = False) -> ScoreMatrix:
        """Return the scores by stage and ability.

        Args:
            baseline: include the scores before training as the first row. Retention and forgetting
                are defined without them.
        """
        abilities = [*self.abilities, *(name for point in self.points() for name in point.scores)]
        points = self.points() if baseline else self.stages
        rows = [(point.name, point.values()) for point in points]
        return ScoreMatrix.build(rows, dict.fromkeys(abilities))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the file, with retention and forgetting of the stages."""
        matrix = self.matrix()
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "plan_fingerprint": self.plan_fingerprint,
            "stages": [stage.to_json() for stage in self.stages],
            "retention": metrics.retention(matrix),
            "forgetting": metrics.forgetting(matrix),
        }
        if self.baseline is not None:
            of_stages = ("name", "end_step", "rows")
            entry = self.baseline.to_json()
            data["baseline"] = {key: entry[key] for key in entry if key not in of_stages}
        optional = {name: getattr(self, name) for name in _OPTIONAL}
        data |= {name: value for name, value in optional.items() if value}
        data |= {key: value for key, value in self.extra.items() if key not in data}
        data |= {key: masked(data[key], key) for key in _SETTINGS if key in data}
        return {key: _plain(value) for key, value in data.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "results.json") -> Results:
        """Read what `to_json` returned; retention and forgetting are computed again.

        Args:
            data: the JSON object.
            where: the file that it was read from, for errors.

        Raises:
            DMTError: it has another schema, or an entry is missing or malformed.
        """
        data = _mapping(data, where)
        if data.get("schema") != SCHEMA:
            raise DMTError(
                f"{where}: schema",
                f"is {data.get('schema')!r}, and this version reads {SCHEMA}",
                "read it with the version of axolotl-dmt that wrote it",
            )
        baseline = data.get("baseline")
        if baseline is not None:
            entry = {**_mapping(baseline, f"{where}: baseline"), "name": BASELINE}
            entry |= {"end_step": 0, "rows": {}}
            baseline = StageResult.from_json(entry, f"{where}: baseline")
        stages = _read(where, lambda: list(data["stages"]))
        places = [f"{where}: stages[{index}]" for index in range(len(stages))]
        return cls(
            plan_fingerprint=_read(where, lambda: str(data["plan_fingerprint"])),
            stages=tuple(
                StageResult.from_json(_mapping(stage, place), place)
                for stage, place in zip(stages, places, strict=True)
            ),
            baseline=baseline,
            abilities=tuple(data.get("abilities") or ()),
            learning_curve=tuple(data.get("learning_curve") or ()),
            held_out_curve=tuple(data.get("held_out_curve") or ()),
            timings=_mapping(data.get("timings"), f"{where}: timings"),
            versions=_mapping(data.get("versions"), f"{where}: versions"),
            settings=_mapping(data.get("settings"), f"{where}: settings"),
            plan=data.get("plan"),
            extra={key: value for key, value in data.items() if key not in _RESULT_KEYS},
        )

    def save(self, path: str | Path) -> Path:
        """Write the file completely or not at all; it is on the disk when this returns.

        Args:
            path: the file; its folder is created.

        Returns:
            The path.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), indent=2, allow_nan=False, ensure_ascii=False)
        # A model may generate half a surrogate pair, which becomes its JSON escape.
        write_text(path, text + "\n", errors="backslashreplace", sync=True)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read a file that `save` wrote.

        Args:
            path: the file, or the `dmt` folder that holds `results.json`.

        Raises:
            DMTError: there is no such file, it is not JSON, it has another schema, or an entry is
                missing or malformed.
        """
        path = Path(path)
        if path.is_dir():
            path = path / RESULTS_FILE
        try:
            data = read_json(path)
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error})"
            raise DMTError(str(path), problem, "run a training first") from error
        except ValueError as error:
            raise DMTError(str(path), f"is not JSON ({error})", "give a results.json") from error
        return cls.from_json(data, str(path))


_SETTINGS = ("settings", EVALUATE, SOURCES)
"""The parts of the file that hold a user's settings, which may name a password or a key."""
_REQUIRED = ("schema", "plan_fingerprint", "stages", "retention", "forgetting")
_CURVES = ("learning_curve", "held_out_curve")
_OPTIONAL = ("abilities", *_CURVES, "timings", "versions", "settings", "plan")
_RESULT_KEYS = (*_REQUIRED, *_OPTIONAL, "baseline")
_STAGE_KEYS = ("name", "end_step", "rows", "scores", "error", "samples")
_SCORE_KEYS = ("task", "metric", "value", "stderr", "n")


def _read(where: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"lacks {error}" if isinstance(error, KeyError) else f"is malformed ({error})"
        fix = "see the page on results.json in the documentation"
        raise DMTError(where, problem, fix) from error


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise DMTError(where, f"is a {type(value).__name__}", "write it as an object")
    return dict(value)


def _plain(value: Any) -> Any:
    """Return a value as strict JSON can represent it; NaN and infinity become null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if callable(getattr(value, "item", None)) and getattr(value, "size", None) == 1:
        return _plain(value.item())  # a numpy scalar, without importing numpy
    return str(value)
