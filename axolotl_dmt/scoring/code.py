"""`dmt_code` and `dmt_code_mbpp`: programs cut from answers, run in a sandbox, counted.

An answer becomes a program in one of these ways, the first that fits:

* text that begins indented continues the prompt, up to the first line that begins something new at
  the left margin;
* a fenced block that defines the function is the program, after what the prompt has before it
  (imports and helpers); another fenced block continues the prompt;
* text that defines the function is the program too, without the prose around it;
* any other text continues the prompt.

A continuation that lost the indentation of its first line, as tokenizers that strip a leading space
make it, gets it back.
"""

from __future__ import annotations

import ast
import builtins
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from math import prod
from typing import Any

from axolotl_dmt import sandbox
from axolotl_dmt.scoring import sources

log = logging.getLogger(__name__)

FIELDS = {"prompt": str, "test": str, "entry_point": str}
HUMANEVAL = sources.Hub(path="openai/openai_humaneval")
MBPP_FIELDS = {"text": str, "test_list": list}
MBPP = sources.Hub(path="google-research-datasets/mbpp", configs=("full",))

PASS_AT = (10, 100)
"""The k of pass@k that are reported besides 1, where there are as many answers."""

_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)

# Human-eval's stop sequences, and what ends an answer of a chat model.
_NEXT_THING = re.compile(r"^(?:async |def |class |print|if |@|#|```|\[DONE\])", re.MULTILINE)

_CODE_LINE = re.compile(r"(?:async |def |class |@|import |from |#|[)\]}]|[A-Za-z_][\w.]* *=)")


# From answer to program


def candidate_code(prompt: str, entry_point: str, answer: str) -> str:
    """The program that an answer to a HumanEval prompt stands for.

    Args:
        prompt: what comes before the function's body: imports, helpers, `def` line, docstring.
        entry_point: the function's name.
        answer: the model's text, a continuation or a chat answer.
    """
    if answer[:1] == " " and not answer[1:2].isspace():
        answer = answer[1:]  # what separates an answer from "ASSISTANT:"
    first = next((line for line in answer.split("\n") if line.strip()), "")
    if first[:1].isspace() and not first.lstrip().startswith("```"):
        return _join(prompt, _until_next_thing(answer))
    fenced = first_block(answer)
    if fenced is not None:
        if _defines(fenced, entry_point):
            return _preamble(prompt, entry_point) + fenced
        return _join(prompt, fenced)
    if _defines(answer, entry_point):
        return _preamble(prompt, entry_point) + _standing_alone(answer, entry_point)
    return _join(prompt, _until_next_thing(answer))


def first_block(answer: str) -> str | None:
    """The inside of an answer's first fenced block; None where it has none.

    A block that is never closed, as when the answer was cut off, goes on to the end.
    """
    found = _FENCE.search(answer)
    return found[1] if found else None


def _definition(entry_point: str) -> re.Pattern[str]:
    return re.compile(rf"^(?:async )?def {re.escape(entry_point)}\b", re.MULTILINE)


def _defines(code: str, entry_point: str) -> bool:
    return _definition(entry_point).search(code) is not None


def _preamble(prompt: str, entry_point: str) -> str:
    """What a prompt has before its function."""
    found = _definition(entry_point).search(prompt)
    return prompt[: found.start()] if found else ""


def _until_next_thing(text: str) -> str:
    """A function's body without what the model wrote after it."""
    lead = len(text) - len(text.lstrip())
    found = _NEXT_THING.search(
        text, text.find("\n", lead) + 1 if "\n" in text[lead:] else len(text)
    )
    return text[: found.start()] if found else text


def _standing_alone(text: str, entry_point: str) -> str:
    """The code in a text without fences: from its first line of code to the prose after it."""
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if _CODE_LINE.match(line))
    kept, seen = [], False
    for line in lines[start:]:
        if seen and line.strip() and not line[0].isspace() and not _CODE_LINE.match(line):
            break
        seen = seen or _defines(line, entry_point)
        kept.append(line)
    return "\n".join(kept) + "\n"


