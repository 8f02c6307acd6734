r"""Find the contents of the boxes, `\boxed{...}`, in a text."""

from __future__ import annotations

import re

LONGEST = 2_000
"""Characters of a box; a longer one counts as cut off."""

_BOX = re.compile(r"\\(?:f?boxed|fbox)\b\s*")
_BRACE = re.compile(r"(?<!\\)[{}]")
# What may stand between two boxes that are parts of one answer: `\boxed{2} and x = \boxed{5}`.
_BETWEEN = re.compile(
    r"(?: \s | \$ | \\[()\[\],;!\ ] | \\q?quad\b | [a-zA-Z](?:_\{?\w\}?)?\s*= )*"
    r"(?: (?:,\s*)? (?:\band\b|\bor\b|\\text\s*\{\s*(?:and|or)\s*\}) | , | ; )"
    r"(?: \s | \$ | \\[()\[\],;!\ ] | \\q?quad\b | [a-zA-Z](?:_\{?\w\}?)?\s*= )*",
    re.VERBOSE,
)


def boxes(text: str) -> list[tuple[str, int, int]]:
    r"""Return the boxes of a text, in order: the content, where the box begins and where it ends.

    `\boxed 5` is a box, too. A box that was cut off extends to the end of its line. Boxes without
    content are left out. Of nested boxes only the outer one counts.
    """
    found: list[tuple[str, int, int]] = []
    position = 0
    while box := _BOX.search(text, position):
        content, position = _content(text, box.end())
        content = content.strip()
        if content.strip("$ .") and not re.fullmatch(r"\.{3}|…|\\[lc]?dots", content):
            found.append((content, box.start(), position))
    return found


def _content(text: str, start: int) -> tuple[str, int]:
    """Return the content of the box that begins at `start`, and where the box ends."""
    if text[start : start + 1] != "{":
        token = re.compile(r"-?\s*(?:\d[\d.,]*(?<![.,])|\\[a-zA-Z]+|\w)?").match(text, start)
        assert token is not None
        return token[0], max(token.end(), start)
    depth = 0
    for brace in _BRACE.finditer(text, start, start + LONGEST):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[start + 1 : brace.start()], brace.end()
    line = text[start + 1 : start + LONGEST].split("\n", 1)[0]
    return re.sub(r"[\s$.]*(?:\\[\])])?[\s.]*$", "", line), start + 1 + len(line)


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last box; None if the text has no box.

    Boxes that only a comma, `and` or `or` separates are one answer of several parts, so that
    `\boxed{2}` and `\boxed{5}` give `2, 5`. A part that is repeated counts once.
    """
    every = boxes(text)
    if not every:
        return None
    parts = [every[-1][0]]
    for (content, _, end), (_, start, _) in zip(every[-2::-1], every[:0:-1], strict=True):
        if not _BETWEEN.fullmatch(text[end:start]):
            break
        if content not in parts:
            parts.insert(0, content)
    return ", ".join(parts)
