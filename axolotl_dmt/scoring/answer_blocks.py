"""Split a model's answer into blocks of code: fenced ones, and code without a fence.

Fences are ``` or ~~~, at any indentation (in a list, say) and with any language; a fence that is
not closed reaches to the end. A fence inside a string of the code does not end its block.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

from axolotl_dmt.scoring.python_source import longest_program, parse

_OPENING = re.compile(
    r"^(?P<indent>[ \t]*(?:>[ \t]?)*(?:(?:[-*+]|\d+[.)])[ \t]+)?)"
    r"(?P<fence>`{3,}|~{3,})(?P<info>.*)$"
)
_PYTHON = re.compile(r"(?:i?python|py|sage)[\d.]*", re.IGNORECASE)
_LANGUAGE = re.compile(r"[\w+#.-]*")
_OTHER_LANGUAGES = frozenset(
    """
    bash sh shell zsh console powershell bat cmd text txt plaintext output json yaml toml xml html
    css sql js javascript ts typescript java c cpp c++ cs csharp c# go rust ruby rb php swift kotlin
    scala r perl lua haskell julia matlab diff markdown md latex
    """.split()  # noqa: SIM905
)
_TEXT = frozenset({"text", "txt", "plaintext"})
_CODE = re.compile(
    r"(?:async |def |class |@|import |from |if |for |while |try:|with )"
    r"|[A-Za-z_][\w.]* *(?:: *\w+ *)?="
)
_STRINGS = re.compile(
    r"(?P<quote>\"\"\"|''')(?:\\.|(?!(?P=quote)).)*(?P<end>(?P=quote))?"
    r"|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?|\#[^\n]*",
    re.DOTALL,
)
# After prose in its line, a fence opens a block if it names a language or follows a colon.
_OPENING_IN_LINE = re.compile(
    r"^(?P<prose>[^`]*(?:[^`\s](?=[ \t]*`{3,}[A-Za-z])|:))[ \t]*"
    r"(?P<fence>`{3,})(?P<info>\w*)[ \t]*$"
)
_MARKS = re.compile(
    r"\[/?(?:PYTHON|CODE|ANSWER|BEGIN|INST)\]|</?(?:python|code|pre|answer|solution)\b[^<>\n]*>"
)
_TAG = re.compile(r"^(?:\[/?[A-Z]{2,}\]|</?[a-z]+>)[ \t]*$")
_LABEL = re.compile(r"^[\w *#]{1,40}: *(?=(?:async )?def |class |import |from |@)")
_INLINE = re.compile(r"(?P<fence>`+)(?P<code>[^`\n]+)(?P=fence)")
_INLINE_LANGUAGE = re.compile(r"^(?:python\d?|py) +", re.IGNORECASE)
_MAX_FENCES_IN_A_STRING = 8


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of an answer that may be code.

    Attributes:
        code: Its text, without the indentation that the text around it gives it.
        fenced: Whether it stands in a fence.
        python: Whether it may be Python by the language that its fence names.
        tree: Its syntax tree; None if it is not Python.
    """

    code: str
    fenced: bool
    python: bool = True
    tree: ast.Module | None = field(default=None, repr=False)


def blocks_of(answer: str) -> list[Block]:
    """Return the blocks of an answer in their order."""
    found: list[Block] = []
    for piece in _pieces(answer.split("\n")):
        if piece.language is None:
            text = without_marks("\n".join(piece.lines))
            found += _bare_blocks([_LABEL.sub("", line) for line in text.split("\n")])
        elif piece.language.lower() in ("markdown", "md"):
            found += blocks_of("\n".join(piece.lines))
        else:
            found.append(_fenced_block(piece))
    return found


def inline_blocks(answer: str) -> list[Block]:
    """Return the code that stands between backticks inside a line."""
    spans = [_INLINE_LANGUAGE.sub("", match["code"].strip()) for match in _INLINE.finditer(answer)]
    return [Block(code=code, fenced=True, tree=parse(code)) for code in spans]


# Fences


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """A run of lines: a fenced block, or bare text, whose `language` is None."""

    lines: list[str]
    language: str | None = None
    closed: bool = True


def _pieces(lines: list[str]) -> Iterator[_Piece]:
    """Yield the pieces of an answer; bare text ends at [DONE], as answers to MBPP do."""
    bare: list[str] = []
    at = 0
    while at < len(lines):
        opening = _OPENING.match(lines[at])
        if (in_line := _OPENING_IN_LINE.match(lines[at])) and not opening:
            bare.append(in_line["prose"])
            lines = [*lines[:at], in_line["fence"] + in_line["info"], *lines[at + 1 :]]
            opening = _OPENING.match(lines[at])
        if not opening or _is_inline(opening):
            text, done, _ = lines[at].partition("[DONE]")
            bare.append(_without_closing(text))
            if done and any(line.strip() for line in bare):
                break
            at += 1
            continue
        yield _Piece(lines=bare)
        bare = []
        language, first = _info(opening["info"])
        inner, after = _inner_lines(lines, at + 1, opening["indent"], opening["fence"])
        if first:
            inner = [first, *inner]
        closed = at + len(inner) + 1 < len(lines) or after < len(lines)
        inner = _without_indent(inner, opening["indent"])
        yield _Piece(lines=inner, language=language, closed=closed)
        at = after
    yield _Piece(lines=bare)


def without_marks(text: str) -> str:
    """Return a text without the tags that models put around code, such as [PYTHON]."""
    return _MARKS.sub("", text)


