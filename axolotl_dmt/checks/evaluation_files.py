"""Reads the evaluation files of a run whole before it trains, and holds them against the model.

lm-eval reads a file after the first stage is trained, and cuts a prompt that does not fit into the
model's context on its left without an error.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.checks.local_model import context_of
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.errors import DMTError, DMTErrors, Problems
from axolotl_dmt.evaluation.items import row_key
from axolotl_dmt.evaluation.tasks import suite_folder, task_settings, tasks_of
from axolotl_dmt.scoring.prompts import AS_TRAINED, QUESTION, TrainedPrompts
from axolotl_dmt.scoring.sources import RENDERED, prompt_template, setting

DATASETS: Final = {
    "dmt_math": "math.dataset",
    "dmt_math_cot": "math.dataset",
    "dmt_math_hard": "math_hard.dataset",
    "dmt_code": "code.dataset",
    "dmt_code_mbpp": "code.mbpp_dataset",
    "dmt_general": "instructions.dataset",
}
"""{task: the function of `axolotl_dmt.scoring` that reads its rows}."""
ANSWER_LENGTH: Final = re.compile(r"max_gen_toks: (\d+)")
INCLUDE: Final = re.compile(r"^include: (\S+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """The prompts of a task, held against the model's context.

    Attributes:
        task: the name of the task.
        context: the model's context in tokens.
        answer: the longest answer in tokens.
        prompts: the number of prompts.
        longest: the longest prompt in tokens.
        too_long: the number of prompts that leave too little room for the longest answer.
    """

    task: str
    context: int
    answer: int
    prompts: int
    longest: int
    too_long: int


def check_asked_domains(evaluate: EvaluateConfig, domains: Sequence[str]) -> None:
    """Check that the domains that `dmt.evaluate.domains` names exist.

    Args:
        evaluate: the `dmt.evaluate` block.
        domains: the domains of the run.

    Raises:
        DMTError: one does not exist.
    """
    for domain in (evaluate.domains or {}).values():
        if domain not in domains:
            problem = f"there is no domain {domain!r}"
            raise DMTError("dmt.evaluate.domains", problem, f"domains: {', '.join(domains)}")


def check_evaluation_files(evaluate: EvaluateConfig) -> None:
    """Read each local evaluation file whole.

    Raises:
        DMTError: with every file that has a row that cannot be scored; it names the row.
    """
    problems = Problems()
    for task in _local_tasks(evaluate):
        problems.attempt(_questions, task, evaluate)
    if problems:
        raise DMTErrors(problems)


def _local_tasks(evaluate: EvaluateConfig) -> Iterator[str]:
    """Yield the tasks of a block whose rows are in a local file."""
    settings = task_settings(evaluate)
    for task in dict.fromkeys(tasks_of(evaluate)):
        path = setting(data_setting(task), settings) if task in DATASETS else None
        if path and Path(path).is_file():
            yield task


def data_setting(task: str) -> str:
    """Return the name of the setting that names a task's local file."""
    return f"{task.removesuffix('_cot')}_data"


def first_question(task: str, evaluate: EvaluateConfig) -> str | None:
    """Return the first question of a task whose rows are in a local file; None for another task.

    Raises:
        DMTError: a row of the file cannot be scored.
    """
    return _questions(task, evaluate)[0] if task in _local_tasks(evaluate) else None


def local_questions(evaluate: EvaluateConfig) -> dict[str, tuple[list[str], list[str]]]:
    """Return {task: (keys, questions)} of the items that are scored and read from local files.

    The keys are those of the ledger, without the task's version.

    Raises:
        DMTError: a row of a file cannot be scored.
    """
    items = {}
    for task in _local_tasks(evaluate):
        _questions(task, evaluate)  # names the row that cannot be scored
        items[task] = items_of(task, evaluate)
    return items


def items_of(task: str, evaluate: EvaluateConfig) -> tuple[list[str], list[str]]:
    """Return the keys and the questions of the items of a task that are scored.

    Args:
        task: a task of `DATASETS`.
        evaluate: the `dmt.evaluate` block.

    Raises:
        DMTError: a row cannot be read or scored.
    """
    settings, limit = {**task_settings(evaluate), "dmt_prompt": QUESTION}, evaluate.limit
    rows = list(_dataset(task)(**settings)["test"])
    if limit is not None:
        rows = rows[: int(limit) if limit >= 1 else math.ceil(limit * len(rows))]
    return [row_key(task, row) for row in rows], [row[RENDERED] for row in rows]


