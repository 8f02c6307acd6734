"""A cell's schedule written out: a strategy's stages, each domain cut down to its amount."""

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
"""Keys of the `dmt` block that the written-out stages stand in for."""
SPECIALISED = "specialised"
"""In `amounts`: every domain that is not general."""


def domains_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The domains of a raw configuration's datasets.

    Raises:
        DMTError: there are none.
    """
    entries = config.get("datasets")
    found = [
        str(entry.get("domain") or "")
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, Mapping)
    ]
    if not found or not all(found):
        fix = "list entries such as - {path: math.jsonl, type: alpaca, domain: math}"
        raise DMTError("datasets", "an entry has no domain, or there is none", fix)
    return tuple(dict.fromkeys(found))


def cell_stages(
    block: dict[str, Any], domains: Sequence[str], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The stages of a cell as `dmt.stages` takes them; takes the schedule out of the block.

    Args:
        block: the base's `dmt` block; its schedule is used where the settings give none, and is
            removed.
        domains: of the datasets.
        settings: of the cell: strategy, domain, k, amount and amount.<domain> are used.

    Raises:
        DMTError: an unknown strategy or domain, or an amount that cannot be cut.
    """
    whole = {**block}
    if settings.get("strategy"):
        whole |= {name: settings[name] for name in ("strategy", "domain", "k") if name in settings}
        if whole.get("stages"):
            del whole["stages"]
    config = read_config(whole)
    if config.stages:
        # Weights are as the base has them: their spelling is part of the digest that names a run.
        written = [{"weights": stage.get("weights")} for stage in whole["stages"]]
        stages = [
            {**_plain(stage), **({"mix": stage.mix} if stage.mix else weights)}
            for stage, weights in zip(config.stages, written, strict=True)
        ]
    else:
        # One base serves all strategies: an override counts where a stage has its name.
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
            stage["mix"] = _cut(stage, amounts)
    return stages


def uses_k(strategy: str | None, base: Mapping[str, Any], domain: str | None) -> bool:
    """Whether a strategy's stages depend on k."""
    known = registered_strategies().get(strategy or "")
    if known is None:
        return True
    config = read_config({**_block(base), "strategy": strategy, "stages": None, "overrides": None})
    setting = strategy_setting(config, domains_of(base))
    return depends_on_k(known, replace(setting, domain=domain or config.domain))


def _block(base: Mapping[str, Any]) -> dict[str, Any]:
    block = base.get("dmt")
    if not isinstance(block, Mapping):
        raise DMTError("study.base", "has no dmt block", "give an Axolotl YAML with one")
    return dict(block)


def _strategy_stages(
    config: DMTConfig, domains: Sequence[str]
) -> list[tuple[str, dict[str, Amount]]]:
    known = registered_strategies()
    strategy = known.get(config.strategy or "")
    if strategy is None:
        problem = f"{config.strategy!r} is unknown"
        raise DMTError("study.strategy", problem, f"known: {', '.join(known)}")
    setting = strategy_setting(config, domains)
    if config.k == AUTO and depends_on_k(strategy, setting):
        raise DMTError("study.k", "the base says auto", "give the study a k, or a list of them")
    return strategy_stages(strategy, setting)


def _plain(model: Any) -> dict[str, Any]:
    plain: dict[str, Any] = model.model_dump(exclude_none=True)
    return plain


def _amounts(
    settings: Mapping[str, Any], domains: Sequence[str], general: Sequence[str]
) -> dict[str, Fraction]:
    """Return the part of each domain that is there to be trained on, where a setting says it."""
    found: dict[str, Fraction] = {}
    if "amount" in settings:
        found |= dict.fromkeys(domains, settings["amount"])
    if (part := settings.get(f"amount.{SPECIALISED}")) is not None:
        found |= {domain: part for domain in domains if domain not in general}
    for axis, value in settings.items():
        domain = axis.removeprefix("amount.")
        if domain == axis or (domain == SPECIALISED and SPECIALISED not in domains):
            continue
        if domain not in domains:
            fix = f"known: {', '.join(domains)}, {SPECIALISED}"
            raise DMTError(f"study.amounts.{domain}", "no dataset has this domain", fix)
        found[domain] = value
    return found


def _cut(stage: Mapping[str, Any], amounts: Mapping[str, Fraction]) -> dict[str, Any]:
    """A mix in which each domain is only as large as its amount: k of a quarter is k/4.

    Every mix is spelt in one way, so that schedules which train the same are seen to be the same.
    """
    mix: dict[str, Any] = {}
    for domain, amount in (stage.get("mix") or {}).items():
        part = amounts.get(domain, Fraction(1))
        if not part * amount.value:
            continue
        if amount.unit in ("all", "fraction"):
            whole = part * amount.value
            mix[domain] = (ALL if whole == 1 else Amount("fraction", whole)).to_plain()
        elif part == 1:
            mix[domain] = amount.to_plain()
        else:
            raise DMTError(
                "study.amount",
                f"stage {stage['name']} takes {amount} of {domain}, which is no fraction of it",
                "write that mix as a fraction, or leave the amount out",
            )
    if not mix:
        problem = f"stage {stage['name']} is left without rows"
        raise DMTError("study.amount", problem, "take some of a domain; weights cannot be cut")
    return mix
