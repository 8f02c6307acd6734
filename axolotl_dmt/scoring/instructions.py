"""The task `dmt_general`: check by program whether answers follow their prompts' instructions.

The checkers are those of IFEval, as lm-eval ships them, and a few simple ones of this package
(`dmt:...`) for small synthetic skills. A row is
`{"key", "prompt", "instruction_id_list", "kwargs"}`, with one mapping of arguments for each
instruction.

Two of IFEval's checkers count sentences or words with nltk's `punkt_tab` data. If it is missing, it
is downloaded (see `punkt`); where that is impossible, prompts that need it are left out and counted
in `skipped`.
"""

from __future__ import annotations

import functools
import inspect
import io
import json
import logging
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import parse_json
from axolotl_dmt.scoring.pooled_mean import pooled_mean, pooled_stderr
from axolotl_dmt.scoring.punkt import PUNKT_HINT, fetch_punkt
from axolotl_dmt.scoring.sources import (
    Hub,
    Prompt,
    Row,
    Splits,
    as_splits,
    load_rows,
    prompt_of,
    prompt_template,
    set_generation,
    setting,
    with_prompts,
)
from axolotl_dmt.scoring.thinking import after_thinking

SETTING = "dmt_general_data"
FIELDS = {"prompt": str, "instruction_id_list": list, "kwargs": list}
IFEVAL = Hub(path="google/IFEval", split="train")  # its only split; it is made for evaluation
NEEDS_PUNKT = frozenset(
    {"length_constraints:number_sentences", "change_case:capital_word_frequency"}
)

Check = Callable[[str], bool]

log = logging.getLogger(__name__)


# The checkers of this package: each creates a check from the arguments in a row


def _folded(text: str, ignore_case: bool) -> str:
    text = unicodedata.normalize("NFC", text)
    return text.strip().casefold() if ignore_case else text.strip()


def equals(*, text: str, ignore_case: bool = False) -> Check:
    """Check that the answer is exactly this text, apart from surrounding white space."""
    folded = _folded(text, ignore_case)
    return lambda answer: _folded(answer, ignore_case) == folded


def one_of(*, texts: Sequence[str], ignore_case: bool = False) -> Check:
    """Check that the answer is exactly one of these texts.

    Raises:
        TypeError: If `texts` is not a list of texts.
    """
    if isinstance(texts, str):
        raise TypeError("texts is one text, not a list")
    folded = {_folded(text, ignore_case) for text in texts}
    return lambda answer: _folded(answer, ignore_case) in folded


def starts_with(*, text: str, ignore_case: bool = False) -> Check:
    """Check that the answer starts with this text."""
    folded = _folded(text, ignore_case)
    return lambda answer: _folded(answer, ignore_case).startswith(folded)


def ends_with(*, text: str, ignore_case: bool = False) -> Check:
    """Check that the answer ends with this text."""
    folded = _folded(text, ignore_case)
    return lambda answer: _folded(answer, ignore_case).endswith(folded)


def contains(*, text: str, ignore_case: bool = False) -> Check:
    """Check that the answer contains this text."""
    folded = _folded(text, ignore_case)
    return lambda answer: folded in _folded(answer, ignore_case)


def excludes(*, text: str, ignore_case: bool = False) -> Check:
    """Check that the answer does not contain this text."""
    folded = _folded(text, ignore_case)
    return lambda answer: folded not in _folded(answer, ignore_case)


def matches(*, pattern: str) -> Check:
    """Check that the whole answer matches this regular expression.

    Raises:
        re.error: If the pattern is not a valid regular expression.
    """
    compiled = re.compile(pattern, re.DOTALL)
    return lambda answer: compiled.fullmatch(answer.strip()) is not None


def word_count(*, at_least: int = 0, at_most: float = math.inf) -> Check:
    """Check the number of words in the answer, which are separated by white space.

    Raises:
        TypeError: If a limit is not a number.
    """
    for limit in (at_least, at_most):
        if isinstance(limit, bool) or not isinstance(limit, (int, float)):
            raise TypeError(f"{limit!r} is not a number")
    return lambda answer: at_least <= len(answer.split()) <= at_most


DMT_CHECKERS: Mapping[str, Callable[..., Check]] = {
    "dmt:equals": equals,
    "dmt:one_of": one_of,
    "dmt:starts_with": starts_with,
    "dmt:ends_with": ends_with,
    "dmt:contains": contains,
    "dmt:excludes": excludes,
    "dmt:matches": matches,
    "dmt:word_count": word_count,
}


# IFEval's checkers


