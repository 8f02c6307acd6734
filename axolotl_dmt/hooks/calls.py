"""Calls the hooks of all plugins and checks what they return."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.loading import callers, guarded, hook_manager, load_hooks
from axolotl_dmt.hookspecs import Section, StageContext
from axolotl_dmt.plan.amounts import UNITS
from axolotl_dmt.plan.inputs import Stage
from axolotl_dmt.plan.orders import ORDERS, Order
from axolotl_dmt.plan.ranking import SELECTIONS, Selector
from axolotl_dmt.plan.solve import AmountRows
from axolotl_dmt.results.results import Results, Score
from axolotl_dmt.strategies import Strategy

__all__ = [
    "adjusted_scores",
    "adjusted_stages",
    "call_stage_hook",
    "hook_manager",
    "load_hooks",
    "registered_amounts",
    "registered_orders",
    "registered_recipes",
    "registered_selectors",
    "registered_strategies",
    "report_sections",
]


def registered_strategies() -> dict[str, Strategy]:
    """Return every registered strategy by name.

    Raises:
        DMTError: two strategies share a name, or a hook failed.
    """
    hook = "register_strategies"
    strategies: dict[str, Strategy] = {}
    for plugin, call in callers(hook):
        answer = call()
        if not _is_list_of(answer, Strategy):
            raise _bad_answer(hook, plugin, answer, "a list of Strategy")
        for strategy in answer:
            if strategy.name in strategies:
                raise DMTError(
                    "dmt.strategy", f"{strategy.name!r} is registered twice", "rename one of them"
                )
            # A generator would run, and could fail, after `guarded` has returned.
            stages = guarded(plugin, hook, functools.partial(_stages_list, strategy.stages))
            free = strategy.free and guarded(plugin, hook, strategy.free)
            strategies[strategy.name] = replace(strategy, stages=stages, free=free)
    return dict(sorted(strategies.items()))


def _stages_list(stages: Any, setting: Any) -> list[Any]:
    return list(stages(setting))


def registered_amounts() -> dict[str, AmountRows]:
    """Return every unit of an amount that a plugin registered, by name.

    Raises:
        DMTError: two units share a name, or a hook failed.
    """
    return _registered("register_amounts", "dmt.stages", ("all", *UNITS))


def registered_selectors() -> dict[str, Selector]:
    """Return every selector that a plugin registered, by name.

    Raises:
        DMTError: two selectors share a name, or a hook failed.
    """
    return _registered("register_selectors", "dmt.select", SELECTIONS)


def registered_orders() -> dict[str, Order]:
    """Return every order that a plugin registered, by name.

    Raises:
        DMTError: two orders share a name, or a hook failed.
    """
    return _registered("register_orders", "dmt.order", ORDERS)


def registered_recipes() -> dict[str, Path]:
    """Return every recipe that a plugin registered, by name.

    Raises:
        DMTError: two recipes share a name, or a hook failed.
    """
    return _registered("register_recipes", "recipe", ())


def _registered(hook: str, key: str, built_in: Iterable[str]) -> dict[str, Any]:
    """Return everything that the implementations of a `register_...` hook register, by name.

    Args:
        hook: the name of the hook.
        key: the YAML key that takes the names, for errors.
        built_in: names that plugins cannot register.

    Raises:
        DMTError: two plugins register one name, a name is built in, or a hook failed.
    """
    taken, by_name = dict.fromkeys(built_in, "axolotl_dmt"), {}
    for plugin, call in callers(hook):
        answer = call()
        if not isinstance(answer, Mapping):
            raise _bad_answer(hook, plugin, answer, "a mapping of names")
        for name, registered in answer.items():
            if name in taken:
                problem = f"{name!r} is registered twice, by {taken[name]} and {plugin}"
                raise DMTError(key, problem, "rename one of them")
            taken[name] = plugin
            is_function = callable(registered)
            by_name[name] = guarded(plugin, hook, registered) if is_function else registered
    return by_name


def adjusted_stages(stages: Sequence[Stage], domains: Sequence[str]) -> tuple[Stage, ...]:
    """Return the stages after every plugin's `adjust_stages`.

    Raises:
        DMTError: a hook failed, or did not return a list of stages or None.
    """
    hook, adjusted = "adjust_stages", tuple(stages)
    for plugin, call in callers(hook):
        answer = call(stages=adjusted, domains=tuple(domains))
        if answer is not None and (not answer or not _is_list_of(answer, Stage)):
            raise _bad_answer(hook, plugin, answer, "a list of stages, or None")
        adjusted = adjusted if answer is None else tuple(answer)
    return adjusted


def adjusted_scores(scores: Mapping[str, Score], output: Mapping[str, Any]) -> dict[str, Score]:
    """Return the scores after every plugin's `adjust_scores`.

    Raises:
        DMTError: a hook failed, or did not return a mapping of scores or None.
    """
    hook, adjusted = "adjust_scores", dict(scores)
    for plugin, call in callers(hook):
        answer = call(scores=dict(adjusted), output=output)
        if answer is not None and not (
            isinstance(answer, Mapping) and _is_list_of(list(answer.values()), Score)
        ):
            raise _bad_answer(hook, plugin, answer, "a mapping of ability to Score, or None")
        adjusted = adjusted if answer is None else dict(answer)
    return adjusted


def call_stage_hook(hook: str, context: StageContext) -> None:
    """Call every plugin's `stage_start` or `stage_end`.

    Raises:
        DMTError: a hook failed.
    """
    for _, call in callers(hook):
        call(context=context)


def report_sections(results: Results) -> list[Section]:
    """Return the report sections of every plugin.

    If a plugin fails, a section with its error takes the place of its sections, so that the report
    is still written.
    """
    sections: list[Section] = []
    for plugin, call in callers("report_sections"):
        try:
            sections += _sections_of(plugin, call, results)
        except DMTError as error:
            sections.append(Section(title=f"Section of {plugin}", markdown=f"Failed: `{error}`"))
    return sections


def _sections_of(plugin: str, call: Callable[..., Any], results: Results) -> Sequence[Section]:
    answer = call(results=results)
    if not _is_list_of(answer, Section):
        raise _bad_answer("report_sections", plugin, answer, "a list of Section")
    sections: Sequence[Section] = answer
    return sections


def _is_list_of(answer: Any, kind: type) -> bool:
    return isinstance(answer, Sequence) and all(isinstance(item, kind) for item in answer)


def _bad_answer(hook: str, plugin: str, answer: Any, expected: str) -> DMTError:
    return DMTError(f"hook {hook} of {plugin}", f"returned {answer!r}", f"return {expected}")
