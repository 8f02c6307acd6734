"""`dmt.k: auto`: the trials of `axolotl dmt choose-k`, the rule, and the k that it chose.

`axolotl dmt choose-k` writes them to `OUTPUT_DIR/dmt/k.json` (schema 1). `axolotl train` takes k
from that file, and refuses the file if stage 1 or stage 2 has changed since.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.config.args import DMTConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json, write_json
from axolotl_dmt.plan.amounts import parse_fraction
from axolotl_dmt.plan.inputs import Stage
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.results import Score

SCHEMA: Final = 1
KEY: Final = "dmt.k"
COMMAND: Final = "run `axolotl dmt choose-k` on this YAML first"
RULE: Final = (
    "The values are tried in ascending order until one holds, and that one is chosen. A value "
    "holds if no specialised score after its trial is more than `loss` below stage 1's. Standard "
    "errors play no part in this; those of the differences assume that the two scores are "
    "independent. If no value holds, the one with the smallest worst loss is chosen."
)


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A run whose last stage was scored: stage 1, or the trial of one k.

    Attributes:
        folder: the path of the run's folder.
        plan_fingerprint: the fingerprint of the plan that it trained.
        scores: its scores after its last stage, by ability.
    """

    folder: str
    plan_fingerprint: str
    scores: Mapping[str, Score]

    def to_json(self) -> dict[str, Any]:
        """Return the run as `k.json` holds it; a score that is not finite becomes null."""
        scores = {
            name: {**score.to_json(), "value": score.value if math.isfinite(score.value) else None}
            for name, score in self.scores.items()
        }
        return {**vars(self), "scores": scores}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScoredRun:
        """Return the run that `to_json` wrote."""
        scores = {name: Score.from_json(score) for name, score in data["scores"].items()}
        return cls(folder=data["folder"], plan_fingerprint=data["plan_fingerprint"], scores=scores)


