"""Checks of values that no run can train with, whatever the data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

from axolotl_dmt.checks.data_paths import entries
from axolotl_dmt.config.advice import shown
from axolotl_dmt.config.args import DMTConfig, StageConfig
from axolotl_dmt.config.reading import Reading
from axolotl_dmt.config.resolve import stage_key
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Stage

MOST_EPOCHS: Final = 100_000
"""More passes in a stage without max_steps are taken for a mistake: their plan fills the memory."""
LOWEST_TEMPERATURE: Final = 0.01
"""Weights to a power above 100 leave one domain."""
SYNTHETIC: Final = "_synthetic"
"""The type of Axolotl's entries that make up their rows and have no path."""


def impossible_values(cfg: Mapping[str, Any], reading: Reading) -> list[DMTError]:
    """Return a mistake for each value that is a number and yet cannot be meant.

    Args:
        cfg: the raw configuration.
        reading: the schedule that was read from it.
    """
    problems = [*_without_path(cfg)]
    by_key: dict[str, DMTError] = {}
    for stage in reading.stages:
        for problem in _of_stage(cfg.get("dmt"), stage):
            by_key.setdefault(problem.key, problem)
    problems += by_key.values()
    if reading.config is not None:
        problems += _of_block(reading.config)
    return problems


def _without_path(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    for key, entry in entries(cfg):
        path = entry.get("path")
        if entry.get("type") != SYNTHETIC and (not isinstance(path, str) or not path):
            fix = "write the path of a file, or the name of a dataset on the hub"
            problem = "is missing" if not path else f"{shown(path)} is not a path"
            yield DMTError(f"{key}.path", problem, fix)


def _of_stage(block: Any, stage: Stage) -> Iterator[DMTError]:
    block = block if isinstance(block, Mapping) else {}
    key = stage_key(block, stage.name, "epochs", "num_epochs")
    if stage.epochs == math.inf or (stage.epochs > MOST_EPOCHS and stage.max_steps is None):
        problem = f"{stage.epochs:g} (stage {stage.name}) is above {MOST_EPOCHS:,}"
        last = key.rpartition(".")[2]
        yield DMTError(key, problem, f"write {last}: 3, or set max_steps, too")
    if not math.isfinite(stage.learning_rate):
        key = stage_key(block, stage.name, "learning_rate", "learning_rate")
        problem = f"{stage.learning_rate} (stage {stage.name}) is not a finite number"
        yield DMTError(key, problem, "write learning_rate: 2e-5")


def _of_block(config: DMTConfig) -> Iterator[DMTError]:
    for index, stage in enumerate(config.stages or ()):
        yield from _of_mix(f"dmt.stages[{index}]", stage, config.max_repeats)
    evaluate = config.evaluate
    if evaluate is None:
        return
    if isinstance(evaluate.batch_size, int) and evaluate.batch_size < 1:
        problem = f"{evaluate.batch_size} is below 1"
        yield DMTError("dmt.evaluate.batch_size", problem, "write batch_size: 8")
    limit = evaluate.limit
    if limit is not None and (not math.isfinite(limit) or (limit > 1 and not limit.is_integer())):
        problem = f"{shown(limit)} is neither a number of items nor a fraction of them"
        yield DMTError("dmt.evaluate.limit", problem, "write limit: 200")


def _of_mix(key: str, stage: StageConfig, max_repeats: int | None) -> Iterator[DMTError]:
    temperature = stage.temperature
    if temperature is not None and not LOWEST_TEMPERATURE <= temperature < math.inf:
        problem = f"{temperature:g} is not from {LOWEST_TEMPERATURE:g} up"
        yield DMTError(f"{key}.temperature", problem, "write temperature: 2.0")
    mix = stage.mix or {}
    for unit, noun in (("share", "shares"), ("token_share", "token shares")):
        total = sum((amount.value for amount in mix.values() if amount.unit == unit), Fraction())
        if total > 1:
            problem = f"the {noun} sum to {float(total):g}"
            yield DMTError(f"{key}.mix", problem, "let them sum to 1 or less")
    joint = {amount.value for amount in mix.values() if amount.unit == "joint_share"}
    if len(joint) > 1:
        values = ", ".join(f"{float(value):g}" for value in sorted(joint))
        fix = "give all of them the same value, or write them as shares"
        yield DMTError(f"{key}.mix", f"the joint shares differ: {values}", fix)
    limit = stage.max_repeats or max_repeats or 1
    for domain, amount in mix.items():
        if amount.unit == "fraction" and amount.value > limit:
            problem = f"{amount} is more than {'all' if limit == 1 else limit} of the domain's rows"
            passes = math.ceil(amount.value)
            fix = f"write {{rows: {passes}}} for a number of rows, or set max_repeats: {passes}"
            yield DMTError(f"{key}.mix.{domain}", problem, fix)
