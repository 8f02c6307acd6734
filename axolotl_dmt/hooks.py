"""What the plugins offer and change, asked of all of them and checked."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from axolotl_dmt.amounts import UNITS
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hook_loading import callers, guarded, hook_manager, load_hooks
from axolotl_dmt.hookspecs import Section, StageContext
from axolotl_dmt.inputs import Stage
from axolotl_dmt.mixing import SELECTIONS, Selector
from axolotl_dmt.orders import ORDERS, Order
from axolotl_dmt.results import Results, Score
from axolotl_dmt.solve import AmountRows
from axolotl_dmt.strategies import Strategy

__all__ = [
    "adjusted_scores",
    "adjusted_stages",
    "call_stage_hook",
    "hook_manager",
    "known_strategies",
    "load_hooks",
    "registered_amounts",
    "registered_orders",
    "registered_recipes",
    "registered_selectors",
    "report_sections",
]


def known_strategies() -> dict[str, Strategy]:
    """Every registered strategy by name.

    Raises:
        DMTError: two strategies share a name, or a hook failed.
    """
    hook = "register_strategies"
    found: dict[str, Strategy] = {}
    for plugin, ask in callers(hook):
        offered = ask()
        if not _all(offered, Strategy):
            raise _no(hook, plugin, offered, "a list of Strategy")
        for strategy in offered:
            if strategy.name in found:
                raise DMTError(
                    "dmt.strategy", f"{strategy.name!r} is registered twice", "rename one of them"
                )
            # A generator of stages would run, and fail, outside the guard.
            stages = guarded(plugin, hook, functools.partial(_listed, strategy.stages))
            found[strategy.name] = replace(strategy, stages=stages)
    return dict(sorted(found.items()))


def _listed(stages: Any, setting: Any) -> list[Any]:
    return list(stages(setting))


def registered_amounts() -> dict[str, AmountRows]:
    """Every unit of an amount that a plugin registered, by name."""
    return _named("register_amounts", "dmt.stages", ("all", *UNITS))


def registered_selectors() -> dict[str, Selector]:
    """Every selector that a plugin registered, by name."""
    return _named("register_selectors", "dmt.select", SELECTIONS)


def registered_orders() -> dict[str, Order]:
    """Every order that a plugin registered, by name."""
    return _named("register_orders", "dmt.order", ORDERS)


def registered_recipes() -> dict[str, Path]:
    """Every recipe that a plugin registered, by name."""
    return _named("register_recipes", "recipe", ())


def _named(hook: str, key: str, built_in: Iterable[str]) -> dict[str, Any]:
    """Everything that a `register_...` hook offers, by name.

    Raises:
        DMTError: two share a name, or one has a built-in's, or a hook failed.
    """
    taken, found = dict.fromkeys(built_in, "axolotl_dmt"), {}
    for plugin, ask in callers(hook):
        offer = ask()
        if not isinstance(offer, Mapping):
            raise _no(hook, plugin, offer, "a mapping of names")
        for name, registered in offer.items():
            if name in taken:
                problem = f"{name!r} is registered twice, by {taken[name]} and {plugin}"
                raise DMTError(key, problem, "rename one of them")
            taken[name] = plugin
            found[name] = guarded(plugin, hook, registered) if callable(registered) else registered
    return found


def adjusted_stages(stages: Sequence[Stage], domains: Sequence[str]) -> tuple[Stage, ...]:
    """The stages as the plugins want them.

    Raises:
        DMTError: a hook failed, or returned something else.
    """
    hook, now = "adjust_stages", tuple(stages)
    for plugin, ask in callers(hook):
        answer = ask(stages=now, domains=tuple(domains))
        if answer is not None and (not answer or not _all(answer, Stage)):
            raise _no(hook, plugin, answer, "a list of stages, or None")
        now = now if answer is None else tuple(answer)
    return now


def adjusted_scores(scores: Mapping[str, Score], output: Mapping[str, Any]) -> dict[str, Score]:
    """The scores as the plugins want them.

    Raises:
        DMTError: a hook failed, or returned something else.
    """
    hook, now = "adjust_scores", dict(scores)
    for plugin, ask in callers(hook):
        answer = ask(scores=dict(now), output=output)
        if answer is not None and not (
            isinstance(answer, Mapping) and _all(list(answer.values()), Score)
        ):
            raise _no(hook, plugin, answer, "a mapping of ability to Score, or None")
        now = now if answer is None else dict(answer)
    return now


def call_stage_hook(hook: str, context: StageContext) -> None:
    """Call every plugin's `stage_start` or `stage_end`.

    Raises:
        DMTError: a hook failed.
    """
    for _, ask in callers(hook):
        ask(context=context)


def report_sections(results: Results) -> list[Section]:
    """Every plugin's sections of the report.

    A plugin that fails gets a section that says so: no report is lost for it.
    """
    hook = "report_sections"
    found: list[Section] = []
    for plugin, ask in callers(hook):
        try:
            sections: list[Section] = ask(results=results)
            if not _all(sections, Section):
                raise _no(hook, plugin, sections, "a list of Section")
        except DMTError as error:
            sections = [Section(title=f"Section of {plugin}", markdown=f"Failed: `{error}`")]
        found.extend(sections)
    return found


def _all(answer: Any, item: type) -> bool:
    return isinstance(answer, Sequence) and all(isinstance(part, item) for part in answer)


def _no(hook: str, plugin: str, answer: Any, wanted: str) -> DMTError:
    return DMTError(f"hook {hook} of {plugin}", f"returned {answer!r}", f"return {wanted}")
