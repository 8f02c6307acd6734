"""Checks of the plugins that a YAML lists beside `axolotl_dmt.DMTPlugin`."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from axolotl_dmt.console import quiet_axolotl
from axolotl_dmt.errors import DMTError, DMTErrors

if TYPE_CHECKING:
    from axolotl.integrations.base import BasePlugin

PLUGIN: Final = "axolotl_dmt.DMTPlugin"
LM_EVAL: Final = "axolotl.integrations.lm_eval.LMEvalPlugin"
NEEDED_PACKAGES: Final = {
    "axolotl.integrations.liger.LigerPlugin": ("liger_kernel", "pip install liger-kernel"),
    "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin": (
        "cut_cross_entropy",
        "install Axolotl's fork of it, as Axolotl's page on Cut Cross Entropy says",
    ),
}
"""{plugin of Axolotl: (module that it needs, how to install it)}; it imports the module only when
the model is loaded."""


def check_plugins(cfg: Mapping[str, Any], *, files: bool = True) -> None:
    """Check that the other plugins can be loaded and that their order works.

    Args:
        cfg: the raw configuration.
        files: whether the packages that they need must be installed.

    Raises:
        DMTError: there are mistakes; the error lists all of them.
    """
    names = plugin_names(cfg)
    others = [(index, name) for index, name in enumerate(names) if name != PLUGIN]
    position = names.index(PLUGIN) if PLUGIN in names else 0
    problems: list[DMTError] = []
    for index, name in others:
        key = f"plugins[{index}]"
        try:
            plugin = loaded_plugin(name)
        except Exception as error:
            problem = f"{name} cannot be loaded ({type(error).__name__}: {error})"
            problems.append(DMTError(key, problem, "install it, or take it out"))
            continue
        if index < position and (reason := _must_come_later(plugin, cfg)):
            fix = f"list {PLUGIN} before it"
            problems.append(DMTError(key, f"{name} comes before {PLUGIN} and {reason}", fix))
    if files:
        problems += _missing_packages(cfg, others)
    if problems:
        raise DMTErrors(problems)


def plugin_names(cfg: Mapping[str, Any]) -> list[str]:
    """Return the plugins that a YAML lists, in their order."""
    plugins = cfg.get("plugins")
    return [str(name) for name in plugins] if isinstance(plugins, list) else []


def loaded_plugin(name: str) -> BasePlugin:
    """Return another plugin as Axolotl creates it.

    Raises:
        Exception: whatever its import or its class raises.
    """
    with quiet_axolotl(silent=True):
        from axolotl.integrations.base import load_plugin

        return load_plugin(name)


def scored_twice(cfg: Mapping[str, Any]) -> bool:
    """Return whether Axolotl's lm_eval plugin scores the model beside `dmt.evaluate`."""
    block = cfg.get("dmt")
    return _lm_eval_runs(cfg) and isinstance(block, Mapping) and bool(block.get("evaluate"))


def _lm_eval_runs(cfg: Mapping[str, Any]) -> bool:
    tasks, after = cfg.get("lm_eval_tasks"), cfg.get("lm_eval_post_train", True)
    return LM_EVAL in plugin_names(cfg) and bool(tasks and after)


def _must_come_later(plugin: BasePlugin, cfg: Mapping[str, Any]) -> str | None:
    """Return why a plugin must not come before ours: Axolotl uses the first answer of each hook."""
    from axolotl.integrations.base import BasePlugin

    kind = type(plugin)
    if kind.create_lr_scheduler is not BasePlugin.create_lr_scheduler:
        return "creates the learning-rate scheduler, so the stages would have no own curves"
    if kind.get_trainer_cls is BasePlugin.get_trainer_cls:
        return None
    from axolotl.utils.dict import DictDefault

    try:
        chosen = plugin.get_trainer_cls(DictDefault(dict(cfg)))
    except Exception:  # a setting that only the validated configuration has
        return "chooses the trainer, which would not follow the plan"
    if chosen is None:
        return None
    return f"chooses the trainer {chosen.__name__}, which would not follow the plan"


def _missing_packages(cfg: Mapping[str, Any], others: list[tuple[int, str]]) -> Iterator[DMTError]:
    for index, name in others:
        module, fix = NEEDED_PACKAGES.get(name, (None, ""))
        is_used = module != "cut_cross_entropy" or cfg.get("cut_cross_entropy", True)
        if module and is_used and importlib.util.find_spec(module) is None:
            problem = f"{name} needs the package {module}, which is not installed"
            yield DMTError(f"plugins[{index}]", problem, f"{fix}, or take it out")
    if _lm_eval_runs(cfg) and shutil.which("lm_eval") is None:
        problem = f"{LM_EVAL} runs the command lm_eval after training, and PATH does not have it"
        fix = "activate the environment that has lm-eval, or set lm_eval_post_train: false"
        yield DMTError("lm_eval_tasks", problem, fix)
