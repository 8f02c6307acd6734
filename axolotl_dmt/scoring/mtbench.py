"""MT-Bench: its questions, what the judge is asked, and the score of the judgments.

Eighty questions of two turns in eight categories; a judge grades each turn from 1 to 10, with a
reference answer beside it for mathematics, reasoning and coding (Zheng et al., "Judging
LLM-as-a-Judge with MT-Bench and Chatbot Arena", 2023).
"""

from __future__ import annotations

import math
import os
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import replacing
from axolotl_dmt.scoring.judge import Judgment, cache_folder
from axolotl_dmt.scoring.sources import Metadata, Row, env_name, read_rows, setting

SETTING = "dmt_mtbench_data"
SOURCE = "https://raw.githubusercontent.com/lm-sys/FastChat/main/fastchat/llm_judge/data/"
# What each file is called: in FastChat's data folder first, then loose in one folder.
QUESTIONS = ("mt_bench/question.jsonl", "question.jsonl", "mt_bench_question.jsonl")
REFERENCES = (
    "mt_bench/reference_answer/gpt-4.jsonl",
    "reference_answer/gpt-4.jsonl",
    "mt_bench_reference_gpt-4.jsonl",
)
PROMPTS = ("judge_prompts.jsonl", "../judge_prompts.jsonl", "mt_bench_judge_prompts.jsonl")

TEMPERATURES: Mapping[str, float] = {
    "writing": 0.7,
    "roleplay": 0.7,
    "stem": 0.1,
    "humanities": 0.1,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
}
"""The answers' sampling temperature by category, as in FastChat."""
WITH_REFERENCE = frozenset({"math", "reasoning", "coding"})

Messages = list[dict[str, str]]


# Questions


def data_folder(metadata: Metadata) -> Path:
    """The folder of the three files: the one named, else a download kept in the judge's cache.

    Raises:
        DMTError: they are neither here nor to be had.
    """
    given = setting(SETTING, metadata)
    if given is not None:
        return Path(given).expanduser()
    folder = cache_folder(metadata) / "mt_bench"
    for name in (QUESTIONS[0], REFERENCES[0], PROMPTS[0]):
        if not (folder / name).is_file():
            _download(SOURCE + name, folder / name)
    return folder


def _download(url: str, file: Path) -> None:
    fix = f"name a folder with MT-Bench's three files in {env_name(SETTING)}"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        raise DMTError(SETTING, f"offline, and {url} was not downloaded before", fix)
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            content = response.read()
    except OSError as error:
        raise DMTError(SETTING, f"cannot download {url} ({error})", fix) from error
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_bytes(content)


def _rows(folder: Path, names: Sequence[str], fields: Mapping[str, type]) -> list[Row]:
    for name in names:
        if (folder / name).is_file():
            return read_rows(SETTING, folder / name, fields)
    raise DMTError(SETTING, f"{folder} holds no {names[0]}", f"or {', '.join(names[1:])}")


def load_questions(folder: Path) -> list[Row]:
    """The questions: `question_id`, `category`, two `turns`, and a `reference` for each or none.

    Raises:
        DMTError: a file or a reference that is needed is missing.
    """
    questions = _rows(folder, QUESTIONS, {"question_id": int, "category": str, "turns": list})
    references = {
        row["question_id"]: list(row["choices"][0]["turns"])
        for row in _rows(folder, REFERENCES, {"question_id": int, "choices": list})
    }
    rows = []
    for row in questions:
        reference = references.get(row["question_id"], [])
        if row["category"] in WITH_REFERENCE and len(reference) != 2:
            problem = f"question {row['question_id']} has no reference answer of two turns"
            raise DMTError(SETTING, problem, f"see {REFERENCES[-1]}")
        if len(row["turns"]) != 2:
            raise DMTError(SETTING, f"question {row['question_id']} has no two turns", "give two")
        rows.append(
            {
                "question_id": row["question_id"],
                "category": row["category"],
                "turns": list(row["turns"]),
                "reference": reference if row["category"] in WITH_REFERENCE else [],
            }
        )
    return rows


def load_prompts(folder: Path) -> dict[str, tuple[str, str]]:
    """FastChat's judge prompts by name: the system's and the user's part."""
    rows = _rows(folder, PROMPTS, {"name": str, "system_prompt": str, "prompt_template": str})
    prompts = {row["name"]: (row["system_prompt"], row["prompt_template"]) for row in rows}
    for name in (
        "single-v1",
        "single-math-v1",
        "single-v1-multi-turn",
        "single-math-v1-multi-turn",
    ):
        if name not in prompts:
            raise DMTError(SETTING, f"no judge prompt {name!r}", f"see FastChat's {PROMPTS[0]}")
    return prompts


