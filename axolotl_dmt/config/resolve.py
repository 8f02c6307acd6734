"""Resolve the `dmt:` block: turn a strategy or explicit stages into stages with all defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from axolotl_dmt.config.args import AUTO, DEFAULT_K, DMTConfig, ScheduleConfig, StageConfig
from axolotl_dmt.config.replay import select_replay
from axolotl_dmt.errors import DMTError, DMTErrors, name_advice
from axolotl_dmt.hooks.calls import (
    adjusted_stages,
    registered_amounts,
    registered_orders,
    registered_selectors,
    registered_strategies,
)
from axolotl_dmt.plan.amounts import Amount, parse_amount
from axolotl_dmt.plan.inputs import Stage
from axolotl_dmt.plan.orders import ORDERS
from axolotl_dmt.plan.ranking import BY_LOSS, SELECTIONS
from axolotl_dmt.strategies import Setting, Strategy, depends_on_k, uses_share


@dataclass(frozen=True, kw_only=True)
class StageDefaults:
    """Axolotl's own settings, which apply to a stage unless the `dmt:` block sets another value."""

    epochs: float
    learning_rate: float
    lr_scheduler: str
    warmup_steps: int | None
    warmup_ratio: float | None
    weight_decay: float | None
    train_on_inputs: bool = False
    max_steps: int | None = None
    order: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A stage before its defaults are filled in; `key` is the YAML key of its mix."""

    name: str
    key: str
    mix: Mapping[str, Amount]
    schedule: ScheduleConfig


def resolve_stages(
    config: DMTConfig, domains: Sequence[str], defaults: StageDefaults
) -> tuple[Stage, ...]:
    """Resolve the stages of a run, in training order.

    Args:
        config: the checked `dmt:` block.
        domains: names of the domains that have a dataset, in the YAML's order.
        defaults: Axolotl's own settings.

    Raises:
        DMTError: a strategy, a domain or a stage is unknown, or a hook failed.
    """
    drafts = _explicit(config.stages) if config.stages else _from_strategy(config, domains)
    errors = []
    for draft in drafts:
        for domain in draft.mix:
            if domain not in domains:
                fix = name_advice(domain, domains, "domains")
                errors.append(DMTError(f"{draft.key}.{domain}", "no dataset has this domain", fix))
    stages = select_replay(
        config,
        [_stage(config, defaults, draft) for draft in drafts],
        [draft.schedule.select for draft in drafts],
    )
    for draft, stage in zip(drafts, stages, strict=True):
        if not any(amount.value for amount in stage.mix.values()):
            errors.append(DMTError(draft.key, "the stage has no rows", "take some of a domain"))
    if not errors:
        stages = adjusted_stages(stages, domains)
    errors += _unknown_names(config.model_dump(), stages, domains)
    if errors:
        raise DMTErrors(errors)
    return stages


def stage_key(block: Mapping[str, Any], stage: str, setting: str, default_key: str) -> str:
    """Return the YAML key that determines a setting of a stage.

    Args:
        block: the `dmt:` block as plain values.
        stage: the name of the stage.
        setting: the name of the setting.
        default_key: the key that applies to stages without their own value.
    """
    for index, entry in enumerate(block.get("stages") or ()):
        if (
            isinstance(entry, Mapping)
            and entry.get("name") == stage
            and entry.get(setting) is not None
        ):
            return f"dmt.stages[{index}].{setting}"
    overrides = block.get("overrides")
    override = (overrides.get(stage) if isinstance(overrides, Mapping) else None) or {}
    return default_key if override.get(setting) is None else f"dmt.overrides.{stage}.{setting}"


def _unknown_names(
    block: Mapping[str, Any], stages: Sequence[Stage], domains: Sequence[str]
) -> list[DMTError]:
    """Return an error for each unknown order, selection, and domain of a selection."""
    orders, selectors = [*ORDERS, *registered_orders()], [*SELECTIONS, *registered_selectors()]
    errors: dict[tuple[str, str], DMTError] = {}
    for stage in reversed(stages):  # so that an error names the first stage that has the mistake
        if stage.order not in orders:
            problem = f"{stage.order!r} (stage {stage.name}) is unknown"
            key = stage_key(block, stage.name, "order", "dmt.order")
            fix = name_advice(stage.order, orders, "orders")
            errors["order", stage.order] = DMTError(key, problem, fix)
        select = stage.select if isinstance(stage.select, Mapping) else {"": stage.select}
        for domain, method in select.items():
            key = stage_key(block, stage.name, "select", "dmt.select")
            key = f"{key}.{domain}" if domain else key
            if domain and domain not in domains:
                fix = name_advice(domain, domains, "domains")
                errors[key, ""] = DMTError(key, "no dataset has this domain", fix)
            if method not in (*selectors, BY_LOSS) and not method.startswith("score:"):
                problem = f"{method!r} (stage {stage.name}) is unknown"
                fix = name_advice(method, [*selectors, "score:<column>"], "selections")
                errors[key, method] = DMTError(key, problem, fix)
    return list(errors.values())


def _explicit(stages: Sequence[StageConfig]) -> list[_Draft]:
    drafts = []
    for index, stage in enumerate(stages):
        mix_key = "mix" if stage.mix else "weights"
        mix = stage.mix or {
            name: Amount("weight", weight) for name, weight in (stage.weights or {}).items()
        }
        key = f"dmt.stages[{index}].{mix_key}"
        drafts.append(_Draft(name=stage.name, key=key, mix=mix, schedule=stage))
    return drafts


def _from_strategy(config: DMTConfig, domains: Sequence[str]) -> list[_Draft]:
    strategies = registered_strategies()
    strategy = strategies.get(config.strategy or "")
    if strategy is None:
        fix = name_advice(config.strategy or "", strategies, "strategies")
        raise DMTError("dmt.strategy", f"{config.strategy!r} is unknown", fix)
    setting = strategy_setting(config, domains)
    if config.k == AUTO and depends_on_k(strategy, setting):
        fix = "write a fraction, or train the YAML that `axolotl dmt solve` writes"
        raise DMTError("dmt.k", f"{AUTO} cannot be used here", fix)
    if setting.share is not None and not uses_share(strategy, setting):
        problem = f"strategy {strategy.name} replays no share of a stage"
        raise DMTError("dmt.replay.share", problem, "write strategy: dmt, or remove it")
    stages = strategy_stages(strategy, setting)
    overrides = config.overrides or {}
    names = [name for name, _ in stages]
    for name in overrides:
        if name not in names:
            raise DMTError(f"dmt.overrides.{name}", "no such stage", f"stages: {', '.join(names)}")
    return [
        _Draft(
            name=name,
            key=_stage_label(strategy, name),
            mix=mix,
            schedule=overrides.get(name, ScheduleConfig()),
        )
        for name, mix in stages
    ]


def strategy_setting(config: DMTConfig, domains: Sequence[str]) -> Setting:
    """Return the settings that a strategy may use; if k is `auto`, with the default k."""
    return Setting(
        domains=tuple(domains),
        general=config.general_domains,
        k=config.k if isinstance(config.k, Fraction) else DEFAULT_K,
        share=config.replay.share if config.replay else None,
        sequence=tuple(config.sequence or ()),
        domain=config.domain,
    )


def strategy_stages(strategy: Strategy, setting: Setting) -> list[tuple[str, dict[str, Amount]]]:
    """Return the name and the mix of each stage that a strategy makes in a setting.

    Raises:
        DMTError: the setting does not fit the strategy, or an amount that it returned is not valid.
    """
    units = registered_amounts()
    return [
        (
            name,
            {
                domain: parse_amount(value, f"{_stage_label(strategy, name)}.{domain}", units)
                for domain, value in mix.items()
            },
        )
        for name, mix in strategy.stages(setting)
    ]


def _stage_label(strategy: Strategy, stage: str) -> str:
    return f"dmt.strategy {strategy.name}: stage {stage}"


def _stage(config: DMTConfig, defaults: StageDefaults, draft: _Draft) -> Stage:
    """Return a draft with every default filled in."""
    schedule = draft.schedule
    fresh_adapter = schedule.adapter == "new"
    sets_warmup = schedule.warmup_steps is not None or schedule.warmup_ratio is not None
    return Stage(
        name=draft.name,
        mix=dict(draft.mix),
        epochs=_first(schedule.epochs, defaults.epochs),
        max_steps=_first(schedule.max_steps, defaults.max_steps),
        learning_rate=_first(schedule.learning_rate, defaults.learning_rate),
        lr_scheduler=_first(schedule.lr_scheduler, defaults.lr_scheduler),
        warmup_steps=schedule.warmup_steps if sets_warmup else defaults.warmup_steps,
        warmup_ratio=schedule.warmup_ratio if sets_warmup else defaults.warmup_ratio,
        weight_decay=_first(schedule.weight_decay, defaults.weight_decay),
        train_on_inputs=None
        if schedule.train_on_inputs in (None, defaults.train_on_inputs)
        else schedule.train_on_inputs,
        new_adapter=True if fresh_adapter else None,
        reset_optimizer=fresh_adapter or _first(schedule.reset_optimizer, config.reset_optimizer),
        freeze=tuple(schedule.freeze or ()),
        order=_first(schedule.order, config.order, defaults.order, "shuffle"),
        select=_first(schedule.select, config.select),
        redraw=_first(schedule.redraw, config.redraw),
        max_repeats=_first(schedule.max_repeats, config.max_repeats),
        temperature=_first(getattr(schedule, "temperature", None), 1.0),
    )


def _first(*values: Any) -> Any:
    """Return the first value that is not None."""
    return next((value for value in values if value is not None), None)
