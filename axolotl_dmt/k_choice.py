"""`dmt.k: auto`: what `axolotl dmt choose-k` tried, by which rule, and what it chose.

`OUTPUT_DIR/dmt/k.json` (schema 1) holds it. `axolotl train` takes k from there, and refuses a file
whose stage 1 or trial was another one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.amounts import parse_fraction
from axolotl_dmt.args import DMTConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.inputs import Stage
from axolotl_dmt.results import Score

SCHEMA: Final = 1
FILE: Final = "k.json"
KEY: Final = "dmt.k"
COMMAND: Final = "run `axolotl dmt choose-k` on this YAML first"
RULE: Final = (
    "The values are tried from the smallest up, and the first that holds is taken: one after whose "
    "trial no specialised score is more than `loss` below stage 1's. Scores count as they are; the "
    "standard errors of the differences take the two scorings for independent. Where none holds, "
    "the one with the smallest worst loss is taken."
)


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A run that was scored.

    Attributes:
        folder: where it lies.
        plan_fingerprint: of what it trained.
        scores: by ability, after its last stage.
    """

    folder: str
    plan_fingerprint: str
    scores: Mapping[str, Score]

    def to_json(self) -> dict[str, Any]:
        """As `k.json` holds it; a score that is not there is null."""
        scores = {
            name: {**score.to_json(), "value": score.value if math.isfinite(score.value) else None}
            for name, score in self.scores.items()
        }
        return {**vars(self), "scores": scores}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScoredRun:
        """The inverse of `to_json`."""
        scores = {name: Score.from_json(score) for name, score in data["scores"].items()}
        return cls(folder=data["folder"], plan_fingerprint=data["plan_fingerprint"], scores=scores)


@dataclass(frozen=True, kw_only=True)
class KChoice:
    """The trials of a ladder, in the order in which they were made.

    Attributes:
        base_model: that stage 1 started from.
        abilities: the scores that must hold.
        loss: how far below stage 1's they may be.
        max_steps: of a trial, or None for the whole of stage 2.
        ladder: every value that could have been tried, the smallest first.
        stage_1: what the trials started from.
        trials: {k: its trial}, the smallest first.
    """

    base_model: str
    abilities: tuple[str, ...]
    loss: float
    max_steps: int | None
    ladder: tuple[Fraction, ...]
    stage_1: ScoredRun
    trials: Mapping[Fraction, ScoredRun]

    def lost(self, k: Fraction, ability: str) -> tuple[float, float | None]:
        """How far a score fell below stage 1's, and the standard error where both have one."""
        before, after = self.stage_1.scores[ability], self.trials[k].scores[ability]
        errors = (before.stderr, after.stderr)
        known = [error for error in errors if error is not None]
        return before.value - after.value, math.hypot(*known) if len(known) == 2 else None

    def worst(self, k: Fraction) -> float:
        """The largest loss of any ability."""
        return max(self.lost(k, ability)[0] for ability in self.abilities)

    def holds_at(self, k: Fraction) -> bool:
        """Whether every ability stays within the loss; 0.95 - 0.90 is within 0.05."""
        return self.worst(k) <= self.loss + 1e-9

    @property
    def holds(self) -> bool:
        """Whether any k that was tried holds."""
        return any(map(self.holds_at, self.trials))

    @property
    def k(self) -> Fraction:
        """The choice."""
        held = [k for k in self.trials if self.holds_at(k)]
        return held[0] if held else min(self.trials, key=self.worst)

    def summary(self) -> str:
        """The choice in one line."""
        if self.holds:
            return f"k = {self.k}: the smallest of the ladder within {self.loss:g} of stage 1"
        return (
            f"k = {self.k}: NO value of the ladder stays within {self.loss:g} of stage 1; this one "
            f"loses least, {self.worst(self.k):.3f}"
        )

    def check(self, *, stage_1: str, trial: str, path: Path) -> None:
        """Refuse a choice that was made for another plan.

        Args:
            stage_1: fingerprint of stage 1 alone as it would be trained now.
            trial: fingerprint of the trial of the chosen k as it would be made now.
            path: where the choice was read.

        Raises:
            DMTError: one of them was another.
        """
        pairs = (("stage 1", stage_1, self.stage_1), ("the trial", trial, self.trials[self.k]))
        changed = [name for name, now, then in pairs if now != then.plan_fingerprint]
        if changed:
            problem = f"auto, and {path} is of another plan ({' and '.join(changed)} changed)"
            raise DMTError(KEY, problem, COMMAND)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
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
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> KChoice:
        """Read what `save` wrote.

        Raises:
            DMTError: there is no such file, or it is damaged.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
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
            raise DMTError(KEY, f"auto, and there is no {path}", COMMAND) from None
        except (ValueError, KeyError, TypeError) as error:
            problem = f"auto, and {path} cannot be read ({type(error).__name__}: {error})"
            raise DMTError(KEY, problem, COMMAND) from None


def choice_file(cfg: Mapping[str, Any]) -> Path:
    """Where the choice for a YAML lies."""
    return Path(str(cfg.get("output_dir") or "model-out")) / "dmt" / FILE


def choice_of(cfg: Mapping[str, Any], config: DMTConfig) -> tuple[KChoice, Path]:
    """The choice that was made for a YAML.

    Args:
        cfg: the raw configuration.
        config: its checked block.

    Raises:
        DMTError: there is none, or it was made for another base model.
    """
    path = Path(config.k_file or choice_file(cfg))
    choice = KChoice.load(path)
    base = cfg.get("base_model")
    # a run that starts at a stage names that stage's weights
    if config.start_stage is None and base != choice.base_model:
        problem = f"auto, and {path} is of another base_model ({choice.base_model})"
        raise DMTError(KEY, problem, COMMAND)
    return choice, path


def trial_stages(stages: Sequence[Stage], max_steps: int | None) -> tuple[Stage, Stage]:
    """The stages with the second one as short as a trial.

    Raises:
        DMTError: there are not two.
    """
    if len(stages) != 2:
        names = ", ".join(stage.name for stage in stages)
        raise DMTError(KEY, f"auto is for two stages, and these are {names}", "write a fraction")
    first, second = stages
    if max_steps is not None:
        second = replace(second, max_steps=min(second.max_steps or max_steps, max_steps))
    return first, second
