"""Abilities are read from lm-eval's output: a group with a number of its own is one of them."""

from __future__ import annotations

from typing import Any

from axolotl_dmt.evaluation.scores import Evaluation, read_scores

ROW = {"acc,none": 0.5, "acc_stderr,none": 0.1}


def output(groups: dict[str, list[str]], **rows: dict[str, Any]) -> dict[str, Any]:
    sample = {"arguments": [("question", {})], "resps": [["answer"]]}
    leaves = [name for name in rows if not groups.get(name)]
    return {
        "results": rows,
        "group_subtasks": groups,
        "n-samples": {name: {"original": 9, "effective": 4} for name in leaves},
        "samples": {name: [sample] * 3 for name in leaves},
    }


MMLU = output(
    {"mmlu": ["mmlu_stem", "mmlu_other"], "mmlu_stem": ["mmlu_physics", "mmlu_maths"]},
    mmlu={**ROW, "acc,none": 0.25},
    mmlu_stem=ROW,
    mmlu_physics=ROW,
    mmlu_maths=ROW,
    mmlu_other=ROW,
    arc={"acc,none": 1.0},
)


def test_a_group_is_one_ability_with_its_tasks_folded_under_it() -> None:
    scores = read_scores(MMLU)
    assert list(scores) == ["mmlu", "arc"]
    mmlu = scores["mmlu"]
    assert (mmlu.value, mmlu.stderr, mmlu.metric, mmlu.n) == (0.25, 0.1, "acc", 12)
    assert set(mmlu.extra["parts"]) == {"mmlu_physics", "mmlu_maths", "mmlu_other"}
    assert mmlu.to_json()["parts"]["mmlu_maths"]["value"] == 0.5


def test_the_samples_of_a_group_are_shared_by_its_tasks() -> None:
    evaluation = Evaluation.of(MMLU, samples=4, seconds=1)
    abilities = [sample.ability for sample in evaluation.samples]
    assert abilities == ["mmlu"] * 4 + ["arc"] * 3


def test_the_tasks_of_dmt_suite_and_of_a_group_without_a_number_are_abilities() -> None:
    suite = {"dmt_suite": ["dmt_math", "dmt_code"], "own": ["a", "b"]}
    row = {"dmt_score,none": 0.5}
    rows = {"dmt_suite": row, "dmt_math": row, "dmt_code": row, "own": {"alias": "own"}}
    scores = read_scores(output(suite, **rows, a=ROW, b=ROW))
    assert list(scores) == ["math", "code", "a", "b"]
    assert all("parts" not in score.extra for score in scores.values())


def test_samples_have_the_verdict_of_their_metric() -> None:
    made = output({}, gsm8k={"exact_match,strict": 0.5, "exact_match,flexible": 1.0}, f1=ROW)
    question = {"arguments": [("question", {})]}
    made["samples"] = {
        "gsm8k": [
            {**question, "resps": [["a"]], "filter": name, "exact_match": value}
            for value in (1.0, 0.0)
            for name in ("strict", "flexible")
        ],
        "f1": [{**question, "resps": [["b"]], "acc": value} for value in (1, 0.5, (1.0, 5), None)],
    }
    samples = Evaluation.of(made, samples=4, seconds=1).samples
    verdicts = [(sample.ability, sample.passed) for sample in samples]
    assert verdicts[:2] == [("gsm8k", True), ("gsm8k", False)]  # each item once, of one filter
    assert verdicts[2:] == [("f1", True), ("f1", None), ("f1", None), ("f1", None)]
