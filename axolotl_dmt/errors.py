"""The one error for users' mistakes, and functions that turn exceptions into clear messages."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, ParamSpec, TypeVar

from axolotl_dmt.console import echo, printable

LONGEST_TEXT: Final = 80
"""Characters of a word or of a text in quotes that a message shows at most."""
_QUOTED: Final = re.compile(r"(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)")
_WORD: Final = re.compile(rf"[^\s/]{{{LONGEST_TEXT + 1},}}")

P = ParamSpec("P")
T = TypeVar("T")


class DMTError(ValueError):
    """A user's mistake: where it is, what is wrong, and what would be right, in one line.

    Args:
        key: the YAML key, dotted and indexed as the user would find it (`dmt.stages[0].mix.math`),
            or the command-line option.
        problem: what is wrong with it, with the offending value.
        fix: what would be right, if possible as text to type.
    """

    def __init__(self, key: str, problem: str, fix: str) -> None:
        self.key, self.problem, self.fix = key, problem, fix
        stated = f"{shortened(key)}: {shortened(problem)}"
        message = f"{stated}; {fix}" if fix else stated
        super().__init__(printable(message.replace("\n", " ")))

    def __reduce__(self) -> tuple[type[DMTError], tuple[object, ...]]:
        # Pickle would otherwise call the constructor with the message as its only argument.
        return type(self), (self.key, self.problem, self.fix)


class DMTErrors(DMTError):
    """Several mistakes that were found in one pass; the message has a line for each."""

    def __init__(self, errors: Iterable[DMTError]) -> None:
        self.errors = tuple(errors)
        ValueError.__init__(self, "\n".join(str(error) for error in self.errors))
        first = self.errors[0]
        self.key, self.problem, self.fix = first.key, first.problem, first.fix

    def __reduce__(self) -> tuple[type[DMTError], tuple[object, ...]]:
        return type(self), (self.errors,)


class Problems(list[DMTError]):
    """A list of mistakes, for checks that go on after the first one."""

    def attempt(self, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call a check and add the mistakes that it raises to this list.

        Returns:
            What the check returned, or None where it raised a `DMTError`.
        """
        try:
            return check(*args, **kwargs)
        except DMTErrors as error:
            self.extend(error.errors)
        except DMTError as error:
            self.append(error)
        return None


def shortened(text: str) -> str:
    """Return a text without the middle of each long word and each long text in quotes.

    The names in a path are words of their own, so a path is shown as a whole.
    """
    text = _QUOTED.sub(lambda quoted: _cut(quoted[0]), text)
    return _WORD.sub(lambda word: _cut(word[0]), text)


def _cut(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[: LONGEST_TEXT - 23]}...{text[-20:]}"


def closest(name: str, names: Collection[str], *, cutoff: float = 0.6) -> str | None:
    """Return the name that another one is probably a misspelling of; None if none is similar.

    Args:
        name: the name that is written. Its case does not count.
        names: the names that exist.
        cutoff: the smallest similarity, from 0 to 1.
    """
    by_lower_case = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=cutoff)
    return by_lower_case[close[0]] if close else None


def name_advice(name: str, names: Collection[str], kind: str) -> str:
    """Return the fix for an unknown name: the one that is probably meant, and all that exist.

    Args:
        name: the name that is written.
        names: the names that exist.
        kind: what they are, in the plural.
    """
    close = closest(name, names)
    hint = f"did you mean {close}? " if close else ""
    return f"{hint}known {kind}: {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its class if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def one_clear_error() -> Iterator[None]:
    """Print a user's mistake without a traceback and exit with code 2, if the block raises one.

    A missing permission for a file counts as a mistake, too.

    Raises:
        SystemExit: the block raised `DMTError`, or `PermissionError` for a file.
    """
    try:
        yield
    except DMTError as error:
        for line in str(error).splitlines():
            echo(f"axolotl-dmt: {line}", err=True)
        raise SystemExit(2) from None
    except PermissionError as error:
        if error.filename is None:
            raise
        message = f"{error.filename}: {error.strerror}; change its permissions"
        echo(f"axolotl-dmt: {message}", err=True)
        raise SystemExit(2) from None


@contextlib.contextmanager
def explain_load_errors(cfg: Mapping[str, Any]) -> Iterator[None]:
    """Turn an error of loading the base model's configuration or tokenizer into a `DMTError`.

    Args:
        cfg: Axolotl's configuration, raw or checked.

    Raises:
        DMTError: the block raised OSError: the model is neither a local folder nor available from
            the Hub.
    """
    try:
        yield
    except OSError as error:  # transformers raises it for all of these causes
        key = "tokenizer_config" if cfg.get("tokenizer_config") else "base_model"
        problem = f"{cfg.get(key)} could not be loaded ({first_line(error)})"
        fix = f"name a model's folder, or download it first: hf download {cfg.get('base_model')}"
        raise DMTError(key, problem, fix) from error
