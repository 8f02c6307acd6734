"""Verifiable instructions: whether an answer does what its prompt asks, checked by a program.

The checkers are IFEval's, as lm-eval ships them, and a few plain ones of our own (`dmt:...`) for
small made-up skills. A row is `{"key", "prompt", "instruction_id_list", "kwargs"}`, one mapping of
arguments for each instruction.

Two of IFEval's checkers count sentences or words with nltk's `punkt_tab` data. It is never
downloaded here: where it is missing, prompts that need it are left out and counted in `skipped`.
"""

from __future__ import annotations

import functools
import inspect
import io
import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.scoring.sources import (
    Hub,
    Prompt,
    Row,
    load_rows,
    prompt_of,
    prompt_template,
    set_generation,
    setting,
    splits,
    with_prompts,
)

FIELDS = {"prompt": str, "instruction_id_list": list, "kwargs": list}
IFEVAL = Hub(path="google/IFEval", split="train")  # its only split; it is made for evaluation
NEEDS_PUNKT = frozenset(
    {"length_constraints:number_sentences", "change_case:capital_word_frequency"}
)

Check = Callable[[str], bool]

log = logging.getLogger(__name__)


# Our own checkers: each makes a check from the arguments of a row


def _folded(text: str, ignore_case: bool) -> str:
    return text.strip().casefold() if ignore_case else text.strip()


def equals(*, text: str, ignore_case: bool = False) -> Check:
    """The answer is exactly this text, white space around it aside."""
    return lambda answer: _folded(answer, ignore_case) == _folded(text, ignore_case)


def one_of(*, texts: Sequence[str], ignore_case: bool = False) -> Check:
    """The answer is exactly one of these texts."""
    wanted = {_folded(text, ignore_case) for text in texts}
    return lambda answer: _folded(answer, ignore_case) in wanted


def starts_with(*, text: str, ignore_case: bool = False) -> Check:
    """The answer starts with this text."""
    return lambda answer: _folded(answer, ignore_case).startswith(_folded(text, ignore_case))


def ends_with(*, text: str, ignore_case: bool = False) -> Check:
    """The answer ends with this text."""
    return lambda answer: _folded(answer, ignore_case).endswith(_folded(text, ignore_case))


def contains(*, text: str, ignore_case: bool = False) -> Check:
    """The answer holds this text."""
    return lambda answer: _folded(text, ignore_case) in _folded(answer, ignore_case)


def excludes(*, text: str, ignore_case: bool = False) -> Check:
    """The answer does not hold this text."""
    return lambda answer: _folded(text, ignore_case) not in _folded(answer, ignore_case)


def matches(*, pattern: str) -> Check:
    """The whole answer matches this regular expression."""
    compiled = re.compile(pattern, re.DOTALL)
    return lambda answer: compiled.fullmatch(answer.strip()) is not None


def word_count(*, at_least: int = 0, at_most: float = math.inf) -> Check:
    """The answer has so many words, split at white space."""
    return lambda answer: at_least <= len(answer.split()) <= at_most