@contextmanager
def _no_nltk_download() -> Iterator[None]:
    """Disable nltk's downloads, and its output, on entry; restore them on exit.

    The import of lm-eval's IFEval would start a download, which is unexpected, and slow offline.
    """
    import nltk

    download, nltk.download = nltk.download, lambda *_, **__: False
    try:
        with redirect_stdout(io.StringIO()):  # nltk prints "Downloaded" in any case
            yield
    finally:
        nltk.download = download


@functools.cache
def ifeval() -> Mapping[str, Any]:
    """Return IFEval's checker classes by instruction id; they are imported on the first call."""
    with _no_nltk_download():
        from lm_eval.tasks.ifeval import instructions_registry
    import langdetect

    # Without a seed the language detected in a short answer changes from call to call.
    langdetect.DetectorFactory.seed = 0
    return dict(instructions_registry.INSTRUCTION_DICT)


def _ifeval_check(instruction: str, arguments: Mapping[str, Any]) -> Check:
    """Return the check of one of IFEval's instructions, with exactly the given arguments.

    IFEval replaces a missing or invalid argument by a random one, and would then check something
    that the prompt does not ask for; here that is an error.
    """
    checker = ifeval()[instruction](instruction)
    parameters = inspect.signature(checker.build_description).parameters
    if missing := sorted(set(parameters) - set(arguments)):
        raise TypeError(f"missing {', '.join(missing)}")
    letter = arguments.get("letter", "a")
    if instruction == "keywords:letter_frequency" and not ("a" <= letter.lower() <= "z"):
        # IFEval's rows ask for `!` and `#` too, which its checker replaces by a random letter.
        return _character_frequency(**arguments)
    checker.build_description(**arguments)
    accepted = checker.get_instruction_args() or {}
    for name, value in arguments.items():
        if _normalised(accepted.get(name)) != _normalised(value):
            raise ValueError(f"{name} cannot be {value!r}")
    return lambda answer: bool(checker.check_following(answer))


def _normalised(value: Any) -> Any:
    """Return an argument without what a checker may change in it: case, order, outer spaces."""
    if isinstance(value, (list, tuple, set)):
        return {_normalised(item) for item in value}
    return value.strip().casefold() if isinstance(value, str) else value


def _character_frequency(*, letter: str, let_frequency: int, let_relation: str) -> Check:
    """Check how often a character occurs in the answer."""
    if let_relation not in ("at least", "less than"):
        raise ValueError(f"let_relation cannot be {let_relation!r}")
    if let_relation == "at least":
        return lambda answer: answer.count(letter) >= let_frequency
    return lambda answer: answer.count(letter) < let_frequency


def make_check(instruction: str, arguments: Mapping[str, Any]) -> Check:
    """Return the check of one instruction.

    Args:
        instruction: An instruction id of IFEval or of `DMT_CHECKERS`.
        arguments: Its arguments; None counts as absent, as in IFEval's rows.

    Raises:
        DMTError: If the id is unknown or the arguments are wrong.
    """
    if not isinstance(arguments, Mapping):
        problem = f"the arguments of {instruction} are {arguments!r}"
        raise DMTError(SETTING, problem, "write a mapping such as {text: yes} in its kwargs")
    arguments = {name: value for name, value in arguments.items() if value is not None}
    checker = DMT_CHECKERS.get(instruction)
    if checker is None and instruction not in ifeval():
        fix = f"use one of {', '.join([*DMT_CHECKERS, *ifeval()])}"
        raise DMTError(SETTING, f"there is no instruction {instruction!r}", fix)
    try:
        return checker(**arguments) if checker else _ifeval_check(instruction, arguments)
    except (TypeError, ValueError, AttributeError, re.error) as error:
        problem = f"{instruction} cannot take the arguments {arguments}: {error}"
        raise DMTError(SETTING, problem, "correct its kwargs") from error


def instructions_followed(
    instructions: Sequence[tuple[str, Mapping[str, Any]]], answer: str, *, loose: bool = False
) -> list[bool]:
    """Return for each instruction whether the answer follows it.

    Args:
        instructions: Instruction ids with their arguments.
        answer: The model's answer.
        loose: Check the answer as IFEval's loose accuracy does: an instruction counts as followed
            if the answer follows it without its first line, its last line, both, or the asterisks
            of Markdown. Otherwise the answer is checked unchanged.

    Raises:
        DMTError: If an id is unknown or its arguments are wrong.
    """
    answers = _variants(answer) if loose else [answer]
    checks = [make_check(instruction, arguments) for instruction, arguments in instructions]
    return [any(_follows(check, variant) for variant in answers) for check in checks]


