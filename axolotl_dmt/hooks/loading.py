"""Loads plugins: the built-in one, installed packages, and those that `dmt.hooks` names.

Hooks are called through `callers`, so that the error of a hook names its plugin.
"""

from __future__ import annotations

import contextlib
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
from axolotl_dmt.errors import DMTError, closest

ENTRY_POINT_GROUP = "axolotl_dmt"
KEY = "dmt.hooks"
_FROM_YAML = f"{KEY}: "
"""Prefix of the pluggy names of the plugins that a YAML names."""

T = TypeVar("T")


@lru_cache(maxsize=1)
def hook_manager() -> pluggy.PluginManager:
    """Return the plugin manager of this process, with the hooks of installed packages loaded.

    Raises:
        DMTError: an installed package's hooks cannot be loaded.
    """
    manager = pluggy.PluginManager("axolotl_dmt")
    manager.add_hookspecs(hookspecs)
    manager.register(strategies, name="axolotl_dmt.strategies")
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        key = f"plugin {entry_point.name}"
        with _as_loading_error(key, "repair or uninstall the package"):
            manager.load_setuptools_entrypoints(ENTRY_POINT_GROUP, entry_point.name)
            _check_plugin(manager, manager.get_plugin(entry_point.name), key)
    return manager


def hook_names() -> list[str]:
    """Return the names of all hooks, in the order of `hookspecs`."""
    return [
        name
        for name, value in vars(hookspecs).items()
        if inspect.isfunction(value) and value.__module__ == hookspecs.__name__
    ]


def load_hooks(names: Sequence[str]) -> list[str]:
    """Load the plugins that `dmt.hooks` names, in place of those that an earlier YAML named.

    Args:
        names: modules (`my_package.hooks`) and files (`my_hooks.py`, from the current folder).

    Returns:
        The same names with absolute paths, since other processes may start in another folder.

    Raises:
        DMTError: a plugin cannot be loaded, or implements no hook or an unknown one.
    """
    manager = hook_manager()
    for name, _ in manager.list_name_plugin():
        if name.startswith(_FROM_YAML):
            manager.unregister(name=name)
    loaded: list[str] = []
    for index, name in enumerate(names):
        key, is_file = f"{KEY}[{index}]", name.endswith(".py")
        source = str(Path(name).resolve()) if is_file else name
        if source in loaded:
            raise DMTError(key, f"{name} is named twice", "name it once")
        loaded.append(source)
        with _as_loading_error(key, "name a module, or a file that ends in .py"):
            plugin = _import_file(Path(source)) if is_file else importlib.import_module(name)
            if not manager.is_registered(plugin):  # it may be installed with an entry point too
                manager.register(plugin, name=_FROM_YAML + source)
                _check_plugin(manager, plugin, key)
    return loaded


def loaded_hooks() -> list[str]:
    """Return what `load_hooks` returned last, so that another process can load the same plugins."""
    names = (name for name, _ in hook_manager().list_name_plugin())
    return [name.removeprefix(_FROM_YAML) for name in names if name.startswith(_FROM_YAML)]


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    name = f"axolotl_dmt_hooks_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a path that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look up the module of a class
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _as_loading_error(key: str, fix: str) -> Iterator[None]:
    """Turn every error that the block raises into a `DMTError` with this key and fix."""
    try:
        yield
    except DMTError:
        raise
    except Exception as error:
        raise DMTError(key, f"cannot be loaded ({_cause(error)})", fix) from error


def _check_plugin(manager: pluggy.PluginManager, plugin: Any, key: str) -> None:
    """Unregister a plugin and raise DMTError if it has no hook, an unknown hook, or wraps one."""
    problem, fix = "", ""
    hooks = manager.get_hookcallers(plugin) or []
    if not hooks:
        problem, fix = "implements no hook", "mark its functions with @axolotl_dmt.hookimpl"
    for hook in hooks:
        implementations = [impl for impl in hook.get_hookimpls() if impl.plugin is plugin]
        if not hook.has_spec():
            close = closest(hook.name, hook_names())
            problem = f"implements {hook.name}, which is not a hook"
            fix = f"did you mean {close}?" if close else f"known hooks: {', '.join(hook_names())}"
        elif any(impl.wrapper or impl.hookwrapper for impl in implementations):
            problem, fix = f"wraps {hook.name}", "implement it without wrapper=True"
    if problem:
        name = str(manager.get_name(plugin)).removeprefix(_FROM_YAML)
        manager.unregister(plugin)
        raise DMTError(key, f"{name} {problem}", fix)


def callers(hook: str) -> list[tuple[str, Callable[..., Any]]]:
    """Return (plugin, function) for each implementation of a hook, in the order of their calls.

    The function takes all arguments of the hook by name. It raises a `DMTError` that names the
    plugin and the hook if the implementation fails.
    """
    impls = reversed(getattr(hook_manager().hook, hook).get_hookimpls())

    def call(impl: pluggy.HookImpl, **arguments: Any) -> Any:
        answer = impl.function(*(arguments[name] for name in impl.argnames))
        return list(answer) if isinstance(answer, Iterator) else answer

    return [
        (
            display_name(impl.plugin_name),
            guarded(impl.plugin_name, hook, functools.partial(call, impl)),
        )
        for impl in impls
    ]


def guarded(plugin: str, hook: str, function: Callable[..., T]) -> Callable[..., T]:
    """Wrap a function of a plugin, so that it raises no other error than `DMTError`.

    The error names the plugin and the hook; a `DMTError` of the function is passed on unchanged.
    """

    def call(*args: Any, **kwargs: Any) -> T:
        try:
            return function(*args, **kwargs)
        except DMTError:
            raise
        except Exception as error:
            raise DMTError(
                f"hook {hook} of {display_name(plugin)}",
                f"raised {_cause(error)}",
                "repair it, or remove the plugin",
            ) from error

    return call


def display_name(plugin: str) -> str:
    """Return the display name of a plugin: a file without its folder, or the whole name."""
    name = plugin.removeprefix(_FROM_YAML)
    return Path(name).name if name.endswith(".py") else name


def _cause(error: BaseException) -> str:
    """Return an exception in one line, with the file and line of the plugin that raised it."""
    message = " ".join(str(error).split())
    skipped = (str(Path(__file__).parents[1]), "<frozen importlib")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(skipped)
    ]
    place = f" in {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}{f': {message}' if message else ''}"


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """One implementation of a hook: one line of `axolotl dmt hooks`.

    Attributes:
        hook: the name of the hook.
        plugin: the display name of the plugin.
        summary: the names that it registers, or the first line of its docstring.
    """

    hook: str
    plugin: str
    summary: str


def implementations() -> list[Implementation]:
    """Return every implementation of every hook.

    Raises:
        DMTError: a hook failed.
    """
    lines = []
    for hook in hook_names():
        impls = reversed(getattr(hook_manager().hook, hook).get_hookimpls())
        for (plugin, call), impl in zip(callers(hook), impls, strict=True):
            if hook.startswith("register_"):
                summary = ", ".join(str(getattr(item, "name", item)) for item in call() or ())
            else:
                summary = (impl.function.__doc__ or "").strip().partition("\n")[0]
            lines.append(Implementation(hook=hook, plugin=plugin, summary=summary))
    return lines
