"""The `dmt:` block and Axolotl's own keys resolved into stages with every setting filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from axolotl_dmt.amounts import parse_amount
from axolotl_dmt.args import DMTConfig, ScheduleConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks import known_strategies
from axolotl_dmt.plan import Stage
from axolotl_dmt.strategies import Setting


@dataclass(frozen=True, kw_only=True)
class StageDefaults:
    """What a stage takes from Axolotl's own keys where the `dmt:` block is silent."""

    epochs: float
    learning_rate: float
    lr_scheduler: str
    warmup_steps: int | None
    warmup_ratio: float | None
    weight_decay: float | None


def resolve_stages(
    config: DMTConfig, domains: Sequence[str], defaults: StageDefaults
) -> tuple[Stage, ...]:
    """The stages of a strategy, or the explicit ones.

    Args:
        config: the checked `dmt:` block.
        domains: names of all domains, in the order of the YAML's datasets.
        defaults: Axolotl's own settings.

    Raises:
        DMTError: an unknown strategy, domain or overridden stage, or a stage that takes nothing.
    """
    if config.stages is None:
        return _from_strategy(config, tuple(domains), defaults)
    stages = []
    for index, own in enumerate(config.stages):
        mix = own.mix or {name: {"weight": weight} for name, weight in (own.weights or {}).items()}
        where = f"dmt.stages[{index}]." + ("mix" if own.mix else "weights")
        temperature = own.temperature or 1.0
        stages.append(_stage(own.name, mix, where, own, config, domains, defaults, temperature))
    return tuple(stages)


def _from_strategy(
    config: DMTConfig, domains: tuple[str, ...], defaults: StageDefaults
) -> tuple[Stage, ...]:
    strategies = known_strategies()
    if config.strategy not in strategies:
        known = ", ".join(strategies)
        raise DMTError("dmt.strategy", f"unknown strategy {config.strategy!r}", f"known: {known}")
    setting = Setting(domains=domains, general=config.general_domains, k=config.k)
    mixes = strategies[config.strategy].stages(setting)
    overrides = config.overrides or {}
    names = [name for name, _ in mixes]
    for name in overrides:
        if name not in names:
            raise DMTError(
                f"dmt.overrides.{name}", "no such stage", f"the stages are {', '.join(names)}"
            )
    return tuple(
        _stage(
            name,
            mix,
            f"dmt.stages[{index}].mix",
            overrides.get(name, ScheduleConfig.model_validate({})),
            config,
            domains,
            defaults,
            1.0,
        )
        for index, (name, mix) in enumerate(mixes)
    )


def _stage(
    name: str,
    mix: Mapping[str, Any],
    where: str,
    own: ScheduleConfig,
    config: DMTConfig,
    domains: Sequence[str],
    defaults: StageDefaults,
    temperature: float,
) -> Stage:
    for domain in mix:
        if domain not in domains:
            known = ", ".join(domains)
            raise DMTError(f"{where}.{domain}", "no dataset has this domain", f"known: {known}")
    amounts = {domain: parse_amount(value, f"{where}.{domain}") for domain, value in mix.items()}
    if not any(amount.value for amount in amounts.values()):
        raise DMTError(where, "the stage has no rows", "take more than 0 of a domain")
    settings = asdict(defaults)
    if own.warmup_steps is not None or own.warmup_ratio is not None:
        settings |= {"warmup_steps": None, "warmup_ratio": None}
    for key in ("order", "select", "redraw", "max_repeats", "reset_optimizer"):
        settings[key] = getattr(config, key)
    settings |= {key: value for key, value in own if key in _SETTINGS and value is not None}
    return Stage(name=name, mix=amounts, temperature=temperature, **settings)


_SETTINGS = frozenset(ScheduleConfig.model_fields)
