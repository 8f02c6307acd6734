"""The pluggy manager: built-in hooks, installed packages', and those that `dmt.hooks` names.

Hooks are called through `callers`, so that one that raises is named with its plugin.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from axolotl_dmt import hookspecs, strategies
from axolotl_dmt.errors import DMTError

ENTRY_POINT_GROUP = "axolotl_dmt"
KEY = "dmt.hooks"
_FROM_YAML = f"{KEY}: "
"""Beginning of the names of the plugins that a YAML names."""

T = TypeVar("T")


@lru_cache(maxsize=1)
def hook_manager() -> pluggy.PluginManager:
    """The one manager of this process, with every installed package's hooks loaded.

    Raises:
        DMTError: an installed package's hooks cannot be loaded.
    """
    manager = pluggy.PluginManager("axolotl_dmt")
    manager.add_hookspecs(hookspecs)
    manager.register(strategies, name="axolotl_dmt.strategies")
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        key = f"plugin {entry_point.name}"
        with _loading(key, "repair or uninstall the package"):
            manager.load_setuptools_entrypoints(ENTRY_POINT_GROUP, entry_point.name)
            _check(manager, manager.get_plugin(entry_point.name), key)
    return manager


def hook_names() -> list[str]:
    """The names of all hooks, in the order of `hookspecs`."""
    return [
        name
        for name, thing in vars(hookspecs).items()
        if inspect.isfunction(thing) and thing.__module__ == hookspecs.__name__
    ]


def load_hooks(named: Sequence[str]) -> list[str]:
    """Load the hooks that `dmt.hooks` names, in place of those that an earlier YAML named.

    Args:
        named: modules (`my_package.hooks`) and files (`my_hooks.py`, from the current folder).

    Returns:
        The same, with each file's path absolute: other processes may start in another folder.

    Raises:
        DMTError: one cannot be loaded, or implements no hook or an unknown one.
    """
    manager = hook_manager()
    for name, _ in manager.list_name_plugin():
        if name.startswith(_FROM_YAML):
            manager.unregister(name=name)
    found: list[str] = []
    for index, name in enumerate(named):
        key, is_file = f"{KEY}[{index}]", name.endswith(".py")
        where = str(Path(name).resolve()) if is_file else name
        if where in found:
            raise DMTError(key, f"{name} is named twice", "name it once")
        found.append(where)
        with _loading(key, "name a module, or a file that ends in .py"):
            plugin = _file(Path(where)) if is_file else importlib.import_module(name)
            if not manager.is_registered(plugin):  # it may be installed with an entry point too
                manager.register(plugin, name=_FROM_YAML + where)
                _check(manager, plugin, key)
    return found


def loaded_hooks() -> list[str]:
    """What `load_hooks` has loaded, for another process to load."""
    names = (name for name, _ in hook_manager().list_name_plugin())
    return [name.removeprefix(_FROM_YAML) for name in names if name.startswith(_FROM_YAML)]


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    name = f"axolotl_dmt_hooks_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a path that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _loading(key: str, fix: str) -> Iterator[None]:
    """Whatever loading a plugin raises becomes one error."""
    try:
        yield
    except DMTError:
        raise
    except Exception as error:
        raise DMTError(key, f"cannot be loaded ({_cause(error)})", fix) from error


def _check(manager: pluggy.PluginManager, plugin: Any, key: str) -> None:
    """Refuse a plugin that implements nothing, or something that nobody calls."""
    problem, fix = "", ""
    hooks = manager.get_hookcallers(plugin) or []
    if not hooks:
        problem, fix = "implements no hook", "mark its functions with @axolotl_dmt.hookimpl"
    for hook in hooks:
        own = [impl for impl in hook.get_hookimpls() if impl.plugin is plugin]
        if not hook.has_spec():
            close = difflib.get_close_matches(hook.name, hook_names(), n=1)
            problem = f"implements {hook.name}, which is no hook"
            fix = f"did you mean {close[0]}?" if close else f"hooks: {', '.join(hook_names())}"
        elif any(impl.wrapper or impl.hookwrapper for impl in own):
            problem, fix = f"wraps {hook.name}", "implement it without wrapper=True"
    if problem:
        name = str(manager.get_name(plugin)).removeprefix(_FROM_YAML)
        manager.unregister(plugin)
        raise DMTError(key, f"{name} {problem}", fix)


def callers(hook: str) -> list[tuple[str, Callable[..., Any]]]:
    """(plugin, function) of each implementation of a hook, in pluggy's order.

    The function takes all of the hook's arguments by name. What it raises names plugin and hook.
    """
    impls = reversed(getattr(hook_manager().hook, hook).get_hookimpls())

    def call(impl: pluggy.HookImpl, **given: Any) -> Any:
        answer = impl.function(*(given[name] for name in impl.argnames))
        return list(answer) if isinstance(answer, Iterator) else answer

    return [
        (shown(impl.plugin_name), guarded(impl.plugin_name, hook, functools.partial(call, impl)))
        for impl in impls
    ]


def guarded(plugin: str, hook: str, function: Callable[..., T]) -> Callable[..., T]:
    """The function, whose errors name the plugin and the hook; `DMTError`s pass as they are."""

    def call(*args: Any, **kwargs: Any) -> T:
        try:
            return function(*args, **kwargs)
        except DMTError:
            raise
        except Exception as error:
            raise DMTError(
                f"hook {hook} of {shown(plugin)}",
                f"raised {_cause(error)}",
                "repair it, or leave the plugin out",
            ) from error

    return call


def shown(plugin: str) -> str:
    """A plugin's name for people: the last part of a file's path, and all of any other."""
    name = plugin.removeprefix(_FROM_YAML)
    return Path(name).name if name.endswith(".py") else name


def _cause(error: BaseException) -> str:
    """An exception in one line, with the place outside this package that raised it."""
    said = " ".join(str(error).split())
    ours, machinery = str(Path(__file__).parent), "<frozen importlib"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, machinery))
    ]
    place = f" in {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}{f': {said}' if said else ''}"


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """Who implements a hook: one line of `axolotl dmt hooks`."""

    hook: str
    plugin: str
    what: str


def implementations() -> list[Implementation]:
    """Every hook of every plugin: what it registers, or the first line of its docstring."""
    found = []
    for hook in hook_names():
        impls = reversed(getattr(hook_manager().hook, hook).get_hookimpls())
        for (plugin, ask), impl in zip(callers(hook), impls, strict=True):
            if hook.startswith("register_"):
                what = ", ".join(str(getattr(item, "name", item)) for item in ask() or ())
            else:
                what = (impl.function.__doc__ or "").strip().partition("\n")[0]
            found.append(Implementation(hook=hook, plugin=plugin, what=what))
    return found