def _dataset(task: str) -> Callable[..., Any]:
    """Return the function that reads a task's rows."""
    module, name = DATASETS[task].split(".")
    function: Callable[..., Any] = getattr(
        importlib.import_module(f"axolotl_dmt.scoring.{module}"), name
    )
    return function


def _questions(task: str, evaluate: EvaluateConfig) -> Sequence[str]:
    """Return the questions of a task's local file, which is read once as long as it is the same."""
    settings = {**task_settings(evaluate), "dmt_prompt": QUESTION}
    file = Path(str(setting(data_setting(task), settings))).stat()
    return _read(task, json.dumps(settings), (file.st_mtime_ns, file.st_size))


@lru_cache(maxsize=16)
def _read(task: str, settings: str, _: tuple[int, int]) -> Sequence[str]:
    """Return the bare questions of a task under some settings, which are JSON."""
    try:
        rows: Any = inspect.unwrap(_dataset(task))(**json.loads(settings))["test"]
    except DMTError as error:
        named = error.key == data_setting(task)
        ability = error.key.removeprefix("dmt_").removesuffix("_data")
        key = f"dmt.evaluate.data.{ability}" if named else error.key
        raise DMTError(key, error.problem, error.fix) from error
    return tuple(row[RENDERED] for row in rows)


def check_lengths(
    raw: Mapping[str, Any], evaluate: EvaluateConfig, prompts: TrainedPrompts, tokenizer: Any
) -> list[Lengths]:
    """Count the tokens of the prompts in local evaluation files.

    Args:
        raw: the YAML.
        evaluate: the `dmt.evaluate` block.
        prompts: the formats of the training.
        tokenizer: the tokenizer of the training.

    Returns:
        The lengths of each such task; none if the model's context is not known.

    Raises:
        DMTError: the longest answer of a task leaves no room for a prompt.
    """
    context = context_of(raw)
    if context is None:
        return []
    settings = task_settings(evaluate)
    if evaluate.prompt == AS_TRAINED:
        settings["dmt_prompt"] = json.dumps(prompts.to_json())
    if evaluate.apply_chat_template:
        settings["dmt_prompt"] = "plain"
    lengths = []
    for task in _local_tasks(evaluate):
        answer = answer_length(task, evaluate)
        if answer >= context:
            problem = f"answers of {answer} tokens leave no room in the model's context ({context})"
            fix = f"lower it, to {context // 2} for instance"
            raise DMTError("dmt.evaluate.max_new_tokens", f"{task}: {problem}", fix)
        limit, template = evaluate.limit, prompt_template(settings, task)
        questions = _questions(task, evaluate)
        questions = questions if limit is None or limit < 1 else questions[: int(limit)]
        texts = [template.render(question) for question in questions]
        counts = [len(ids) for ids in tokenizer(texts)["input_ids"]]
        lengths.append(
            Lengths(
                task=task,
                context=context,
                answer=answer,
                prompts=len(counts),
                longest=max(counts),
                too_long=sum(count + answer > context for count in counts),
            )
        )
    return lengths


def answer_length(task: str, evaluate: EvaluateConfig) -> int:
    """Return the longest answer of a task of dmt_suite in tokens."""
    if evaluate.max_new_tokens is not None:
        return evaluate.max_new_tokens
    (file,) = suite_folder().rglob(f"{task}.yaml")
    text = file.read_text(encoding="utf-8")
    while not (numbers := ANSWER_LENGTH.findall(text)):
        (included,) = INCLUDE.findall(text)
        text = (file.parent / included).read_text(encoding="utf-8")
    return int((evaluate.gen_kwargs or {}).get("max_gen_toks", numbers[0]))


def length_warnings(lengths: Sequence[Lengths]) -> Iterator[str]:
    """Yield a line for each task with prompts that lm-eval would cut."""
    for task in lengths:
        if task.too_long:
            yield (
                f"{task.task}: {task.too_long} of {task.prompts} prompts (the longest has "
                f"{task.longest} tokens) and answers of {task.answer} tokens exceed the model's "
                f"context of {task.context}: lm-eval cuts the start of these prompts; lower "
                "dmt.evaluate.max_new_tokens"
            )
