"""Remarks on keys that have no effect in the YAML that sets them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from axolotl_dmt.checks.data_paths import entries
from axolotl_dmt.checks.plugins import scored_twice
from axolotl_dmt.config.args import AUTO, DMTConfig
from axolotl_dmt.config.reading import Reading, ResolvedSchedule
from axolotl_dmt.config.resolve import strategy_setting
from axolotl_dmt.config.run_keys import default_order
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.calls import registered_strategies
from axolotl_dmt.strategies import depends_on_k

MERGED: Final = "shuffle_merged_datasets"
BEFORE_MERGING: Final = "shuffle_before_merging_datasets"
MTBENCH: Final = "mtbench"
"""A part of the name of every task that asks the judge."""
OF_STRATEGY: Final = {"sequence": "sequential", "domain": "single"}
"""{key of the block: the only strategy of this package that reads it}."""
OWN_STRATEGIES: Final = ("dmt", "mixed_sequential", "multi_task", "sequential", "single")


def unused_keys(cfg: Mapping[str, Any], reading: Reading | ResolvedSchedule) -> list[DMTError]:
    """Return a remark for each key that changes nothing beside the others.

    Args:
        cfg: the raw configuration.
        reading: the schedule that was read from it.
    """
    remarks = [*_axolotls_keys(cfg), *_domains_of_test_datasets(cfg)]
    block, config = cfg.get("dmt"), reading.config
    if isinstance(block, Mapping) and config is not None:
        written = {key for key, value in block.items() if value is not None}
        remarks += _beside_stages(written, config)
        remarks += _beside_strategy(written, config, reading)
        remarks += _nothing_of_a_domain(config)
        remarks += _of_evaluate(block, config)
        remarks += _without_floors(written, block)
    return remarks


def _without_floors(written: set[str], block: Mapping[str, Any]) -> Iterator[DMTError]:
    if "keep" not in written and block.get("k") != AUTO:
        for key in ("improve", "solve"):
            if key in written:
                problem = "has no effect: it is for `axolotl dmt solve`, which needs keep"
                fix = "write keep: {math: -0.02}, or remove it"
                yield DMTError(f"dmt.{key}", problem, fix)


def _axolotls_keys(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield the keys of Axolotl that change nothing or do something twice beside stages."""
    if cfg.get(MERGED) is False and not default_order(cfg):
        problem = (
            "has no effect alone: the rows are shuffled in each epoch, as Axolotl's trainer does"
        )
        fix = "write curriculum_sampling: true for the order of the files"
        yield DMTError(MERGED, problem, fix)
    if cfg.get(BEFORE_MERGING):
        problem = "has no effect: dmt.order orders the rows of all datasets of a stage"
        yield DMTError(BEFORE_MERGING, problem, "remove it")
    if scored_twice(cfg):
        problem = "the lm_eval plugin scores the last stage again after training, in 16-bit weights"
        yield DMTError("lm_eval_tasks", problem, "remove it if dmt.evaluate is enough")


def _domains_of_test_datasets(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    for key, entry in entries(cfg):
        if key.startswith("test_datasets") and entry.get("domain") is not None:
            problem = "has no effect: an entry of test_datasets has a loss of its own"
            fix = "remove it, or write dmt.val_rows for a loss of each domain"
            yield DMTError(f"{key}.domain", problem, fix)


def _nothing_of_a_domain(config: DMTConfig) -> Iterator[DMTError]:
    for index, stage in enumerate(config.stages or ()):
        for domain, amount in (stage.mix or {}).items():
            if not amount.value:
                problem = f"{amount} takes no row of {domain}"
                key = f"dmt.stages[{index}].mix.{domain}"
                yield DMTError(key, problem, "remove it, or write an amount such as 1/256")


def _beside_stages(written: set[str], config: DMTConfig) -> Iterator[DMTError]:
    if config.stages:
        for key in ("k", "general", "sequence", "domain"):
            if key in written:
                problem = "has no effect on the training beside stages, which name their domains"
                yield DMTError(f"dmt.{key}", problem, "remove it, or write strategy: dmt instead")


def _beside_strategy(
    written: set[str], config: DMTConfig, reading: Reading | ResolvedSchedule
) -> Iterator[DMTError]:
    name = config.strategy
    strategy = registered_strategies().get(name or "")
    if strategy is None or not reading.stages:
        return
    setting = strategy_setting(config, reading.domains)
    if "k" in written and not depends_on_k(strategy, setting):
        problem = f"has no effect with strategy: {name}, which replays no fraction"
        yield DMTError("dmt.k", problem, "remove it, or write strategy: dmt")
    elif "k" in written and setting.k == 0 and setting.share is None:
        problem = "0 replays nothing, so stage 2 forgets the specialised domains"
        fix = "write k: 1/256, or strategy: mixed_sequential if this is meant"
        yield DMTError("dmt.k", problem, fix)
    for key, reader in OF_STRATEGY.items():
        if key in written and name in OWN_STRATEGIES and name != reader:
            problem = f"has no effect with strategy: {name}"
            yield DMTError(f"dmt.{key}", problem, f"remove it, or write strategy: {reader}")
    unnamed = [domain for domain in reading.domains if domain not in setting.sequence]
    if name == "sequential" and setting.sequence and unnamed:
        problem = f"leaves out {', '.join(unnamed)}, on which nothing is trained"
        yield DMTError("dmt.sequence", problem, "add it if it is to have a stage")


def _of_evaluate(block: Mapping[str, Any], config: DMTConfig) -> Iterator[DMTError]:
    key, evaluate = "dmt.evaluate", config.evaluate
    if "evaluate" in block and block["evaluate"] is None:
        fix = "write evaluate: {tasks: [dmt_suite]}, or remove it"
        yield DMTError(key, "is empty, so nothing is scored", fix)
    if evaluate is None:
        return
    for name in ("model_args", "devices"):
        if getattr(evaluate, name) and evaluate.runner == "in_process":
            problem = "has no effect with runner: in_process, which scores the model that trains"
            yield DMTError(f"{key}.{name}", problem, "write runner: subprocess, or remove it")
    continuous = evaluate.model == "hf" and evaluate.batching == "auto"
    for setting in ("cache_share", "stop_early"):
        if setting in evaluate.model_fields_set and not continuous:
            problem = "has no effect without continuous batching"
            fix = "remove it, or write batching: auto and model: hf"
            yield DMTError(f"{key}.{setting}", problem, fix)
    # a user's own tasks may ask the judge, too
    if (
        evaluate.judge
        and evaluate.include_path is None
        and not any(MTBENCH in task for task in evaluate.tasks)
    ):
        problem = "has no effect: only dmt_general_mtbench asks the judge"
        yield DMTError(f"{key}.judge", problem, "add dmt_general_mtbench to tasks, or remove it")
