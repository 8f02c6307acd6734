r"""Decide whether two mathematical answers, in LaTeX or plain text, are equal.

    equivalent(r"\frac{\sqrt{2}}{2}", "1/sqrt(2)")  # True
    equivalent(r"x \ge 2", r"[2,\infty)")           # True
    equivalent("3,-1", "-1, 3")                     # True: a bare list is a set of solutions
    equivalent("5xyz", "5")                         # False

What is the same text in plain notation (`notation.plain_latex`) is equal. Everything else is
decided by the library math-verify, in a process of its own (`expression_worker`), because it can
take forever, or all memory, for an answer such as `9^{9^{9^{9}}}`; such an answer is wrong.
"""

from __future__ import annotations

import functools
import re

from axolotl_dmt.scoring.expression_worker import Worker
from axolotl_dmt.scoring.notation import plain_latex

LONGEST = 600
"""The most characters of an expression; a longer one is only compared as text."""

_LETTER_OF_CHOICE = re.compile(r"^\(?\s*([A-J])\s*\)?\.?$")
_CHOICE = re.compile(r"^(?:\(([A-J])\)|([A-J])[).:])\s*(?=\S)")
_BASED = re.compile(r"^([-+]?[0-9A-F.]+)\s*_\s*\{?\s*(\d+)\s*\}?$")
_LETTER = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z](?![a-zA-Z])")
_PERCENT = re.compile(r"\s*\\?%")

_worker = Worker()


def load_math_verify() -> None:
    """Start the process that compares expressions, so that a broken installation is found early.

    Raises:
        DMTError: If math-verify cannot be loaded.
    """
    _worker.start()


@functools.lru_cache(maxsize=4096)
def equivalent(answer: str, gold: str) -> bool:
    """Return whether an answer equals the correct one.

    Raises:
        DMTError: If math-verify cannot be loaded.
    """
    if len(answer) > 4 * LONGEST:
        return False
    # Outside brackets, `1,200` is 1200 or the list of 1 and 200: one of the readings must be equal.
    readings = [(plain_latex(answer, lists), plain_latex(gold, lists)) for lists in (False, True)]
    return any(_equal(*reading) for reading in dict.fromkeys(readings))


def _equal(answer: str, gold: str) -> bool:
    """Return whether two expressions in plain LaTeX are equal."""
    if not answer:
        return False
    if _squeezed(answer) == _squeezed(gold):
        return True
    if letter := _LETTER_OF_CHOICE.match(gold):
        choice = _CHOICE.match(answer) or _LETTER_OF_CHOICE.match(answer)
        return choice is not None and letter[1] in choice.groups()
    answer = _CHOICE.sub("", answer)
    based, gold_based = _BASED.match(answer), _BASED.match(gold)
    if gold_based or based:
        # A number may leave out its base, as the question names it; another base is another number.
        return (based or gold_based) is not None and _same_digits(answer, gold)
    if _is_words(answer) or _is_words(gold) or _differ_in_case(answer, gold):
        return False
    if max(len(answer), len(gold)) > LONGEST:
        return False
    return any(_worker.equal(a, g) for a, g in _forms(answer, gold))


def _squeezed(text: str) -> str:
    """Return a text without spaces; of words and times of day, also without dots and case."""
    text = re.sub(r"\s+", "", text)
    if re.fullmatch(r"[\d:]*[a-zA-Z][a-zA-Z.:\d]{2,}", text):
        return text.replace(".", "").casefold()
    return text


def _same_digits(answer: str, gold: str) -> bool:
    """Return whether two numbers have the same digits, and no different bases."""
    pairs = []
    for text in (answer, gold):
        based = _BASED.match(text)
        pairs.append((based[1], based[2]) if based else (text.replace(" ", ""), None))
    (digits, base), (gold_digits, gold_base) = pairs
    return digits == gold_digits and (base is None or gold_base is None or base == gold_base)


def _is_words(text: str) -> bool:
    """Return whether a text is a name or a phrase, and not an expression."""
    return re.fullmatch(
        r"[a-zA-Z]{4,}|[a-zA-Z]+(?: [a-zA-Z]+)+", text
    ) is not None and not re.search(r"\b(?:sqrt|pi|infinity|inf)\b", text)


def _differ_in_case(answer: str, gold: str) -> bool:
    """Return whether the variables differ in case only; math-verify would read R and r as one."""
    letters, gold_letters = (set(_LETTER.findall(text)) for text in (answer, gold))
    return letters != gold_letters and {letter.lower() for letter in letters} == {
        letter.lower() for letter in gold_letters
    }


def _forms(answer: str, gold: str) -> list[tuple[str, str]]:
    """Return the pairs of which one must be equal: a percentage may leave out its sign."""
    bare, gold_bare = _PERCENT.sub("", answer), _PERCENT.sub("", gold)
    forms = [(bare, gold_bare)]
    if (bare != answer) != (gold_bare != gold):
        hundredth = r"\frac{%s}{100}"
        forms.append(
            (hundredth % bare, gold) if bare != answer else (answer, hundredth % gold_bare)
        )
    return forms
