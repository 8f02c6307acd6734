"""Finds, checks and configures the lm-eval tasks of `dmt.evaluate`."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from axolotl_dmt import sandbox
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.config.evaluate_args import SERVED
from axolotl_dmt.console import bars_where_wanted, silence_known_noise
from axolotl_dmt.errors import DMTError, DMTErrors, first_line
from axolotl_dmt.evaluation.asking import (
    ask_as_trained,
    leaves,
    load_tasks,
    model_arguments,
    templates_in_use,
)
from axolotl_dmt.evaluation.scores import SUITE
from axolotl_dmt.files import readable_text
from axolotl_dmt.scoring.prompts import AS_TRAINED, TrainedPrompts
from axolotl_dmt.scoring.sources import env_name, prompt_template

ABILITIES = ("dmt_math", "dmt_code", "dmt_general")
"""The tasks of dmt_suite."""


SERVER_PACKAGES = ("aiohttp", "requests", "tenacity")
"""What lm-eval needs to ask a server; its extra `api` installs it."""


def check_evaluate(config: EvaluateConfig, *, files: bool = True) -> None:
    """Check everything that needs no model.

    This takes about a second, and some more if no task file names a task.

    Args:
        config: the `dmt.evaluate` block.
        files: whether to check that the files it names exist.

    Raises:
        DMTError: with every mistake: a task that lm-eval does not know, a data file that does not
            exist, tasks that run code where no sandbox can isolate it, a folder of tasks that
            lm-eval cannot read.
    """
    problems: list[DMTError] = []
    for ability, path in (config.data or {}).items():
        if files and not Path(path).exists():
            key = f"dmt.evaluate.data.{ability}"
            problems.append(DMTError(key, f"no file {path}", "give the path of a file"))
    try:
        if any(task == SUITE or task.startswith("dmt_code") for task in config.tasks):
            sandbox.require_level(allow_unsafe_code=config.allow_unsafe_code)
    except DMTError as error:
        problems.append(error)
    try:
        if config.prompt != AS_TRAINED:
            prompt_template(task_settings(config), SUITE)
    except DMTError as error:
        problems.append(DMTError("dmt.evaluate.prompt", error.problem, error.fix))
    if config.model == SERVED and files and not all(map(find_spec, SERVER_PACKAGES)):
        problem = f"{SERVED} needs {', '.join(SERVER_PACKAGES)}"
        problems.append(DMTError("dmt.evaluate.model", problem, "pip install 'lm-eval[api]'"))
    folder = config.include_path
    if folder and not Path(folder).is_dir():
        fix = "give the path of a folder with lm-eval tasks"
        problems.append(DMTError("dmt.evaluate.include_path", f"no folder {folder}", fix))
    else:
        try:
            unknown = _unknown_tasks(config)
        except DMTError as error:
            unknown = set()
            problems.append(error)
        fix = "see `lm_eval ls tasks`, or give dmt.evaluate.include_path"
        problems += [
            DMTError(f"dmt.evaluate.tasks[{i}]", f"lm-eval knows no task {task!r}", fix)
            for i, task in enumerate(config.tasks)
            if task in unknown
        ]
    if problems:
        raise DMTErrors(problems)


def tasks_of(config: EvaluateConfig) -> list[str]:
    """Return the tasks of a block, with those of dmt_suite in its place."""
    return [t for task in config.tasks for t in (ABILITIES if task == SUITE else (task,))]


def _unknown_tasks(config: EvaluateConfig) -> set[str]:
    """Return the tasks that lm-eval does not know.

    lm-eval's own index takes seconds to build, so it is asked only for the names that are found in
    no task file. It also knows the tags in files that tasks include, and every notation of YAML.

    Raises:
        DMTError: lm-eval cannot read the tasks in `include_path`.
    """
    import lm_eval

    folders = [suite_folder(), Path(lm_eval.__file__).parent / "tasks"]
    folders += [Path(config.include_path)] if config.include_path else []
    missing = set(config.tasks)
    for folder in folders:
        for file in folder.rglob("*.yaml"):
            if not missing:
                return missing
            text = readable_text(file)
            mentioned = (task for task in missing if task in text)
            missing -= {
                task for task in mentioned if re.search(_NAMES.format(re.escape(task)), text)
            }
    if missing and config.include_path:
        missing -= _names_in(config.include_path)
    return missing - _names_of_lm_eval() if missing else missing


def _names_in(folder: str) -> set[str]:
    """Return the names that lm-eval finds in a folder of tasks."""
    from lm_eval.tasks import TaskManager

    try:
        return set(TaskManager(include_path=folder, include_defaults=False).all_tasks)
    except Exception as error:  # of YAML, or of lm-eval for a file that is no task
        problem = f"lm-eval cannot read the tasks in {folder} ({first_line(error)})"
        fix = "correct the files whose names end in .yaml"
        raise DMTError("dmt.evaluate.include_path", problem, fix) from error


@functools.cache
def _names_of_lm_eval() -> frozenset[str]:
    """Return the names of lm-eval's own tasks, groups and tags."""
    from lm_eval.tasks import TaskManager

    return frozenset(TaskManager().all_tasks)


_NAMES = r"(?m)^[\s-]*(?:[\"']?(?:task|group|tag)[\"']?\s*:\s*)?[\"']?{}[\"']?\s*(?:#.*)?$"
"""Matches a line that names a task, a group or a tag, alone or in a list."""