def _variants(answer: str) -> list[str]:
    """Return the eight texts of which one must follow an instruction, as in IFEval."""
    lines = answer.split("\n")
    parts = [lines, lines[1:], lines[:-1], lines[1:-1]]
    texts = [answer, *("\n".join(part).strip() for part in parts[1:])]
    return [*texts, *(text.replace("*", "") for text in texts)]


def _follows(check: Check, answer: str) -> bool:
    if not answer.strip():
        return False
    try:
        return check(answer)
    except Exception as error:  # some of IFEval's checkers fail on unusual answers
        log.debug("checker failed on %r: %s", answer[:80], error)
        return False


# The lm-eval task


@as_splits
def dataset(generation: dict[str, Any] | None = None, **metadata: Any) -> Splits:
    """Return the prompts of `dmt_general`: IFEval's, or those of the file in `dmt_general_data`.

    Args:
        generation: The task's `generation_kwargs`; its answer length is changed in place.
        metadata: The task's metadata.

    Raises:
        DMTError: If a setting or a row is wrong, or no prompt can be checked.
    """
    set_generation(generation, metadata)
    rows = load_rows(SETTING, metadata, fields=FIELDS, hub=IFEVAL)
    needs_punkt = any(NEEDS_PUNKT.intersection(row["instruction_id_list"]) for row in rows)
    has_punkt = not needs_punkt or fetch_punkt()
    checkable = []
    for number, row in enumerate(rows, 1):
        try:
            checkable.append(
                {"prompt": row["prompt"], "checks": _instructions_json(row, has_punkt)}
            )
        except _Uncheckable as error:
            log.debug("dmt_general: prompt %r: %s", row["prompt"][:60], error)
        except DMTError as error:
            if setting(SETTING, metadata) is not None:  # the user can correct their own file
                raise DMTError(SETTING, f"row {number}: {error.problem}", error.fix) from error
    skipped = len(rows) - len(checkable)
    if not checkable:
        raise DMTError(SETTING, f"none of {len(rows)} prompts can be checked", PUNKT_HINT)
    if skipped:
        _report_skipped(skipped, len(rows))
    rows = [{**row, "skipped": skipped} for row in checkable]
    template = prompt_template(metadata, "dmt_general", generation)
    return {"test": with_prompts(rows, "prompt", template)}


@functools.cache  # a process loads a task more than once
def _report_skipped(skipped: int, prompts: int) -> None:
    log.warning("dmt_general: %d of %d prompts skipped: %s", skipped, prompts, PUNKT_HINT)


class _Uncheckable(Exception):
    """Raised for a prompt whose checker lacks its data on this machine."""


def _instructions_json(row: Row, has_punkt: bool) -> str:
    """Return a row's instructions with their arguments as JSON, after a check of each of them.

    JSON, because Arrow would give every row the arguments of all rows.
    """
    ids, kwargs = row["instruction_id_list"], [arguments or {} for arguments in row["kwargs"]]
    if len(ids) != len(kwargs) or not ids:
        problem = f"{len(ids)} instructions with {len(kwargs)} kwargs in {row['prompt']!r:.60}"
        raise DMTError(SETTING, problem, "give one mapping for each instruction")
    instructions = list(zip(ids, kwargs, strict=True))
    for instruction, arguments in instructions:
        make_check(instruction, arguments)
    if NEEDS_PUNKT.intersection(ids) and not has_punkt:
        raise _Uncheckable(PUNKT_HINT)
    return json.dumps(instructions)


def doc_to_text(doc: Row) -> Prompt:
    """Return the prompt in the training template."""
    return prompt_of(doc, "prompt")


def process_results(doc: Row, results: list[str]) -> dict[str, Any]:
    """Score one answer: `dmt_score` is 1 if it follows every instruction of its prompt.

    `loose_score` and `loose_instruction_accuracy` are IFEval's loose accuracies.
    """
    checks, answer = parse_json(doc["checks"]), after_thinking(results[0])
    passed = instructions_followed(checks, answer)
    loosely_passed = instructions_followed(checks, answer, loose=True)
    return {
        "dmt_score": float(all(passed)),
        "instruction_accuracy": passed,
        "instruction_accuracy_stderr": passed,
        "loose_score": float(all(loosely_passed)),
        "loose_instruction_accuracy": loosely_passed,
        "skipped": doc["skipped"],
    }


def instruction_accuracy(items: Sequence[Sequence[bool]]) -> float:
    """Return the share of all instructions that were followed."""
    return pooled_mean(items)


def instruction_accuracy_stderr(items: Sequence[Sequence[bool]]) -> float:
    """Return the standard error of `instruction_accuracy`, with prompts as independent draws."""
    return pooled_stderr(items)
