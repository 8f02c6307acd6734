"""The tasks `dmt_code` (HumanEval) and `dmt_code_mbpp` (MBPP): run answers and count the passes.

`code_answers` reads the program out of each answer. Here it is joined with the row's tests, run in
a sandbox, and the verdicts become pass@k. `code_rows` refuses rows that cannot be scored.
"""

from __future__ import annotations

import builtins
import functools
import logging
import re
import sys
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from math import prod
from typing import Any

from axolotl_dmt import sandbox
from axolotl_dmt.scoring import code_rows, sources
from axolotl_dmt.scoring import python_source as python
from axolotl_dmt.scoring.code_answers import program_of

log = logging.getLogger(__name__)

FIELDS = {"prompt": str, "test": str, "entry_point": str}
HUMANEVAL = sources.Hub(path="openai/openai_humaneval")
MBPP_FIELDS = {"test_list": list}
MBPP = sources.Hub(path="google-research-datasets/mbpp", configs=("full",))

_MISSING = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")

PASS_AT = (10, 100)
"""The values of k above 1 for which pass@k is reported, given that many answers per row."""


# Programs with tests


def humaneval_program(row: Mapping[str, Any], answer: str) -> sandbox.Program:
    """Return the program of an answer to a HumanEval row, with the row's tests."""
    prompt, name = row["prompt"], row["entry_point"]
    return sandbox.Program(
        code=program_of(answer, (name,), prompt),
        tests=f"{row['test']}\ncheck({name})\n",
        names=(name,),
        setup=_helpers(prompt),
    )


def _helpers(prompt: str) -> str:
    """Return the prompt as code that runs on its own: some tests call helpers that it defines."""
    texts = (prompt, f"{prompt}\n    pass\n")
    return next((text for text in texts if python.parse(text)), "")


def mbpp_program(row: Mapping[str, Any], answer: str) -> sandbox.Program:
    """Return the program of an answer to an MBPP row, with the row's tests."""
    row = dict(row)
    names = code_rows.mbpp_names(row)
    program = program_of(answer, names)
    tree = python.parse(program)
    imports = "".join(f"import {name}\n" for name in code_rows.mbpp_modules(row))
    return sandbox.Program(
        code=program,
        tests=f"{row.get('test_setup_code') or ''}\n{code_rows.mbpp_tests(row)}",
        # A built-in name that the answer does not define stays the built-in.
        names=tuple(
            n for n in names if not hasattr(builtins, n) or (tree and python.defines(tree, n))
        ),
        setup=imports,
    )


# Metrics


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Estimate, without bias, the probability that at least one of k answers passes.

    The estimate is 1 - C(n - passed, k) / C(n, k) (Chen et al., 2021, arXiv 2107.03374).

    Args:
        n: The number of answers.
        passed: How many of them pass.
        k: The number of answers to draw.

    Raises:
        ValueError: If k is not in 1..n or `passed` is not in 0..n.
    """
    if not 1 <= k <= n or not 0 <= passed <= n:
        raise ValueError(f"pass@{k} is undefined for {passed} passes in {n} answers")
    if n - passed < k:
        return 1.0
    return 1.0 - prod((n - passed - i) / (n - i) for i in range(k))


def scores(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return a row's metrics from the verdicts on its answers.

    Returns:
        `dmt_score` is pass@1; pass@k for larger k if there are enough answers; `missing_module` is
        the share of answers that failed because a module is not available in the sandbox.
    """
    n = len(verdicts)
    passed = sum(bool(verdict["passed"]) for verdict in verdicts)
    larger_k = sorted({k for k in (*PASS_AT, n) if 1 < k <= n})
    return {
        "dmt_score": pass_at_k(n, passed, 1),
        **{f"pass@{k}": pass_at_k(n, passed, k) for k in larger_k},
        "missing_module": sum(bool(verdict.get("missing_module")) for verdict in verdicts) / n,
    }


# The functions that the tasks' YAML files name


def _prepare(
    generation: MutableMapping[str, Any] | None,
    record: MutableMapping[str, Any] | None,
    metadata: sources.Metadata,
) -> None:
    """Apply the generation settings, and raise DMTError if programs may not be run here.

    The check comes before the model generates anything. lm-eval does not pass on its option
    `--confirm_run_unsafe_code`, and would require it for safe sandboxes too, so the command line is
    read here.
    """
    allowed = sources.flag("allow_unsafe_code", metadata)
    allowed = allowed or "--confirm_run_unsafe_code" in sys.argv
    level = sandbox.require_level(allow_unsafe_code=allowed)
    _log_once(sandbox.describe(level))
    if record is not None:
        record["sandbox"] = sandbox.describe(level)
    sources.set_generation(generation, metadata)