class Tasks:
    """The tasks to score on, which are looked up once.

    Attributes:
        config: the `dmt.evaluate` block.
        prompts: the formats that the model is trained in, or None where they are not known yet.
        settings: the settings of the tasks.
    """

    def __init__(self, config: EvaluateConfig, prompts: TrainedPrompts | None = None) -> None:
        """Look the tasks up, so that an unknown one is refused before any model is loaded.

        Raises:
            DMTError: with every mistake that `check_evaluate` reports.
        """
        check_evaluate(config)
        self.config, self.settings = config, task_settings(config)
        self.manager = task_manager(config, self.settings)
        self.prompts: TrainedPrompts | None = None
        if prompts is not None:
            self.ask_as_trained(prompts)

    def ask_as_trained(self, prompts: TrainedPrompts) -> None:
        """Ask the tasks in the formats of the training, unless the block names another prompt."""
        self.prompts = prompts.with_tasks(self.config.domains)
        if self.config.prompt == AS_TRAINED:
            self.settings["dmt_prompt"] = json.dumps(self.prompts.to_json())
            # Later versions of lm-eval read the metadata only when the manager is created.
            self.manager = task_manager(self.config, self.settings)

    def model_arguments(self) -> dict[str, Any]:
        """Return the arguments with which lm-eval's model answers the tasks."""
        in_use = templates_in_use(self.config, self.prompts, tasks_of(self.config))
        return model_arguments(self.config, in_use)

    def _manager(self) -> Any:
        asks = self.config.prompt == AS_TRAINED and not self.config.apply_chat_template
        if self.prompts is None or not asks:
            return self.manager
        return _AskingManager(self.manager, self.prompts)

    def _variables(self) -> dict[str, str]:
        """Return the settings as environment variables, for tasks that are classes.

        These get no metadata.
        """
        return {env_name(name): str(value) for name, value in self.settings.items()}

    def load(self) -> dict[str, Any]:
        """Return lm-eval's task objects by name, after reading all their rows.

        Raises:
            DMTError: a task needs a prompt format that is not known.
            Exception: of lm-eval or of a task, for a task that cannot be loaded.
        """
        silence_known_noise()
        with environment_variables(self._variables()), bars_where_wanted():
            loaded = load_tasks(self.manager, self.config.tasks)
        return {name: task for name, task, _ in leaves(loaded)}

    def evaluate(self, model: Any) -> dict[str, Any] | None:
        """Score a model.

        Args:
            model: an lm-eval model.

        Returns:
            lm-eval's output; None on ranks other than 0.
        """
        import lm_eval

        config = self.config
        limit = config.limit
        silence_known_noise()
        with environment_variables(self._variables()), bars_where_wanted():
            output: dict[str, Any] | None = lm_eval.simple_evaluate(
                model=model,
                tasks=list(config.tasks),
                task_manager=self._manager(),
                num_fewshot=config.num_fewshot,
                limit=int(limit) if limit is not None and limit >= 1 else limit,
                gen_kwargs=config.gen_kwargs,
                apply_chat_template=config.apply_chat_template,
                confirm_run_unsafe_code=config.allow_unsafe_code,
                log_samples=True,
                bootstrap_iters=1000,
                random_seed=None,
                numpy_random_seed=None,
                torch_random_seed=None,
            )
        return output


class _AskingManager:
    """lm-eval's task manager, whose tasks are asked in the formats of the training."""

    def __init__(self, manager: Any, prompts: TrainedPrompts) -> None:
        self._manager, self._prompts = manager, prompts

    def load(self, names: Any) -> Any:
        """Load tasks; lm-eval 0.4.11 calls this method by the other name."""
        loaded = load_tasks(self._manager, names)
        ask_as_trained(loaded, self._prompts)
        return loaded

    load_task_or_group = load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)


def task_settings(config: EvaluateConfig) -> dict[str, Any]:
    """Return the settings of the block as task metadata, which lm-eval passes to the tasks."""
    settings: dict[str, Any] = {
        f"dmt_{ability}_data": str(Path(path).resolve())
        for ability, path in (config.data or {}).items()
    }
    if not (config.prompt == AS_TRAINED and config.apply_chat_template):
        settings["dmt_prompt"] = config.prompt
    if config.max_new_tokens is not None:
        settings["dmt_max_gen_toks"] = config.max_new_tokens
    if config.judge is not None:
        settings["dmt_judge_model"] = config.judge.model
        if config.judge.base_url is not None:
            settings["dmt_judge_base_url"] = config.judge.base_url
        if config.judge.request is not None:
            settings["dmt_judge_request"] = json.dumps(config.judge.request)
    if config.allow_unsafe_code:
        settings["allow_unsafe_code"] = True
    return settings


@contextlib.contextmanager
def environment_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """On entry, set environment variables; on exit, restore their former values."""
    former = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def suite_folder() -> Path:
    """Return the folder of the suite's tasks: the checkout's, else the wheel's inside lm-eval.

    The checkout comes first because the copy that an editable install places inside lm-eval does
    not follow later changes.
    """
    import lm_eval

    checkout = Path(__file__).parents[2] / "eval_tasks"
    return checkout if checkout.is_dir() else Path(lm_eval.__file__).parent / "tasks" / SUITE


def task_manager(config: EvaluateConfig, metadata: Mapping[str, Any]) -> Any:
    """Return a task manager with the suite, and with all of lm-eval's tasks only if needed."""
    from lm_eval.tasks import TaskManager

    folders = [str(suite_folder())] + ([config.include_path] if config.include_path else [])
    suite = TaskManager(include_path=folders, include_defaults=False, metadata={**metadata} or None)
    if set(config.tasks) <= set(suite.all_tasks):
        return suite
    # Indexing all tasks takes seconds; they include the wheel's copy of the suite.
    return TaskManager(
        include_path=config.include_path if "lm_eval" in folders[0] else folders,
        metadata={**metadata} or None,
    )