@dataclass(frozen=True, kw_only=True)
class KChoice:
    """The choice of k: the trials of a ladder of values, and the value that the rule chooses.

    Attributes:
        base_model: the model that stage 1 started from.
        abilities: the abilities whose scores must not fall.
        loss: how far a score may fall below stage 1's.
        max_steps: length of a trial in optimiser steps; None trains the whole of stage 2.
        ladder: the values that could be tried, the smallest first.
        stage_1: the run that the trials started from.
        trials: {k: its trial}, the smallest k first.
    """

    base_model: str
    abilities: tuple[str, ...]
    loss: float
    max_steps: int | None
    ladder: tuple[Fraction, ...]
    stage_1: ScoredRun
    trials: Mapping[Fraction, ScoredRun]

    def lost(self, k: Fraction, ability: str) -> tuple[float, float | None]:
        """Return how far a score fell below stage 1's, and the standard error of the difference.

        The standard error is None if one of the two scores has none.
        """
        before, after = self.stage_1.scores[ability], self.trials[k].scores[ability]
        fall = before.value - after.value
        if before.stderr is None or after.stderr is None:
            return fall, None
        return fall, math.hypot(before.stderr, after.stderr)

    def worst(self, k: Fraction) -> float:
        """Return the largest loss of any ability."""
        return max(self.lost(k, ability)[0] for ability in self.abilities)

    def holds_at(self, k: Fraction) -> bool:
        """Return whether every ability stays within the allowed loss."""
        # 0.95 - 0.90 counts as 0.05, whatever its last binary digit.
        return self.worst(k) <= self.loss + 1e-9

    @property
    def holds(self) -> bool:
        """Whether any k that was tried stays within the allowed loss."""
        return any(map(self.holds_at, self.trials))

    @property
    def k(self) -> Fraction:
        """The k that the rule chooses."""
        accepted = [k for k in self.trials if self.holds_at(k)]
        return accepted[0] if accepted else min(self.trials, key=self.worst)

    def summary(self) -> str:
        """Return the choice in one line."""
        if self.holds:
            return f"k = {self.k}: the smallest of the ladder within {self.loss:g} of stage 1"
        return (
            f"k = {self.k}: NO value of the ladder stays within {self.loss:g} of stage 1; this one "
            f"loses least, {self.worst(self.k):.3f}"
        )

    def check(self, *, stage_1: str, trial: str, path: Path) -> None:
        """Check that the choice was made for the plan of this run.

        Args:
            stage_1: fingerprint of stage 1 alone under the current YAML.
            trial: fingerprint of the chosen k's trial under the current YAML.
            path: the file that the choice was read from.

        Raises:
            DMTError: one of the two fingerprints differs.
        """
        pairs = (("stage 1", stage_1, self.stage_1), ("the trial", trial, self.trials[self.k]))
        changed = [name for name, now, then in pairs if now != then.plan_fingerprint]
        if changed:
            changes = f"{' and '.join(changed)} changed"
            problem = f"auto, but {path} was made for another plan ({changes})"
            raise DMTError(KEY, problem, COMMAND)

    def save(self, path: Path) -> None:
        """Write the file completely or not at all."""
        trials = [
            {
                "k": str(k),
                "holds": self.holds_at(k),
                "lost": {
                    ability: dict(zip(("value", "stderr"), self.lost(k, ability), strict=True))
                    for ability in self.abilities
                },
                **trial.to_json(),
            }
            for k, trial in self.trials.items()
        ]
        data = {
            "schema": SCHEMA,
            "k": str(self.k),
            "holds": self.holds,
            "rule": RULE,
            **vars(self),
            "ladder": [str(k) for k in self.ladder],
            "stage_1": self.stage_1.to_json(),
            "trials": trials,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, data)

    @classmethod
    def load(cls, path: Path) -> KChoice:
        """Read a file that `save` wrote.

        Raises:
            DMTError: the file does not exist, or cannot be read.
        """
        try:
            data = read_json(path)
            if data["schema"] != SCHEMA:
                raise ValueError(f"schema {data['schema']}")
            return cls(
                base_model=data["base_model"],
                abilities=tuple(data["abilities"]),
                loss=data["loss"],
                max_steps=data["max_steps"],
                ladder=tuple(parse_fraction(k, "ladder") for k in data["ladder"]),
                stage_1=ScoredRun.from_json(data["stage_1"]),
                trials={
                    parse_fraction(trial["k"], "k"): ScoredRun.from_json(trial)
                    for trial in data["trials"]
                },
            )
        except OSError:
            raise DMTError(KEY, f"auto, but there is no {path}", COMMAND) from None
        except (ValueError, KeyError, TypeError) as error:
            problem = f"auto, but {path} cannot be read ({type(error).__name__}: {error})"
            raise DMTError(KEY, problem, COMMAND) from None


def choice_of(cfg: Mapping[str, Any], config: DMTConfig) -> tuple[KChoice, Path]:
    """Return the choice that was made for a YAML, and the path of its file.

    Args:
        cfg: the raw configuration.
        config: its checked block.

    Raises:
        DMTError: there is no choice, or it was made for another base model.
    """
    path = Path(config.k_file or RunFolder.of_config(cfg).k_choice)
    choice = KChoice.load(path)
    base = cfg.get("base_model")
    # With start_stage, base_model names the weights of an earlier stage.
    if config.start_stage is None and base != choice.base_model:
        problem = f"auto, but {path} was made for another base_model ({choice.base_model})"
        raise DMTError(KEY, problem, COMMAND)
    return choice, path


def trial_stages(stages: Sequence[Stage], max_steps: int | None) -> tuple[Stage, Stage]:
    """Return the two stages of a trial: the second one has at most `max_steps` steps.

    Raises:
        DMTError: the schedule does not have two stages.
    """
    if len(stages) != 2:
        names = ", ".join(stage.name for stage in stages)
        raise DMTError(KEY, f"auto needs two stages, but these are {names}", "write a fraction")
    first, second = stages
    if max_steps is not None:
        second = replace(second, max_steps=min(second.max_steps or max_steps, max_steps))
    return first, second