@functools.cache
def _log_once(level: str) -> None:
    """Log the level of the sandbox, once for each run of the program."""
    log.info("sandbox level: %s", level)


@sources.as_splits
def dataset(
    generation: MutableMapping[str, Any] | None = None,
    record: MutableMapping[str, Any] | None = None,
    **metadata: Any,
) -> sources.Splits:
    """Return the rows of `dmt_code`: HumanEval's, or those of the file that `dmt_code_data` names.

    Args:
        generation: The task's `generation_kwargs`; its answer length is changed in place.
        record: A mapping in which to record the sandbox's level for lm-eval's results.
        metadata: The task's metadata.

    Raises:
        DMTError: If programs may not be run here, or a setting or a row is wrong.
    """
    _prepare(generation, record, metadata)
    rows = sources.load_rows("dmt_code_data", metadata, fields=FIELDS, hub=HUMANEVAL)
    code_rows.check_humaneval(rows, "dmt_code_data")
    template = sources.prompt_template(metadata, "dmt_code", generation)
    return {"test": sources.with_prompts(rows, "prompt", template)}


@sources.as_splits
def mbpp_dataset(
    generation: MutableMapping[str, Any] | None = None,
    record: MutableMapping[str, Any] | None = None,
    **metadata: Any,
) -> sources.Splits:
    """Return the rows of `dmt_code_mbpp`: MBPP's test split, or those of `dmt_code_mbpp_data`.

    The arguments are those of `dataset`.

    Raises:
        DMTError: If programs may not be run here, or a setting or a row is wrong.
    """
    _prepare(generation, record, metadata)
    rows = sources.load_rows("dmt_code_mbpp_data", metadata, fields=MBPP_FIELDS, hub=MBPP)
    rows = [code_rows.normalised_mbpp(row) for row in rows]
    code_rows.check_mbpp(rows, "dmt_code_mbpp_data")
    questions = [{**row, "prompt": mbpp_question(row)} for row in rows]
    template = sources.prompt_template(metadata, "dmt_code_mbpp", generation)
    return {"test": sources.with_prompts(questions, "prompt", template)}


def mbpp_question(row: Mapping[str, Any]) -> str:
    """Return an MBPP task with its tests; only the tests contain the function's name."""
    tests = "\n".join(row["test_list"])
    return f"{row['text'].strip()}\nYour code should pass these tests:\n\n{tests}\n"


def doc_to_text(doc: sources.Row) -> sources.Prompt:
    """Return the question in the training prompt."""
    return sources.prompt_of(doc, "prompt")


def doc_to_target(doc: sources.Row) -> str:
    """Return a correct answer, or an empty string if the row has none."""
    return str(doc.get("canonical_solution") or doc.get("code") or "")


def run_answers(
    resps: Sequence[Sequence[str]], docs: Sequence[sources.Row]
) -> list[list[dict[str, Any]]]:
    """Run all answers to all rows at once; lm-eval calls this as a filter.

    Returns:
        For each row the verdicts on its answers: `passed`, `status`, `reason`, and
        `missing_module`, the module that the program imports and the sandbox does not have.
    """
    make_program = mbpp_program if docs and "test_list" in docs[0] else humaneval_program
    programs = [
        make_program(doc, answer)
        for doc, answers in zip(docs, resps, strict=True)
        for answer in answers
    ]
    # `dataset` has already refused to run unsafe code that is not allowed.
    outcomes = sandbox.run_programs(programs, allow_unsafe_code=True)
    _log_missing_modules(outcomes)
    verdicts = iter(outcomes)
    return [[_verdict(next(verdicts)) for _ in answers] for answers in resps]


def _verdict(outcome: sandbox.Outcome) -> dict[str, Any]:
    return {
        "passed": outcome.passed,
        "status": outcome.status,
        "reason": outcome.reason,
        "missing_module": _missing_module(outcome),
    }


def _missing_module(outcome: sandbox.Outcome) -> str:
    match = _MISSING.match(outcome.reason)
    return match[1].partition(".")[0] if match else ""


def _log_missing_modules(outcomes: Sequence[sandbox.Outcome]) -> None:
    missing = Counter(name for outcome in outcomes if (name := _missing_module(outcome)))
    if missing:
        log.warning(
            "%d of %d answers failed because they import a module that is not in Python's standard "
            "library: %s",
            missing.total(),
            len(outcomes),
            ", ".join(f"{name} ({count})" for name, count in missing.most_common()),
        )


def process_results(doc: sources.Row, results: Sequence[Any]) -> dict[str, float]:
    """Return a row's metrics from the verdicts of `run_answers`."""
    return scores(results[0])
