"""Asks lm-eval's own tasks in the format that a model was trained in, and passes on its arguments.

The tasks of dmt_suite read `dmt_prompt` themselves. For other tasks, lm-eval's place for a chat
template is used: the format of the task's domain renders the messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from packaging.version import Version

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.scoring.prompts import AS_TRAINED, Template, TrainedPrompts


def is_ours(task: str) -> bool:
    """Return whether a task is one of dmt_suite, which reads the prompt format itself."""
    return task.startswith("dmt_")


def load_tasks(manager: Any, names: Sequence[str]) -> Mapping[Any, Any]:
    """Load tasks by lm-eval's task manager, in the form that its evaluator takes them.

    lm-eval 0.4.11 returns nested mappings of groups; later versions return flat ones beside a map
    of the groups. `leaves` reads both.
    """
    load = getattr(manager, "load", None) or manager.load_task_or_group
    loaded: Mapping[Any, Any] = load(list(names))
    return loaded


def leaves(loaded: Mapping[Any, Any], *groups: str) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Yield (name, task, its groups from the innermost) of what `load_tasks` returned."""
    if {"tasks", "groups", "group_map"} <= loaded.keys():
        for name, task in loaded["tasks"].items():
            yield name, task, tuple(_groups_of(name, loaded["group_map"]))
        return
    for key, value in loaded.items():
        name = str(getattr(key, "group", key))
        if isinstance(value, Mapping):
            yield from leaves(value, name, *groups)
        else:
            yield name, value[1] if isinstance(value, tuple) else value, groups


def _groups_of(name: str, group_map: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for group, parts in group_map.items():
        if name in parts and group != name:
            yield group
            yield from _groups_of(group, group_map)


def ask_as_trained(loaded: Mapping[Any, Any], prompts: TrainedPrompts) -> None:
    """Let lm-eval's own tasks that have a domain be asked in its format.

    Args:
        loaded: the tasks that lm-eval's task manager loaded; changed in place.
        prompts: the formats of the training.

    Raises:
        DMTError: a named domain does not exist, or its rows have no question.
    """
    for name, task, groups in leaves(loaded):
        domain = prompts.domain_of(name, *groups)
        if is_ours(name) or domain is None:
            continue
        template = prompts.of(next(n for n in (name, *groups) if prompts.domain_of(n) == domain))
        task.build_all_requests = partial(_build, task.build_all_requests, template)
        if task.config.output_type == "generate_until":
            settings = task.config.generation_kwargs
            settings["until"] = list(dict.fromkeys([*settings["until"], *template.stop]))


def _build(original: Any, template: Template, **arguments: Any) -> None:
    arguments |= {
        "apply_chat_template": True,
        "fewshot_as_multiturn": True,
        "chat_template": template.render_messages,
    }
    original(**arguments)


def templates_in_use(
    config: EvaluateConfig, prompts: TrainedPrompts | None, tasks: Sequence[str]
) -> list[Template]:
    """Return the trained formats that some tasks are asked in; tasks without one are skipped."""
    if prompts is None or config.prompt != AS_TRAINED or config.apply_chat_template:
        return []
    return [prompts.of(task) for task in tasks if is_ours(task) or prompts.domain_of(task)]


def model_arguments(config: EvaluateConfig, templates: Sequence[Template] = ()) -> dict[str, Any]:
    """Return the arguments of lm-eval's models for reasoning and for special tokens.

    In lm-eval 0.4.11, the `hf` model ignores `chat_template_args` unless `enable_thinking` is
    given, and ignores `enable_thinking` if they are. Later versions refuse `enable_thinking: true`
    without an end token. `vllm` takes the switch in both places.

    Args:
        config: the `dmt.evaluate` block.
        templates: the formats that are asked in.
    """
    arguments: dict[str, Any] = {}
    chat = chat_arguments(config)
    if chat:
        arguments["chat_template_args"] = chat
        is_read = config.model != "hf" or Version(version("lm_eval")) < Version("0.4.12")
        if is_read and (config.model == "hf" or "enable_thinking" in chat):
            arguments["enable_thinking"] = bool(chat.get("enable_thinking", True))
    if config.think_end_token is not None:
        arguments["think_end_token"] = config.think_end_token
    if templates and not any(template.special_tokens for template in templates):
        arguments["add_bos_token"] = False
    return arguments


def chat_arguments(config: EvaluateConfig) -> dict[str, Any]:
    """Return the arguments of the chat template that `dmt.evaluate` gives."""
    thinking = config.enable_thinking
    switch = {} if thinking is None else {"enable_thinking": thinking}
    return {**(config.chat_template_args or {}), **switch}
