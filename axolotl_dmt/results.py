"""What a run scored after each stage, and the file that says so: `OUTPUT_DIR/dmt/results.json`.

The file is a contract others may build on (schema 1). What this version does not know, it keeps:
unknown keys at the top, on a stage and on a score survive a load and a save.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from axolotl_dmt import metrics
from axolotl_dmt.errors import DMTError
from axolotl_dmt.metrics import ScoreMatrix

SCHEMA = 1
BASELINE = "baseline"
RESULTS_FILE = "results.json"
EVALUATE = "evaluate"
"""The key of the file that holds the `dmt.evaluate` block of the run."""
HOOKS = "hooks"
"""The key of the file that lists the hooks of the run."""
HARDWARE = "hardware"
"""The key of the file that describes what the run was trained on: {part: description}."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One ability's score.

    Attributes:
        task: the lm-eval task that gave it.
        metric: its metric, in lm-eval's name.
        value: the score, higher is better; NaN where the evaluation gave none.
        stderr: its standard error, or None where unknown.
        n: items scored.
        extra: unknown keys, kept.
    """

    task: str
    metric: str
    value: float
    stderr: float | None
    n: int
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The JSON form; what is not finite becomes null on saving."""
        known = {name: getattr(self, name) for name in ("task", "metric", "value", "stderr", "n")}
        return {**self.extra, **known}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Score:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError on malformed data."""
        names = ("task", "metric", "value", "stderr", "n")
        return cls(
            task=str(data["task"]),
            metric=str(data["metric"]),
            value=math.nan if data["value"] is None else float(data["value"]),
            stderr=None if data.get("stderr") is None else float(data["stderr"]),
            n=int(data["n"]),
            extra={key: value for key, value in data.items() if key not in names},
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One generated answer.

    Attributes:
        ability: what it was asked for.
        prompt: as the model saw it; the same prompt at two stages is shown side by side.
        answer: as the model wrote it. Untrusted text.
        passed: the scorer's verdict, or None where there is none.
    """

    ability: str
    prompt: str
    answer: str
    passed: bool | None = None


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What is known after one stage.

    Attributes:
        name: the stage's name.
        end_step: optimiser steps done when it ended.
        rows: {domain: distinct rows it chose}.
        scores: {ability: score}; empty where nothing was evaluated.
        error: why the evaluation failed, where it did.
        samples: some generated answers.
        extra: unknown keys, kept.
    """

    name: str
    end_step: int
    rows: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    error: str | None = None
    samples: tuple[Sample, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """{ability: score}, missing ones as NaN."""
        return {ability: score.value for ability, score in self.scores.items()}

    def to_json(self) -> dict[str, Any]:
        """The JSON form; `error` and `samples` only where there are any."""
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
        """The inverse of `to_json`.

        Args:
            data: the JSON object.
            where: its place in the file, for the error.

        Raises:
            DMTError: naming the entry that is missing or malformed.
        """
        known = ("name", "end_step", "rows", "scores", "error", "samples")
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
            extra={key: value for key, value in data.items() if key not in known},
        )


@dataclass(frozen=True, kw_only=True)
class Results:
    """A run's scores after each stage, with what a report may want beside them.

    Attributes:
        plan_fingerprint: of the plan that was trained.
        stages: in training order.
        baseline: the scores before stage 1 (`with_baseline`), where asked for.
        abilities: display order; abilities not named follow as they appear.
        learning_curve: {"step", "stage", "loss", "learning_rate"} per logged step.
        timings: {part: seconds}.
        versions: {package: version}.
        settings: what the run was told, as plain values; never secrets, reports are shared.
        plan: the plan's own `to_json()`.
        extra: unknown keys, kept.
    """

    plan_fingerprint: str
    stages: tuple[StageResult, ...] = ()
    baseline: StageResult | None = None
    abilities: tuple[str, ...] = ()
    learning_curve: tuple[Mapping[str, Any], ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def with_stage(self, stage: StageResult) -> Results:
        """These results with this stage: in place of the one of the same name, or else last."""
        names = [known.name for known in self.stages]
        if stage.name not in names:
            return replace(self, stages=(*self.stages, stage))
        at = names.index(stage.name)
        return replace(self, stages=(*self.stages[:at], stage, *self.stages[at + 1 :]))

    def with_baseline(
        self,
        scores: Mapping[str, Score],
        *,
        samples: Sequence[Sample] = (),
        error: str | None = None,
    ) -> Results:
        """These results with the scores before stage 1."""
        baseline = StageResult(
            name=BASELINE, end_step=0, scores=scores, samples=tuple(samples), error=error
        )
        return replace(self, baseline=baseline)

    def scored(self) -> tuple[StageResult, ...]:
        """The baseline, where there is one, and the stages."""
        return (*((self.baseline,) if self.baseline else ()), *self.stages)

    def matrix(self, *, baseline: bool = False) -> ScoreMatrix:
        """Scores by stage and ability.

        Args:
            baseline: with the score before training as the first row. Retention and forgetting
                are defined without it.
        """
        seen = dict.fromkeys([*self.abilities, *(a for s in self.scored() for a in s.scores)])
        stages = self.scored() if baseline else self.stages
        return ScoreMatrix.build([(stage.name, stage.values()) for stage in stages], seen)

    def to_json(self) -> dict[str, Any]:
        """The contract; retention and forgetting are computed here, from the stages."""
        matrix = self.matrix()
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "plan_fingerprint": self.plan_fingerprint,
            "stages": [stage.to_json() for stage in self.stages],
            "retention": metrics.retention(matrix),
            "forgetting": metrics.forgetting(matrix),
        }
        if self.baseline is not None:
            own = ("name", "end_step", "rows")
            baseline = self.baseline.to_json()
            data["baseline"] = {key: value for key, value in baseline.items() if key not in own}
        optional = {name: getattr(self, name) for name in _OPTIONAL}
        data |= {name: value for name, value in optional.items() if value}
        data |= {key: value for key, value in self.extra.items() if key not in data}
        return {key: _plain(value) for key, value in data.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "results.json") -> Results:
        """The inverse of `to_json`; the stored retention and forgetting are not read.

        Args:
            data: the JSON object.
            where: the file it came from, for errors.

        Raises:
            DMTError: another schema, or a malformed entry.
        """
        data = _mapping(data, where)
        if data.get("schema") != SCHEMA:
            raise DMTError(
                f"{where}: schema",
                f"is {data.get('schema')!r}, and this version reads {SCHEMA}",
                "read it with the version of axolotl-dmt that wrote it",
            )
        known = (*_OPTIONAL, *_REQUIRED, "baseline")
        baseline = data.get("baseline")
        if baseline is not None:
            entry = {**_mapping(baseline, f"{where}: baseline"), "name": BASELINE}
            entry |= {"end_step": 0, "rows": {}}
            baseline = StageResult.from_json(entry, f"{where}: baseline")
        return cls(
            plan_fingerprint=_read(where, lambda: str(data["plan_fingerprint"])),
            stages=tuple(
                StageResult.from_json(_mapping(s, at), at)
                for s, at in (
                    (stage, f"{where}: stages[{i}]")
                    for i, stage in enumerate(_read(where, lambda: list(data["stages"])))
                )
            ),
            baseline=baseline,
            abilities=tuple(data.get("abilities") or ()),
            learning_curve=tuple(data.get("learning_curve") or ()),
            timings=_mapping(data.get("timings"), f"{where}: timings"),
            versions=_mapping(data.get("versions"), f"{where}: versions"),
            settings=_mapping(data.get("settings"), f"{where}: settings"),
            plan=data.get("plan"),
            extra={key: value for key, value in data.items() if key not in known},
        )

    def save(self, path: str | Path) -> Path:
        """Write the file whole or not at all: a reader never sees half of it.

        Args:
            path: the file; its folder is made.

        Returns:
            The path.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The same folder, so that os.replace stays on one file system.
        temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            # Half a surrogate pair, which a model may write, becomes the JSON escape that it needs.
            with temp.open("w", encoding="utf-8", errors="backslashreplace") as file:
                json.dump(self.to_json(), file, indent=2, allow_nan=False, ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, path)
        finally:
            temp.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read a file that `save` wrote.

        Args:
            path: the file, or the `dmt` folder that holds `results.json`.

        Raises:
            DMTError: no such file, not JSON, another schema, or a malformed entry.
        """
        path = Path(path)
        if path.is_dir():
            path = path / RESULTS_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            why = error.strerror or str(error)
            raise DMTError(str(path), f"cannot be read ({why})", "run a training first") from error
        except ValueError as error:
            raise DMTError(str(path), f"is not JSON ({error})", "give a results.json") from error
        return cls.from_json(data, str(path))


_REQUIRED = ("schema", "plan_fingerprint", "stages", "retention", "forgetting")
_OPTIONAL = ("abilities", "learning_curve", "timings", "versions", "settings", "plan")


def _read(where: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"is malformed ({error})"
        raise DMTError(where, what, "write it as the results.json contract says") from error


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise DMTError(where, f"is a {type(value).__name__}", "write it as an object")
    return dict(value)


def _plain(value: Any) -> Any:
    """Values that strict JSON can hold; a diverged loss (NaN) becomes null."""
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
