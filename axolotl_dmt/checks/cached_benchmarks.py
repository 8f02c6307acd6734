"""Reads the suite's benchmarks from the local cache of `datasets`, without the network.

Tasks whose rows are in no local file read a public dataset through `datasets`. Once it was
loaded on this machine, the cache holds it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from axolotl_dmt.checks.evaluation_files import data_setting, items_of
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.evaluation.tasks import environment_variables, task_settings, tasks_of
from axolotl_dmt.scoring.sources import Hub, setting

HUBS: Final = {
    "dmt_math": "math.GSM8K",
    "dmt_math_cot": "math.GSM8K",
    "dmt_math_hard": "math_hard.MATH",
    "dmt_code": "code.HUMANEVAL",
    "dmt_code_mbpp": "code.MBPP",
    "dmt_general": "instructions.IFEVAL",
}
"""{task: the constant of `axolotl_dmt.scoring` that names its public dataset}."""


def benchmarks_of(evaluate: EvaluateConfig) -> dict[str, str]:
    """Return {task: name of its public dataset on the hub} for the tasks that read one."""
    settings = task_settings(evaluate)
    return {
        task: _hub(task).path
        for task in dict.fromkeys(tasks_of(evaluate))
        if task in HUBS and not setting(data_setting(task), settings)
    }


def cached_questions(evaluate: EvaluateConfig) -> dict[str, tuple[list[str], list[str]]]:
    """Return {task: (keys, questions)} of the scored items of public datasets in the cache.

    The tasks read them themselves, while `datasets` is offline.
    """
    items = {}
    for task, name in benchmarks_of(evaluate).items():
        if not _folders(name):
            continue  # importing `datasets` takes seconds
        try:
            with _offline():
                items[task] = items_of(task, evaluate)
        except DMTError:
            continue  # the cache holds only a part of it, or another configuration
    return items


def cache_state() -> dict[str, int]:
    """Return {folder: time of its last change} for what the cache holds of the benchmarks."""
    names = dict.fromkeys(_hub(task).path for task in HUBS)
    folders = [folder for name in names for folder in _folders(name)]
    versions = [version for folder in folders for version in folder.glob("*/*/*")]
    return {str(path): path.stat().st_mtime_ns for path in sorted(versions) if path.is_dir()}


def _hub(task: str) -> Hub:
    module, name = HUBS[task].split(".")
    hub = getattr(importlib.import_module(f"axolotl_dmt.scoring.{module}"), name)
    assert isinstance(hub, Hub), f"{HUBS[task]} names no dataset of the hub"
    return hub


def _folders(name: str) -> list[Path]:
    """Return the folders in which the cache may hold a dataset.

    `datasets` writes `google/IFEval` as `google___if_eval`.
    """
    with contextlib.suppress(OSError):
        meant = _plain(name)
        return [path for path in _cache().iterdir() if path.is_dir() and _plain(path.name) == meant]
    return []


def _plain(name: str) -> str:
    return name.replace("/", "").replace("_", "").lower()


def _cache() -> Path:
    """Return the folder of the cache, without importing `datasets`."""
    if "datasets" in sys.modules:
        import datasets

        return Path(datasets.config.HF_DATASETS_CACHE).expanduser()
    from huggingface_hub.constants import HF_HOME

    return Path(os.environ.get("HF_DATASETS_CACHE") or Path(HF_HOME, "datasets")).expanduser()


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """On entry, keep `datasets`, the hub's client and nltk off the network; on exit, undo that.

    The libraries read their environment variables only when they are imported.
    """
    import datasets
    from datasets.utils import logging
    from huggingface_hub import constants

    former = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE, logging.get_verbosity()
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()  # it warns that the cache is read
    try:
        with environment_variables({"HF_HUB_OFFLINE": "1"}):
            yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = former[:2]
        logging.set_verbosity(former[2])
