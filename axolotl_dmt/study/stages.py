"""Writes out the schedule of a cell: its stages, with each domain reduced to its amount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from axolotl_dmt.config.args import AUTO, DMTConfig, read_config
from axolotl_dmt.config.resolve import strategy_setting, strategy_stages
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.calls import registered_strategies
from axolotl_dmt.plan.amounts import ALL, Amount
from axolotl_dmt.strategies import depends_on_k

SCHEDULE_KEYS = ("strategy", "k", "domain", "sequence", "overrides", "stages", "start_stage")
"""Keys of the `dmt` block that the written-out stages replace."""
SPECIALISED = "specialised"
"""The name in `amounts` that stands for every domain that is not general."""


def domains_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the domains of a raw configuration's datasets, in order of first appearance.

    Raises:
        DMTError: there is no dataset, or one has no domain.
    """
    entries = config.get("datasets")
    domains = [
        str(entry.get("domain") or "")
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, Mapping)
    ]
    if not domains or not all(domains):
        fix = "list entries such as - {path: math.jsonl, type: alpaca, domain: math}"
        raise DMTError("datasets", "there is no entry, or one has no domain", fix)
    return tuple(dict.fromkeys(domains))


def cell_stages(
    block: dict[str, Any], domains: Sequence[str], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the stages of a cell in the form of `dmt.stages`.

    Args:
        block: the base's `dmt` block; changed in place. Its schedule is used where the settings
            have none, and is removed from the block.
        domains: the domains of the datasets.
        settings: the settings of the cell, of which strategy, domain, k, amount and amount.<domain>
            are used.

    Raises:
        DMTError: a strategy or domain is unknown, or an amount cannot be applied to a stage.
    """
    schedule = {**block}
    if settings.get("strategy"):
        schedule |= {key: settings[key] for key in ("strategy", "domain", "k") if key in settings}
        if schedule.get("stages"):
            del schedule["stages"]
    elif schedule.get("stages"):
        for axis in ("k", "domain"):
            if axis in settings:
                fix = "name a strategy, or vary dmt.stages by a variant"
                raise DMTError(f"study.{axis}", "has no effect on the stages of the base", fix)
    config = read_config(schedule)
    if config.stages:
        # Weights stay as the base spells them: the spelling is part of the digest of a run.
        base_weights = [{"weights": stage.get("weights")} for stage in schedule["stages"]]
        stages = [
            {**_plain(stage), **({"mix": stage.mix} if stage.mix else weights)}
            for stage, weights in zip(config.stages, base_weights, strict=True)
        ]
    else:
        # One base serves all strategies, so an override without a stage of its name is ignored.
        overrides = config.overrides or {}
        stages = [
            {
                "name": name,
                "mix": mix,
                **(_plain(overrides[name]) if name in overrides else {}),
            }
            for name, mix in _strategy_stages(config, domains)
        ]
    for name in SCHEDULE_KEYS:
        block.pop(name, None)
    amounts = _amounts(settings, domains, config.general_domains)
    for stage in stages:
        if "mix" in stage or amounts:
            stage["mix"] = _reduced_mix(stage, amounts)
    return stages


def uses_k(strategy: str | None, base: Mapping[str, Any], domain: str | None) -> bool:
    """Whether a strategy's stages depend on k; True for an unknown strategy.

    Args:
        strategy: the name of the strategy.
        base: the base configuration.
        domain: the domain of the strategy `single`, if it is not that of the base.

    Raises:
        DMTError: the base has no `dmt` block or domains, or the block has a mistake.
    """
    registered = registered_strategies().get(strategy or "")
    if registered is None:
        return True
    config = read_config({**_block(base), "strategy": strategy, "stages": None, "overrides": None})
    setting = strategy_setting(config, domains_of(base))
    return depends_on_k(registered, replace(setting, domain=domain or config.domain))


def _block(base: Mapping[str, Any]) -> dict[str, Any]:
    block = base.get("dmt")
    if not isinstance(block, Mapping):
        raise DMTError("study.base", "has no dmt block", "name an Axolotl YAML with a dmt block")
    return dict(block)


def _strategy_stages(
    config: DMTConfig, domains: Sequence[str]
) -> list[tuple[str, dict[str, Amount]]]:
    registered = registered_strategies()
    strategy = registered.get(config.strategy or "")
    if strategy is None:
        problem = f"{config.strategy!r} is unknown"
        raise DMTError("study.strategy", problem, f"known: {', '.join(registered)}")
    setting = strategy_setting(config, domains)
    if config.k == AUTO and depends_on_k(strategy, setting):
        raise DMTError("study.k", "is missing: the base has k: auto", "give the study values of k")
    return strategy_stages(strategy, setting)


def _plain(model: Any) -> dict[str, Any]:
    plain: dict[str, Any] = model.model_dump(exclude_none=True)
    return plain


def _amounts(
    settings: Mapping[str, Any], domains: Sequence[str], general: Sequence[str]
) -> dict[str, Fraction]:
    """Return {domain: fraction that is available for training}, for domains that have a setting.

    Raises:
        DMTError: a setting names an unknown domain.
    """
    amounts: dict[str, Fraction] = {}
    if "amount" in settings:
        amounts |= dict.fromkeys(domains, settings["amount"])
    if (part := settings.get(f"amount.{SPECIALISED}")) is not None:
        amounts |= {domain: part for domain in domains if domain not in general}
    for axis, value in settings.items():
        domain = axis.removeprefix("amount.")
        if domain == axis or (domain == SPECIALISED and SPECIALISED not in domains):
            continue
        if domain not in domains:
            fix = f"known: {', '.join(domains)}, {SPECIALISED}"
            raise DMTError(f"study.amounts.{domain}", "no dataset has this domain", fix)
        amounts[domain] = value
    return amounts


def _reduced_mix(stage: Mapping[str, Any], amounts: Mapping[str, Fraction]) -> dict[str, Any]:
    """Return the mix of a stage with each fraction multiplied by its domain's amount.

    With a quarter of a domain available, k becomes k/4. Equal mixes are spelt equally, so that
    schedules with the same training share their runs.

    Raises:
        DMTError: an amount of the mix is not a fraction of its domain, or no rows are left.
    """
    mix: dict[str, Any] = {}
    for domain, amount in (stage.get("mix") or {}).items():
        part = amounts.get(domain, Fraction(1))
        if not part * amount.value:
            continue
        if amount.unit in ("all", "fraction"):
            fraction = part * amount.value
            mix[domain] = (ALL if fraction == 1 else Amount("fraction", fraction)).to_plain()
        elif part == 1:
            mix[domain] = amount.to_plain()
        else:
            raise DMTError(
                "study.amount",
                f"stage {stage['name']} takes {amount} of {domain}, which is not a fraction of it",
                "write that mix as a fraction, or leave the amount out",
            )
    if not mix:
        problem = f"stage {stage['name']} is left without rows"
        fix = "give it a mix with a fraction above 0; amounts do not apply to weights"
        raise DMTError("study.amount", problem, fix)
    return mix
