"""Checks a schedule as far as the raw YAML and the files that it names allow.

No model and no data are loaded and nothing is changed, so a mistake is reported within a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from axolotl_dmt.checks.axolotl_keys import (
    check_base_model,
    check_val_rows,
    check_val_set_size,
    refuse_unsupported,
)
from axolotl_dmt.checks.collated_rows import uncollatable
from axolotl_dmt.checks.contamination import check_decontaminate
from axolotl_dmt.checks.data_files import may_be_gone, wrong_columns
from axolotl_dmt.checks.data_paths import by_products, misread_files, missing_files
from axolotl_dmt.checks.dataset_types import listed_names, wrong_types
from axolotl_dmt.checks.evaluation_files import check_asked_domains, check_evaluation_files
from axolotl_dmt.checks.held_out_numbers import explain_fractions, too_many_held_out
from axolotl_dmt.checks.impossible_values import impossible_values
from axolotl_dmt.checks.optimizers import check_optimizer
from axolotl_dmt.checks.plugins import check_plugins
from axolotl_dmt.checks.row_numbers import beyond_memory
from axolotl_dmt.checks.score_columns import unmatched_scores
from axolotl_dmt.checks.sharding import check_sharding
from axolotl_dmt.checks.stages import check_stages
from axolotl_dmt.checks.unreadable_data import unreadable_data
from axolotl_dmt.config.args import DMTConfig
from axolotl_dmt.config.reading import Reading, ResolvedSchedule, read_schedule
from axolotl_dmt.config.replay import check_losses
from axolotl_dmt.errors import DMTError, Problems
from axolotl_dmt.evaluation.tasks import check_evaluate

WEIGHT_DECAY: Final = 0.0
"""Axolotl's default of `weight_decay`, which its validation fills in after these checks."""


def check_schedule(
    raw: Mapping[str, Any], *, files: bool = True
) -> tuple[ResolvedSchedule | None, list[DMTError]]:
    """Read and check the schedule of a YAML.

    Args:
        raw: the YAML as a mapping; it is not changed.
        files: whether the model and the files that the YAML names must exist.

    Returns:
        The schedule, None if there is a mistake, and every mistake.
    """
    reading = read_schedule(raw, weight_decay=WEIGHT_DECAY)
    mistakes = check_reading(raw, reading, files=files)
    return (None, mistakes) if mistakes else (reading.schedule(), [])


def check_reading(
    raw: Mapping[str, Any], reading: Reading, *, files: bool = True
) -> list[DMTError]:
    """Check a schedule that was read from a YAML, and return every mistake.

    Args:
        raw: the YAML as a mapping; it is not changed.
        reading: what `read_schedule` returned for it.
        files: whether the model and the files that the YAML names must exist.
    """
    problems = Problems()
    problems.attempt(refuse_unsupported, raw)
    problems.attempt(check_plugins, raw, files=files)
    problems.attempt(check_val_set_size, raw, reading.config)
    if files:
        problems.attempt(check_base_model, raw)
    config = reading.config
    if config and config.gate is not None:
        problems.attempt(check_gate, config)
    if config:
        problems.attempt(check_decontaminate, config)
    if config and config.evaluate and config.evaluates:
        if reading.dataset_domains:
            problems.attempt(check_asked_domains, config.evaluate, reading.domains)
        before = len(problems)
        problems.attempt(check_evaluate, config.evaluate, files=files)
        if files and len(problems) == before:
            problems.attempt(check_evaluation_files, config.evaluate)
    if config and reading.dataset_domains:
        problems += _stage_problems(raw, config, reading, files=files)
    problems += impossible_values(raw, reading)
    problems += listed_names(raw)
    if files:
        for check in (wrong_types, misread_files, unreadable_data, by_products, wrong_columns):
            problems += check(raw)
        if not may_be_gone(raw):
            problems += missing_files(raw)
        if not problems:
            problems += too_many_held_out(raw, reading)
            problems += beyond_memory(raw, reading)
    return explain_fractions(raw, reading, reading.mistakes(problems))


def _stage_problems(
    raw: Mapping[str, Any], config: DMTConfig, reading: Reading, *, files: bool
) -> Problems:
    """Return the mistakes that appear when the resolved stages meet the rest of the YAML."""
    problems, stages = Problems(), reading.stages
    resets = any(stage.reset_optimizer for stage in stages[1:])
    problems.attempt(check_stages, raw, stages)
    problems += uncollatable(raw, stages)
    problems += unmatched_scores(raw, reading.dataset_domains, stages)
    problems.attempt(check_losses, config, stages, files=files)
    problems.attempt(check_optimizer, raw, stages, files=files)
    problems.attempt(check_sharding, raw, config, resets=resets, files=files)
    problems.attempt(check_val_rows, config, reading.domains)
    return problems


def check_gate(config: DMTConfig) -> None:
    """Refuse a gate that has no answers to judge by.

    Raises:
        DMTError: nothing is scored, or the items are not kept.
    """
    if not config.evaluates or config.evaluate is None:
        fix = "add evaluate: {tasks: [...]}, or remove gate"
        raise DMTError("dmt.gate", "nothing is scored", fix)
    if config.evaluate.items == "none":
        fix = "write evaluate.items: scores, or remove gate"
        raise DMTError("dmt.gate", "the gate compares items, which are not kept", fix)
