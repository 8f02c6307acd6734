"""MT-Bench: load its questions and judge prompts, and compute scores from judgments.

MT-Bench has eighty questions of two turns in eight categories. A judge grades each turn from 1 to
10; for mathematics, reasoning and coding it also sees a reference answer (Zheng et al., "Judging
LLM-as-a-Judge with MT-Bench and Chatbot Arena", 2023).
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import replacing
from axolotl_dmt.scoring.judge import Judgment, cache_folder
from axolotl_dmt.scoring.pooled_mean import pooled_mean, pooled_stderr
from axolotl_dmt.scoring.sources import Metadata, Row, env_name, read_rows, setting
from axolotl_dmt.scoring.thinking import after_thinking

SETTING = "dmt_mtbench_data"
SOURCE = "https://raw.githubusercontent.com/lm-sys/FastChat/main/fastchat/llm_judge/data/"
# The names of each file: in FastChat's data folder, in its subfolder, and in a single folder.
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
"""The sampling temperature of answers by category, as in FastChat."""
WITH_REFERENCE = frozenset({"math", "reasoning", "coding"})
"""The categories that are graded with a reference answer."""

Messages = list[dict[str, str]]


# Questions


def data_folder(metadata: Metadata) -> Path:
    """Return the folder of MT-Bench's three files: the one in `dmt_mtbench_data`, else the cache's.

    Files that are missing from the judge's cache are downloaded to it.

    Raises:
        DMTError: If a file has to be downloaded and cannot be.
    """
    local = setting(SETTING, metadata)
    if local is not None:
        return Path(local).expanduser()
    folder = cache_folder(metadata) / "mt_bench"
    for name in (QUESTIONS[0], REFERENCES[0], PROMPTS[0]):
        if not (folder / name).is_file():
            _download(SOURCE + name, folder / name)
    return folder


def _download(url: str, file: Path) -> None:
    fix = f"set {env_name(SETTING)} to a folder with MT-Bench's three files"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        raise DMTError(SETTING, f"{url} is not in the cache, and HF_HUB_OFFLINE is set", fix)
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            content = response.read()
    except OSError as error:
        raise DMTError(SETTING, f"cannot download {url} ({error})", fix) from error
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_bytes(content)


def _rows(folder: Path, names: Sequence[str], fields: Mapping[str, type]) -> list[Row]:
    """Return the rows of the first of these files that exists."""
    for name in names:
        if (folder / name).is_file():
            return read_rows(SETTING, folder / name, fields)
    raise DMTError(SETTING, f"{folder} has no {names[0]}", f"add it, or {' or '.join(names[1:])}")


def load_questions(folder: Path) -> list[Row]:
    """Load the questions.

    Returns:
        Rows with `question_id`, `category`, two `turns`, and as `reference` two answers or none.

    Raises:
        DMTError: If a file or a required reference answer is missing, or a row is wrong.
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
            raise DMTError(SETTING, problem, f"add it to {REFERENCES[-1]}")
        if len(row["turns"]) != 2:
            problem = f"question {row['question_id']} has {len(row['turns'])} turns"
            raise DMTError(SETTING, problem, "give it two")
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
    """Load FastChat's judge prompts: the system prompt and the user prompt's template, by name.

    Raises:
        DMTError: If the file or a prompt is missing, or a row is wrong.
    """
    rows = _rows(folder, PROMPTS, {"name": str, "system_prompt": str, "prompt_template": str})
    prompts = {row["name"]: (row["system_prompt"], row["prompt_template"]) for row in rows}
    for name in (
        "single-v1",
        "single-math-v1",
        "single-v1-multi-turn",
        "single-math-v1-multi-turn",
    ):
        if name not in prompts:
            problem = f"there is no judge prompt {name!r}"
            raise DMTError(SETTING, problem, f"use FastChat's {PROMPTS[0]}")
    return prompts


# Judging


def judge_messages(
    prompts: Mapping[str, tuple[str, str]], question: Row, answers: Sequence[str], turn: int
) -> Messages:
    """Return the messages that ask the judge to grade one turn of a conversation.

    Args:
        prompts: The judge prompts, from `load_prompts`.
        question: A row of `load_questions`.
        answers: The model's two answers.
        turn: 0 or 1; for the second turn the judge sees the first one too.
    """
    kind = "single-math-v1" if question["category"] in WITH_REFERENCE else "single-v1"
    system, template = prompts[f"{kind}-multi-turn" if turn else kind]
    references = question["reference"] or ["", ""]
    answers = [after_thinking(answer) for answer in answers]
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


# Scores

Item = tuple[tuple[float | None, int, int], ...]
"""A question's judgments as (rating, prompt tokens, completion tokens), one for each turn.

lm-eval passes one item per question to an aggregation, and sends items between processes.
"""


def item_of(judgments: Sequence[Judgment]) -> Item:
    """Return the item of a question from the judgments of its turns."""
    return tuple((j.rating, j.prompt_tokens, j.completion_tokens) for j in judgments)


def _ratings(items: Sequence[Item], turn: int | None = None) -> list[list[float]]:
    """Return the ratings of each question, of one turn or of both, without the missing ones."""
    return [
        [
            rating
            for index, (rating, *_) in enumerate(item)
            if rating is not None and turn in (None, index)
        ]
        for item in items
    ]


def dmt_score(items: Sequence[Item]) -> float:
    """Return the mean rating of the judged turns on a scale from 0 to 1; NaN if there are none."""
    return (rating(items) - 1) / 9


def dmt_score_stderr(items: Sequence[Item]) -> float:
    """Return the standard error of `dmt_score`."""
    return rating_stderr(items) / 9


def rating(items: Sequence[Item]) -> float:
    """Return the mean rating, 1 to 10, of all judged turns: the number that papers report."""
    return pooled_mean(_ratings(items))


def rating_stderr(items: Sequence[Item]) -> float:
    """Return the standard error of `rating`, with questions as the independent draws."""
    return pooled_stderr(_ratings(items))


def rating_turn_1(items: Sequence[Item]) -> float:
    """Return the mean rating of the first turns."""
    return pooled_mean(_ratings(items, 0))


def rating_turn_1_stderr(items: Sequence[Item]) -> float:
    """Return the standard error of `rating_turn_1`."""
    return pooled_stderr(_ratings(items, 0))


def rating_turn_2(items: Sequence[Item]) -> float:
    """Return the mean rating of the second turns."""
    return pooled_mean(_ratings(items, 1))


def rating_turn_2_stderr(items: Sequence[Item]) -> float:
    """Return the standard error of `rating_turn_2`."""
    return pooled_stderr(_ratings(items, 1))


def judged(items: Sequence[Item]) -> float:
    """Return the number of turns that have a rating."""
    return float(sum(map(len, _ratings(items))))


def failed(items: Sequence[Item]) -> float:
    """Return the number of turns that have no rating."""
    return float(sum(map(len, items))) - judged(items)


def prompt_tokens(items: Sequence[Item]) -> float:
    """Return the tokens sent to the judge in this run; cached judgments cost none."""
    return float(sum(tokens for item in items for _, tokens, _ in item))


def completion_tokens(items: Sequence[Item]) -> float:
    """Return the tokens that the judge wrote in this run."""
    return float(sum(tokens for item in items for _, _, tokens in item))


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
"""The aggregations of the task, each under its own name; all of them take the same items."""


def metric_values(judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Return the result of one question for `process_results`: the same item for every metric."""
    item = item_of(judgments)
    return {metric.__name__: item for metric in METRICS}
