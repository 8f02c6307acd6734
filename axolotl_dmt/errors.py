"""The one error for users' mistakes: where in the YAML, what is wrong, what would be right."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator


class DMTError(ValueError):
    """A mistake in what the user wrote, said in one line.

    Args:
        key: the YAML key, dotted and indexed as the user would find it (`dmt.stages[0].mix.math`),
            or the command-line option.
        problem: what is wrong with it, with the offending value.
        fix: what would be right, as something to type where that is possible.
    """

    def __init__(self, key: str, problem: str, fix: str) -> None:
        self.key, self.problem, self.fix = key, problem, fix
        super().__init__(f"{key}: {problem}; {fix}" if fix else f"{key}: {problem}")

    def __reduce__(self) -> tuple[type[DMTError], tuple[object, ...]]:
        # Exceptions are pickled by their one message, which these are not made from.
        return type(self), (self.key, self.problem, self.fix)


class DMTErrors(DMTError):
    """Several mistakes found in one pass, one a line."""

    def __init__(self, errors: Iterable[DMTError]) -> None:
        self.errors = tuple(errors)
        ValueError.__init__(self, "\n".join(str(error) for error in self.errors))
        first = self.errors[0]
        self.key, self.problem, self.fix = first.key, first.problem, first.fix

    def __reduce__(self) -> tuple[type[DMTError], tuple[object, ...]]:
        return type(self), (self.errors,)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its class if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def one_clear_error() -> Iterator[None]:
    """A user's mistake ends the process with its message, code 2 and no traceback."""
    try:
        yield
    except DMTError as error:
        for line in str(error).splitlines():
            print(f"axolotl-dmt: {line}", file=sys.stderr)
        raise SystemExit(2) from None
    except PermissionError as error:
        if error.filename is None:
            raise
        said = f"{error.filename}: {error.strerror}; change its rights"
        print(f"axolotl-dmt: {said}", file=sys.stderr)
        raise SystemExit(2) from None