def _without_closing(line: str) -> str:
    """Return a line of bare text without a fence at its end that nothing has opened."""
    code = line.rstrip()
    return code[:-3] if code.endswith("```") and code.count("```") == 1 else line


def _is_inline(opening: re.Match[str]) -> bool:
    return opening["fence"][0] == "`" and opening["fence"][:3] in opening["info"]


def _info(info: str) -> tuple[str, str]:
    """Return the language of a fence, and the code that follows it on the same line."""
    language = (_LANGUAGE.match(info.strip()) or [""])[0]
    for text in (info.strip(), info.strip()[len(language) :].strip()):
        if _CODE.match(text) and not re.match(r"\w+ *=", text):
            return ("" if text == info.strip() else language), text
    return language, ""


def _inner_lines(lines: list[str], at: int, indent: str, fence: str) -> tuple[list[str], int]:
    """Return the lines of the block that starts at a line, and the line at which the text goes on.

    A fence that a string of the code contains ends the block only if no later one leaves Python.
    """
    ends = []
    for end in range(at, len(lines)):
        line = lines[end].lstrip(" \t>")
        closes = line.startswith(fence)
        if not closes and not (line.rstrip().endswith(fence) and fence[0] == "`"):
            continue
        inner = lines[at:end]
        if not closes:
            inner = [*inner, lines[end].rstrip().rstrip("`")]
        # "```python" closes the block and opens the next one.
        language = line.rstrip()[len(fence) :].lstrip(fence[0]).strip().lower()
        opens = closes and (_PYTHON.fullmatch(language) or language in _OTHER_LANGUAGES)
        ends.append((inner, end if opens else end + 1))
        if not _inside_string("\n".join(inner)) or len(ends) > _MAX_FENCES_IN_A_STRING:
            break
    for inner, after in ends:
        if parse(textwrap.dedent("\n".join(_without_indent(inner, indent)))) is not None:
            return inner, after
    return ends[0] if ends else (lines[at:], len(lines))


def _inside_string(code: str) -> bool:
    """Whether a text ends inside a string in triple quotes."""
    return any(match["quote"] and not match["end"] for match in _STRINGS.finditer(code))


def _without_indent(lines: list[str], indent: str) -> list[str]:
    """Remove the indentation, and the quote marks, of a fence from the lines of its block."""
    if ">" in indent:
        lines = [re.sub(r"^[ \t]*>[ \t]?", "", line) for line in lines]
    width = len(indent)
    if all(not line[:width].strip(" \t") for line in lines):
        lines = [line[width:] for line in lines]
    return lines


def _fenced_block(piece: _Piece) -> Block:
    text = "\n".join(piece.lines)
    attempts = [text, textwrap.dedent(text)]
    if text[:1] in (" ", "\t"):
        attempts.append(text.lstrip(" \t"))
    if not piece.closed:  # the answer was cut off, perhaps after the program
        attempts += [_cut(code) for code in attempts]
    code = next((code for code in attempts if parse(code) is not None), text)
    named = (piece.language or "").strip("{}.").lower()
    tree = parse(code)
    python = named not in _OTHER_LANGUAGES or (named in _TEXT and tree is not None)
    return Block(code=code, fenced=True, python=python, tree=tree)


def _cut(code: str) -> str:
    """Return the part of a text that is Python; the text itself if its first line is not."""
    lines = code.split("\n")
    return "\n".join(lines[: longest_program(lines)]) or code


# Code without a fence


def _bare_blocks(lines: list[str]) -> list[Block]:
    """Return the code in a text without fences: what parses as Python, without the prose."""
    found = []
    at = 0
    while at < len(lines):
        count, code = _code_at(lines, at) if _starts_code(lines, at) else (0, "")
        if count:
            found.append(Block(code=code, fenced=False, tree=parse(code)))
        at += max(count, 1)
    return found


def _starts_code(lines: list[str], at: int) -> bool:
    return _CODE.match(lines[at].lstrip(" \t")) is not None


def _code_at(lines: list[str], at: int) -> tuple[int, str]:
    """Return the code that starts at a line, and how many lines it has."""
    margin = len(lines[at]) - len(lines[at].lstrip(" \t"))
    attempts = [[lines[at][margin:], *lines[at + 1 :]]]
    if margin:  # the whole code may be indented, or only its first line
        attempts.append(_dedented(lines[at:], margin))
    best: tuple[int, str] = (0, "")
    for attempt in attempts:
        end = next((i for i, line in enumerate(attempt) if _TAG.match(line)), len(attempt))
        count = longest_program(attempt[:end])
        count = _before_prose("\n".join(attempt[:count]), count)
        if count > best[0]:
            best = count, "\n".join(attempt[:count])
    return best


def _dedented(lines: list[str], margin: int) -> list[str]:
    """Return the lines that are indented at least that far, without that indentation."""
    end = next(
        (i for i, line in enumerate(lines) if line[:margin].strip(" \t") and line.strip()),
        len(lines),
    )
    return [line[margin:] for line in lines[:end]]


def _before_prose(code: str, count: int) -> int:
    """Return the number of lines before the first line that is Python only by accident.

    "Done", "Output: 8" and "- first" are valid expressions; so is what a program prints.
    """
    tree = parse(code)
    for number, item in enumerate(tree.body if tree else []):
        value = item.value if isinstance(item, ast.Expr) else None
        is_docstring = number == 0 and isinstance(value, ast.Constant)
        is_call = isinstance(value, (ast.Call, ast.Await))
        if (value and not is_call and not is_docstring) or (
            isinstance(item, ast.AnnAssign) and item.value is None
        ):
            return item.lineno - 1
    return count