# Judging


def judge_messages(
    prompts: Mapping[str, tuple[str, str]], question: Row, answers: Sequence[str], turn: int
) -> Messages:
    """What the judge is asked about one turn of a conversation.

    Args:
        prompts: from `load_prompts`.
        question: from `load_questions`.
        answers: the model's two answers.
        turn: 0 or 1; the second is graded with the first in view.
    """
    kind = "single-math-v1" if question["category"] in WITH_REFERENCE else "single-v1"
    system, template = prompts[f"{kind}-multi-turn" if turn else kind]
    references = question["reference"] or ["", ""]
    text = template.format(
        question=question["turns"][0],
        answer=answers[0],
        question_1=question["turns"][0],
        question_2=question["turns"][1],
        answer_1=answers[0],
        answer_2=answers[1],
        ref_answer_1=references[0],
        ref_answer_2=references[1],
    )
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


# Scores. lm-eval hands an aggregation one item a question: the judgments of its two turns, as
# `item_of` packs them for the way between processes.

Item = tuple[tuple[float | None, int, int], ...]


def item_of(judgments: Sequence[Judgment]) -> Item:
    """A question's judgments as (rating, prompt tokens, completion tokens), one a turn."""
    return tuple((j.rating, j.prompt_tokens, j.completion_tokens) for j in judgments)


def _ratings(items: Sequence[Item], turn: int | None = None) -> list[list[float]]:
    """Each question's ratings that the judge gave, of one turn or of both."""
    return [
        [
            grade[0]
            for index, grade in enumerate(item)
            if grade[0] is not None and turn in (None, index)
        ]
        for item in items
    ]


def _mean(groups: Sequence[Sequence[float]]) -> float:
    count = sum(map(len, groups))
    return sum(map(sum, groups)) / count if count else math.nan


def _stderr(groups: Sequence[Sequence[float]]) -> float:
    """The standard error of that mean, with questions as the independent draws."""
    groups = [group for group in groups if group]
    if len(groups) < 2:
        return math.nan
    mean, n = _mean(groups), len(groups)
    squares = sum((sum(group) - mean * len(group)) ** 2 for group in groups)
    return math.sqrt(squares * n / (n - 1)) / sum(map(len, groups))


def dmt_score(items: Sequence[Item]) -> float:
    """The mean rating of the judged turns on a scale from 0 to 1; NaN where none was judged."""
    return (rating(items) - 1) / 9


def dmt_score_stderr(items: Sequence[Item]) -> float:
    """Its standard error."""
    return rating_stderr(items) / 9


def rating(items: Sequence[Item]) -> float:
    """The mean rating, 1 to 10, of all turns that were judged: the number that papers report."""
    return _mean(_ratings(items))


def rating_stderr(items: Sequence[Item]) -> float:
    """Its standard error."""
    return _stderr(_ratings(items))


def rating_turn_1(items: Sequence[Item]) -> float:
    """The mean rating of the first turns."""
    return _mean(_ratings(items, 0))


def rating_turn_1_stderr(items: Sequence[Item]) -> float:
    """Its standard error."""
    return _stderr(_ratings(items, 0))


def rating_turn_2(items: Sequence[Item]) -> float:
    """The mean rating of the second turns."""
    return _mean(_ratings(items, 1))


def rating_turn_2_stderr(items: Sequence[Item]) -> float:
    """Its standard error."""
    return _stderr(_ratings(items, 1))


def judged(items: Sequence[Item]) -> float:
    """How many turns the scores stand on."""
    return float(sum(map(len, _ratings(items))))


def failed(items: Sequence[Item]) -> float:
    """How many turns have no rating."""
    return float(sum(map(len, items))) - judged(items)


def prompt_tokens(items: Sequence[Item]) -> float:
    """Tokens sent to the judge in this run; answers from the cache cost none."""
    return float(sum(grade[1] for item in items for grade in item))


def completion_tokens(items: Sequence[Item]) -> float:
    """Tokens the judge wrote in this run."""
    return float(sum(grade[2] for item in items for grade in item))


METRICS = (
    dmt_score,
    dmt_score_stderr,
    rating,
    rating_stderr,
    rating_turn_1,
    rating_turn_1_stderr,
    rating_turn_2,
    rating_turn_2_stderr,
    judged,
    failed,
    prompt_tokens,
    completion_tokens,
)
"""The aggregations of the task, each under its own name: all are made from the same items."""


def metric_values(judgments: Sequence[Judgment]) -> dict[str, Any]:
    """What `process_results` gives for one question: the same item for every metric."""
    item = item_of(judgments)
    return {metric.__name__: item for metric in METRICS}