OWN: Mapping[str, Callable[..., Check]] = {
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
    """Keep the import of lm-eval's IFEval from downloading data: a surprise, and slow offline."""
    import nltk

    download, nltk.download = nltk.download, lambda *_, **__: False
    try:
        with redirect_stdout(io.StringIO()):  # it says "Downloaded" whether it did or not
            yield
    finally:
        nltk.download = download


@functools.cache
def ifeval() -> Mapping[str, Any]:
    """IFEval's checker classes by instruction id, imported when first needed."""
    with _no_nltk_download():
        from lm_eval.tasks.ifeval import instructions_registry
    import langdetect

    # Unseeded, the language of a short answer changes from call to call.
    langdetect.DetectorFactory.seed = 0
    return dict(instructions_registry.INSTRUCTION_DICT)


@functools.cache
def has_punkt() -> bool:
    """Whether nltk's `punkt_tab` data is installed."""
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        return False
    return True


def _ifeval_check(instruction: str, arguments: Mapping[str, Any]) -> Check:
    """One of IFEval's checkers with its arguments, never with some that it made up.

    IFEval replaces what is missing or out of range by a random draw, and would then check something
    that the prompt never asked for.
    """
    checker = ifeval()[instruction](instruction)
    wanted = inspect.signature(checker.build_description).parameters
    if missing := sorted(set(wanted) - set(arguments)):
        raise TypeError(f"missing {', '.join(missing)}")
    letter = arguments.get("letter", "a")
    if instruction == "keywords:letter_frequency" and not ("a" <= letter.lower() <= "z"):
        # IFEval's own rows ask for `!` and `#`, which its checker replaces by a random letter.
        return _character_frequency(**arguments)
    checker.build_description(**arguments)
    taken = checker.get_instruction_args() or {}
    for name, value in arguments.items():
        if _plain(taken.get(name)) != _plain(value):
            raise ValueError(f"{name} cannot be {value!r}")
    return lambda answer: bool(checker.check_following(answer))


def _plain(value: Any) -> Any:
    """An argument without what a checker may change in it: case, order and outer spaces."""
    if isinstance(value, (list, tuple, set)):
        return {_plain(item) for item in value}
    return value.strip().casefold() if isinstance(value, str) else value


def _character_frequency(*, letter: str, let_frequency: int, let_relation: str) -> Check:
    if let_relation not in ("at least", "less than"):
        raise ValueError(f"let_relation cannot be {let_relation!r}")
    if let_relation == "at least":
        return lambda answer: answer.count(letter) >= let_frequency
    return lambda answer: answer.count(letter) < let_frequency


def make_check(instruction: str, arguments: Mapping[str, Any]) -> Check:
    """The check of one instruction.

    Args:
        instruction: an id of IFEval's or of `OWN`.
        arguments: what it is asked with; None values count as absent, as IFEval's rows have them.

    Raises:
        DMTError: an unknown id, or arguments that it cannot take.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    own = OWN.get(instruction)
    if own is None and instruction not in ifeval():
        known = ", ".join([*OWN, *ifeval()])
        raise DMTError("dmt_general_data", f"no instruction {instruction!r}", f"one of {known}")
    try:
        return own(**given) if own else _ifeval_check(instruction, given)
    except (TypeError, ValueError, AttributeError, re.error) as error:
        raise DMTError(
            "dmt_general_data", f"{instruction} cannot take {given}: {error}", "correct its kwargs"
        ) from error


def followed(checks: Sequence[tuple[str, Mapping[str, Any]]], answer: str) -> list[bool]:
    """Which of the instructions an answer follows, strictly: as it is, nothing cut off."""
    return [
        _follows(make_check(instruction, arguments), answer) for instruction, arguments in checks
    ]


def _follows(check: Check, answer: str) -> bool:
    if not answer.strip():
        return False
    try:
        return check(answer)
    except Exception as error:  # a checker of IFEval's that trips over an odd answer
        log.debug("checker failed on %r: %s", answer[:80], error)
        return False


# The lm-eval task


def dataset(generation: dict[str, Any] | None = None, **metadata: Any) -> Any:
    """The prompts of `dmt_general`: IFEval's, or the file that `dmt_general_data` names.

    Raises:
        DMTError: an instruction that is unknown or has the wrong arguments; no prompt left.
    """
    set_generation(generation, metadata)
    name = "dmt_general_data"
    rows = load_rows(name, metadata, fields=FIELDS, hub=IFEVAL)
    kept = []
    for row in rows:
        try:
            kept.append({"prompt": row["prompt"], "checks": _checks_of(row)})
        except _Uncheckable as error:
            log.debug("dmt_general: prompt %r: %s", row["prompt"][:60], error)
        except DMTError:
            if setting(name, metadata) is not None:  # the user's own file is theirs to correct
                raise
    skipped = len(rows) - len(kept)
    if not kept:
        raise DMTError(name, f"none of {len(rows)} prompts can be checked", PUNKT_HINT)
    if skipped:
        log.warning("dmt_general: %d of %d prompts skipped: %s", skipped, len(rows), PUNKT_HINT)
    rows = [{**row, "skipped": skipped} for row in kept]
    return splits(test=with_prompts(rows, "prompt", prompt_template(metadata)))


class _Uncheckable(Exception):
    """A prompt whose checker lacks its data on this machine."""


def _checks_of(row: Row) -> str:
    """A row's instructions with their arguments, tried out.

    As JSON, because Arrow would give every row the arguments of all.
    """
    ids, arguments = row["instruction_id_list"], [given or {} for given in row["kwargs"]]
    if len(ids) != len(arguments) or not ids:
        problem = f"{len(ids)} instructions with {len(arguments)} kwargs in {row['prompt']!r:.60}"
        raise DMTError("dmt_general_data", problem, "give one mapping for each instruction")
    checks = list(zip(ids, arguments, strict=True))
    for instruction, given in checks:
        make_check(instruction, given)
    if NEEDS_PUNKT.intersection(ids) and not has_punkt():
        raise _Uncheckable(PUNKT_HINT)
    return json.dumps(checks)


PUNKT_HINT = "nltk's punkt_tab is missing, get it by `python -m nltk.downloader punkt_tab`"


def doc_to_text(doc: Row) -> Prompt:
    """The prompt in the training template."""
    return prompt_of(doc, "prompt")


def process_results(doc: Row, results: list[str]) -> dict[str, Any]:
    """Score one answer: `dmt_score` is 1 where it follows every instruction of its prompt."""
    passed = followed(json.loads(doc["checks"]), results[0])
    return {
        "dmt_score": float(all(passed)),
        "instruction_accuracy": passed,
        "instruction_accuracy_stderr": passed,
        "skipped": doc["skipped"],
    }


def instruction_accuracy(items: Sequence[Sequence[bool]]) -> float:
    """The share of all instructions that were followed."""
    return sum(map(sum, items)) / sum(map(len, items))


def instruction_accuracy_stderr(items: Sequence[Sequence[bool]]) -> float:
    """Its standard error, with prompts rather than instructions as the independent draws.

    The usual linearised error of a ratio of means; NaN for a single prompt.
    """
    if len(items) < 2:
        return math.nan
    share = instruction_accuracy(items)
    squares = sum((sum(passed) - share * len(passed)) ** 2 for passed in items)
    return math.sqrt(squares * len(items) / (len(items) - 1)) / sum(map(len, items))
