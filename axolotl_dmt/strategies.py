"""Named schedules: a strategy turns the YAML's domains into stages.

The built-in ones are registered through the same hook as anybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axolotl_dmt import hookimpl
from axolotl_dmt.errors import DMTError


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a strategy may look at.

    Attributes:
        domains: names of all domains, in the order of the YAML's datasets.
        general: the domains of general data.
        k: replay, a fraction of each specialised domain, as written in the YAML.
    """

    domains: tuple[str, ...]
    general: tuple[str, ...]
    k: Any

    @property
    def specialised(self) -> tuple[str, ...]:
        """The domains that are not general."""
        return tuple(name for name in self.domains if name not in self.general)


StageMixes = Sequence[tuple[str, Mapping[str, Any]]]
"""Stages in order: a name, and a mix of domain -> amount as a user would write it."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A named schedule.

    Attributes:
        name: what `dmt.strategy` says.
        summary: one line for `axolotl dmt strategies`.
        stages: makes the stages of a setting; raises `DMTError` where the setting does not fit.
    """

    name: str
    summary: str
    stages: Callable[[Setting], StageMixes]


def _require_general(setting: Setting) -> None:
    missing = [name for name in setting.general if name not in setting.domains]
    if missing or not setting.general:
        known = ", ".join(setting.domains)
        raise DMTError(
            "dmt.general", f"no dataset has the domain {missing[0]!r}", f"known domains: {known}"
        )
    if not setting.specialised:
        raise DMTError(
            "dmt.strategy", "every domain is general", "give a dataset another domain, say math"
        )


def dual_stage(setting: Setting) -> StageMixes:
    """DMT (Dong et al., ACL 2024, section 3.5).

    Stage 1 learns all specialised data; stage 2 learns the general data with a replay of a
    fraction k of each specialised domain.
    """
    _require_general(setting)
    replay = dict.fromkeys(setting.specialised, setting.k)
    return [
        ("specialise", dict.fromkeys(setting.specialised, "all")),
        ("generalise", {**dict.fromkeys(setting.general, "all"), **replay}),
    ]


@hookimpl
def register_strategies() -> Sequence[Strategy]:
    """The strategies that come with the package."""
    return [
        Strategy(
            name="dmt",
            summary="specialised data first, then general data with a replay of k of each",
            stages=dual_stage,
        ),
    ]
