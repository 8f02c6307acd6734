"""Strategies: named schedules, which turn the domains of a YAML into stages.

The built-in strategies are registered through the same hook as those of other packages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from axolotl_dmt import hookimpl
from axolotl_dmt.errors import DMTError, name_advice


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The settings that a strategy may use.

    Attributes:
        domains: the names of all domains, in the order of the YAML's datasets.
        general: the domains of general data.
        k: the replay fraction of each specialised domain.
        share: instead of `k`, the share of the stage's rows that is replayed; None if it is not
            set.
        sequence: the value of `dmt.sequence`, the order of the domains; empty if it is not set.
        domain: the value of `dmt.domain`; None if it is not set.
    """

    domains: tuple[str, ...]
    general: tuple[str, ...]
    k: Fraction = Fraction(0)
    share: Fraction | None = None
    sequence: tuple[str, ...] = ()
    domain: str | None = None

    @property
    def specialised(self) -> tuple[str, ...]:
        """The domains that are not general, in the same order."""
        return tuple(name for name in self.domains if name not in self.general)


StageMixes = Sequence[tuple[str, Mapping[str, object]]]
"""Stages in order: a name, and a mix of domain -> amount.

An amount is a `Fraction` of the domain, or what a YAML would hold: "all", "1/16", {"rows": 500}."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A named schedule.

    Attributes:
        name: the value of `dmt.strategy`.
        summary: one line for `axolotl dmt strategies`.
        stages: returns the stages for a setting; raises `DMTError` if the setting does not fit.
        free: returns the domains of the last stage whose amounts `axolotl dmt solve` may choose.
            None frees those that are not general and that an earlier stage trains on as well.
    """

    name: str
    summary: str
    stages: Callable[[Setting], StageMixes]
    free: Callable[[Setting], Sequence[str]] | None = None


def depends_on_k(strategy: Strategy, setting: Setting) -> bool:
    """Return whether the stages of a strategy depend on k in this setting."""
    few, many = (
        [(name, dict(mix)) for name, mix in strategy.stages(replace(setting, k=k))]
        for k in (Fraction(1, 256), Fraction(1, 3))
    )
    return few != many


def uses_share(strategy: Strategy, setting: Setting) -> bool:
    """Return whether the stages of a strategy depend on the share that is replayed."""
    few, many = (
        [(name, dict(mix)) for name, mix in strategy.stages(replace(setting, share=share))]
        for share in (Fraction(1, 256), Fraction(1, 3))
    )
    return few != many


def free_domains(
    strategy: Strategy | None, setting: Setting, stages: StageMixes
) -> tuple[str, ...]:
    """Return the domains of the last stage whose amounts `axolotl dmt solve` may choose.

    Args:
        strategy: the strategy, or None for explicit stages.
        setting: its setting.
        stages: the stages in order.
    """
    if strategy is not None and strategy.free is not None:
        return tuple(strategy.free(setting))
    *earlier, (_, last) = stages
    learned = {domain for _, mix in earlier for domain in mix}
    return tuple(name for name in last if name in learned and name not in setting.general)


def _require_general(setting: Setting) -> None:
    if not setting.general:
        fix = f"known domains: {', '.join(setting.domains)}"
        raise DMTError("dmt.general", "names no domain", fix)
    for name in setting.general:
        if name not in setting.domains:
            fix = f"name the general domain; {name_advice(name, setting.domains, 'domains')}"
            raise DMTError("dmt.general", f"no dataset has the domain {name!r}", fix)
    if not setting.specialised:
        raise DMTError(
            "dmt.strategy", "every domain is general", "give a dataset another domain, say math"
        )


def dual_stage(setting: Setting) -> StageMixes:
    """Return the two stages of DMT (Dong et al., ACL 2024, section 3.5).

    Stage 1 trains on all specialised data; stage 2 trains on the general data and replays a
    fraction k of each specialised domain, or a share of its own rows.

    Raises:
        DMTError: a general domain has no dataset, or there is no specialised domain.
    """
    _require_general(setting)
    amount = setting.k if setting.share is None else {"joint_share": setting.share}
    replay: dict[str, object] = dict.fromkeys(setting.specialised, amount)
    return [
        ("specialise", dict.fromkeys(setting.specialised, "all")),
        ("generalise", {**dict.fromkeys(setting.general, "all"), **replay}),
    ]


def mixed_sequential(setting: Setting) -> StageMixes:
    """Return a stage with all specialised data, and one with only general data: DMT with k = 0.

    Raises:
        DMTError: a general domain has no dataset, or there is no specialised domain.
    """
    _require_general(setting)
    return [
        ("specialise", dict.fromkeys(setting.specialised, "all")),
        ("generalise", dict.fromkeys(setting.general, "all")),
    ]


def multi_task(setting: Setting) -> StageMixes:
    """Return one stage with all data of all domains."""
    return [("multi_task", dict.fromkeys(setting.domains, "all"))]


def sequential(setting: Setting) -> StageMixes:
    """Return one stage for each domain; by default code, math, the others, and general data last.

    Raises:
        DMTError: `dmt.sequence` names a domain twice, or one that no dataset has.
    """
    order = setting.sequence or _paper_order(setting)
    unknown = [name for name in order if name not in setting.domains]
    if unknown:
        fix = name_advice(unknown[0], setting.domains, "domains")
        raise DMTError("dmt.sequence", f"no dataset has the domain {unknown[0]!r}", fix)
    if len(set(order)) < len(order):
        raise DMTError("dmt.sequence", "names a domain twice", "name each domain once")
    return [(name, {name: "all"}) for name in order]


def _paper_order(setting: Setting) -> tuple[str, ...]:
    first = [name for name in ("code", "math") if name in setting.specialised]
    others = [name for name in setting.specialised if name not in first]
    last = [name for name in setting.domains if name in setting.general]
    return (*first, *others, *last)


def single(setting: Setting) -> StageMixes:
    """Return one stage with one domain, `dmt.domain`.

    Raises:
        DMTError: `dmt.domain` is not set, or no dataset has the domain.
    """
    if setting.domain is None:
        fix = f"name the domain to train on; known domains: {', '.join(setting.domains)}"
        raise DMTError("dmt.domain", "is missing", fix)
    if setting.domain not in setting.domains:
        fix = name_advice(setting.domain, setting.domains, "domains")
        raise DMTError("dmt.domain", f"no dataset has the domain {setting.domain!r}", fix)
    return [(setting.domain, {setting.domain: "all"})]


@hookimpl
def register_strategies() -> Sequence[Strategy]:
    """Return the strategies of the paper."""
    return [
        Strategy(
            name="dmt",
            summary="specialised data first, then general data with a replay of k of each",
            stages=dual_stage,
        ),
        Strategy(
            name="mixed_sequential",
            summary="specialised data first, then general data alone",
            stages=mixed_sequential,
        ),
        Strategy(
            name="multi_task", summary="all data of all domains in one stage", stages=multi_task
        ),
        Strategy(
            name="sequential",
            summary="one domain after another: code, math, general, or dmt.sequence",
            stages=sequential,
        ),
        Strategy(name="single", summary="one domain alone: dmt.domain", stages=single),
    ]