def _join(prompt: str, body: str) -> str:
    """A prompt and the body that continues it, which gets back the indentation it may have lost."""
    if not prompt.endswith("\n"):
        # The prompt may stop inside a line, so the text goes on right there.
        return prompt + body
    last = next((line for line in reversed(prompt.split("\n")) if line.strip()), "")
    indent = len(last) - len(last.lstrip()) or 4
    if last.rstrip().endswith(":"):
        indent += 4 if last[:1].isspace() else 0
    lines = body.split("\n")
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        return prompt + body
    missing = indent - _indent(lines[filled[0]])
    if missing > 0:
        opens = lines[filled[0]].rstrip().endswith(":")
        second = _indent(lines[filled[1]]) if len(filled) > 1 else indent + opens
        only_first = second >= indent + opens
        for i in filled[:1] if only_first else filled:
            lines[i] = " " * missing + lines[i]
    return prompt + "\n".join(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


# From row to tests


def humaneval_program(row: Mapping[str, Any], answer: str) -> sandbox.Program:
    """A HumanEval row's tests around an answer."""
    prompt, name = row["prompt"], row["entry_point"]
    return sandbox.Program(
        code=candidate_code(prompt, name, answer),
        tests=f"{row['test']}\ncheck({name})\n",
        names=(name,),
        setup=_helpers(prompt),
    )


def _helpers(prompt: str) -> str:
    """The prompt as code of its own: some tests call helpers that it defines."""
    for text in (prompt, f"{prompt}\n    pass\n"):
        try:
            ast.parse(text)
        except SyntaxError:
            continue
        return text
    return ""


def mbpp_program(row: Mapping[str, Any], answer: str) -> sandbox.Program:
    """An MBPP row's tests around an answer.

    The few rows whose set-up builds objects of the answer's own classes have to run in one piece,
    where the answer could meddle with its tests.
    """
    fenced = first_block(answer)
    code = answer.split("[DONE]")[0].replace("[BEGIN]", "") if fenced is None else fenced
    tests = "\n".join(row["test_list"]) + "\n"
    own_setup = row.get("test_setup_code") or ""
    if own_setup.strip():
        return sandbox.Program(code=f"{code}\n{own_setup}\n{tests}")
    names, modules = _called(tests)
    return sandbox.Program(
        code=code, tests=tests, names=names, setup="".join(f"import {name}\n" for name in modules)
    )


def _called(tests: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The functions that tests expect the answer to define, and the modules that they use."""
    tree = ast.parse(tests)
    nodes = list(ast.walk(tree))
    called = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    used = {
        n.value.id for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
    }
    functions = sorted(name for name in called if not hasattr(builtins, name))
    return tuple(functions), tuple(sorted(used & sys.stdlib_module_names))


# Counting


def pass_at_k(n: int, passed: int, k: int) -> float:
    """The chance that one of k answers passes, estimated without bias from n of them.

    1 - C(n - passed, k) / C(n, k), of Chen et al., 2021, arXiv 2107.03374.

    Raises:
        ValueError: k or `passed` is not within 1..n, 0..n.
    """
    if not 1 <= k <= n or not 0 <= passed <= n:
        raise ValueError(f"pass@{k} of {passed} in {n}")
    if n - passed < k:
        return 1.0
    return 1.0 - prod((n - passed - i) / (n - i) for i in range(k))


def scores(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """A row's metrics from the verdicts on its answers: pass@1, and pass@k where there are more."""
    n = len(verdicts)
    passed = sum(bool(verdict["passed"]) for verdict in verdicts)
    more = sorted({k for k in (*PASS_AT, n) if 1 < k <= n})
    return {
        "dmt_score": pass_at_k(n, passed, 1),
        **{f"pass@{k}": pass_at_k(n, passed, k) for k in more},
    }


# What the YAML files name


def _prepare(
    generation: MutableMapping[str, Any] | None,
    record: MutableMapping[str, Any] | None,
    metadata: sources.Metadata,
) -> None:
    """Refuse to go on where programs may not be run, before anything is generated.

    lm-eval keeps `--confirm_run_unsafe_code` to itself, and its own check would ask for it on safe
    sandboxes too, so the command line is read here.
    """
    allowed = sources.flag("allow_unsafe_code", metadata)
    allowed = allowed or "--confirm_run_unsafe_code" in sys.argv
    level = sandbox.require_level(allow_unsafe_code=allowed)
    log.info("sandbox level: %s", sandbox.describe(level))
    if record is not None:
        record["sandbox"] = sandbox.describe(level)
    sources.set_generation(generation, metadata)


def dataset(
    generation: MutableMapping[str, Any] | None = None,
    record: MutableMapping[str, Any] | None = None,
    **metadata: Any,
) -> Any:
    """HumanEval's rows, or those of `dmt_code_data`, as lm-eval's `custom_dataset`."""
    _prepare(generation, record, metadata)
    rows = sources.load_rows("dmt_code_data", metadata, fields=FIELDS, hub=HUMANEVAL)
    template = sources.prompt_template(metadata)
    return sources.splits(test=sources.with_prompts(rows, "prompt", template))


def mbpp_dataset(
    generation: MutableMapping[str, Any] | None = None,
    record: MutableMapping[str, Any] | None = None,
    **metadata: Any,
) -> Any:
    """MBPP's test rows, or those of `dmt_code_mbpp_data`, as lm-eval's `custom_dataset`."""
    _prepare(generation, record, metadata)
    rows = sources.load_rows("dmt_code_mbpp_data", metadata, fields=MBPP_FIELDS, hub=MBPP)
    asked = [{**row, "prompt": mbpp_question(row)} for row in rows]
    template = sources.prompt_template(metadata)
    return sources.splits(test=sources.with_prompts(asked, "prompt", template))


def mbpp_question(row: Mapping[str, Any]) -> str:
    """An MBPP task in words, with its tests, which alone say what the function is called."""
    tests = "\n".join(row["test_list"])
    return f"{row['text'].strip()}\nYour code should pass these tests:\n\n{tests}\n"


def doc_to_text(doc: sources.Row) -> sources.Prompt:
    """The prompt that the model sees."""
    return sources.prompt_of(doc, "prompt")


def doc_to_target(doc: sources.Row) -> str:
    """A right answer, where the row has one."""
    return str(doc.get("canonical_solution") or doc.get("code") or "")


def run_answers(
    resps: Sequence[Sequence[str]], docs: Sequence[sources.Row]
) -> list[list[dict[str, Any]]]:
    """Run all answers to all rows at once, as an lm-eval filter.

    Returns:
        For each row the verdicts on its answers: `passed`, `status` and `reason`.
    """
    make = mbpp_program if docs and "test_list" in docs[0] else humaneval_program
    programs = [
        make(doc, answer) for doc, answers in zip(docs, resps, strict=True) for answer in answers
    ]
    # `dataset` refused where it is not allowed.
    outcomes = iter(sandbox.run_programs(programs, allow_unsafe_code=True))
    return [
        [
            {"passed": outcome.passed, "status": outcome.status, "reason": outcome.reason}
            for outcome in (next(outcomes) for _ in answers)
        ]
        for answers in resps
    ]


def process_results(doc: sources.Row, results: Sequence[Any]) -> dict[str, float]:
    """A row's metrics, from what `run_answers` made of its answers."""
    return scores(results[0])
