"""Read the program out of a model's answer to a programming task.

`program_of` reads the answers of all code tasks. The first of these rules that fits applies:

1. An answer that begins with an indented line continues the prompt, if that line starts the body of
   a function. The body ends at the first line that starts at the left margin. If it returns
   nothing, a block that defines the function comes before it.
2. The last fenced block that defines the function is the program, and runs whole.
3. Code without a fence that defines the function is the program, without the prose around it.
4. A block that has the function's `def` line and docstring only, and a block with a body after it,
   are one function.
5. Code between backticks in a line is the program if it defines the function.
6. A fenced body, or one without a fence whose indentation was lost, continues the prompt.

A program gets what it uses and does not define from the other blocks (imports, functions, classes
and constants), and everything that the prompt has before its function. What comes before `</think>`
is not part of the answer; neither is reasoning that was cut off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from axolotl_dmt.scoring import python_source as python
from axolotl_dmt.scoring.answer_blocks import Block, blocks_of, inline_blocks, without_marks
from axolotl_dmt.scoring.thinking import after_thinking

_LEADING_TABS = re.compile(r"^\t+")
_END = re.compile(r"(?:\s*(?:<\|[^|<>\s]*\|>|</s>))+\s*\Z")


def program_of(answer: str, names: Sequence[str], prompt: str = "") -> str:
    """Return the program that an answer contains; if it contains none, text that fails.

    Args:
        answer: The model's text.
        names: The functions, and perhaps classes, that the program has to define.
        prompt: What the answer may continue: imports, helpers, the `def` line of `names[0]`, and
            its docstring. Empty if the task has no such text.
    """
    answer = answer.replace("\r\n", "\n").replace("\r", "\n")
    answer = _END.sub("\n", after_thinking(answer)).removeprefix("\ufeff")
    preamble = _preamble(prompt, names)
    blocks = [block for block in blocks_of(answer) if block.python]
    program = _definition(blocks, names)
    body = _continuation(prompt, names, answer)
    if body and (program is None or python.returns(_at_least_indented(body))):
        return _complete(_join(prompt, body), blocks, names)
    program = program or _last_definition(inline_blocks(answer), names)
    if program is not None:
        return _complete(program.code, _others(blocks, program), names, preamble)
    if prompt and (body := _fenced_body(blocks) or _bare_body(prompt, answer)):
        return _complete(_join(prompt, body), blocks, names)
    return next((block.code for block in blocks if block.fenced), answer)


# The program


def _definition(blocks: list[Block], names: Sequence[str]) -> Block | None:
    """Return the block that is the program: fenced if possible, and complete if possible."""
    fenced = [block for block in blocks if block.fenced]
    bare = [block for block in blocks if not block.fenced]
    for group in (fenced, bare):
        if block := _last_definition(group, names):
            return block
    for number, block in enumerate(blocks):
        if _starts(block, names) and (whole := _with_body(block, blocks[number + 1 :], names)):
            return whole
    return next((block for block in reversed(blocks) if _starts(block, names)), None)


def _last_definition(blocks: list[Block], names: Sequence[str]) -> Block | None:
    """Return the last block that defines one of the names.

    A block that is not Python, but has the function's `def` line, is the program too: it was meant
    to be, and fails.
    """
    for block in reversed(blocks):
        tree = block.tree
        if tree and any(python.defines(tree, name) for name in names):
            return block
        if tree is None and _starts(block, names) and "\n" in block.code.strip():
            return block
    return None


def _starts(block: Block, names: Sequence[str]) -> bool:
    """Whether a block has the `def` or `class` line of one of the names, or assigns it."""
    return any(_def_line(name).search(block.code) for name in names)


def _def_line(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"^[ \t]*(?:(?:async )?def|class) +{re.escape(name)}\b|^{re.escape(name)} *=[^=]",
        re.MULTILINE,
    )


def _with_body(block: Block, later: list[Block], names: Sequence[str]) -> Block | None:
    """Return a block with a `def` line and docstring, joined with the body that follows it."""
    for other in later:
        code = _join(block.code.rstrip() + "\n", other.code)
        tree = python.parse(code)
        if tree and any(python.defines(tree, name) for name in names):
            return Block(code=code, fenced=True, tree=tree)
    return None


# The prompt


def _preamble(prompt: str, names: Sequence[str]) -> str:
    """Return what a prompt has before its function."""
    definition = _def_line(names[0]).search(prompt) if names else None
    return prompt[: definition.start()] if definition else ""


def _continuation(prompt: str, names: Sequence[str], answer: str) -> str:
    """Return the body with which an answer continues its prompt; empty if it does not."""
    if not prompt:
        return ""
    text = without_marks(answer).removeprefix("\n")
    text = text[1:] if text[:1] == " " and not text[1:2].isspace() else text
    first = next((line for line in text.split("\n") if line.strip()), "")
    if first[:1] not in (" ", "\t"):
        return ""
    before_fence = text.partition("```")[0]
    body = _as_body(prompt, _indented(before_fence)) or _as_body(prompt, _indented(text))
    return "" if any(_def_line(name).search(body) for name in names) else body


def _indented(text: str) -> str:
    """Return the lines up to the first that starts at the margin outside brackets and strings."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        starts_at_margin = line.strip() and line[0] not in (" ", "\t")
        if starts_at_margin and python.is_body(_at_least_indented("\n".join(lines[:number]))):
            return "\n".join(lines[:number]) + "\n"
    return text


def _as_body(prompt: str, text: str) -> str:
    """Return the longest start of a text that, joined with the prompt, is Python."""
    lines = text.split("\n")
    count = len(lines)
    while count and any(line.strip() for line in lines[:count]):
        joined = _join(prompt, "\n".join(lines[:count]))
        tree, line = python.parse_or_line(joined)
        if tree is not None:
            return "\n".join(lines[:count]) + "\n"
        count = min(count - 1, line - 1 - prompt.count("\n"))
        count = max(count, 0)
    return ""


def _fenced_body(blocks: list[Block]) -> str:
    """Return the last fenced body that returns a value, else the first fenced body."""
    texts = [block.code for block in blocks if block.fenced]
    bodies = [text for text in texts if python.is_body(_at_least_indented(text))]
    returning = [text for text in bodies if python.returns(_at_least_indented(text))]
    return (returning[-1:] or bodies[:1] or [""])[0]


def _at_least_indented(text: str) -> str:
    return _join("def body():\n", text).partition("\n")[2]


def _bare_body(prompt: str, answer: str) -> str:
    text = without_marks(answer).lstrip("\n")
    if text[:1] == " " and not text[1:2].isspace():
        text = text[1:]  # the space between "ASSISTANT:" and the answer
    lines = text.partition("```")[0].partition("\n~~~")[0].split("\n")
    starts = [i for i, line in enumerate(lines) if line.strip() and line[0] in (" ", "\t")]
    for start in starts[:1]:  # a body that is indented in the text, after prose
        body = _as_body(prompt, _indented("\n".join(lines[start:])))
        if start and not lines[start - 1].strip() and python.returns(_at_least_indented(body)):
            return body
    return _as_body(prompt, "\n".join(lines))


def _join(prompt: str, body: str) -> str:
    """Join a prompt and the body that continues it, and restore the body's lost indentation.

    Tokenizers that strip a leading space remove the indentation of the first line only; models that
    write the body into a fence often leave out that of all lines.
    """
    if not prompt.endswith("\n"):
        # The prompt may stop inside a line, so the text continues that line.
        return prompt + body
    last = next((line for line in reversed(prompt.split("\n")) if line.strip()), "")
    indent = _indent(last) or 4
    if last.rstrip().endswith(":"):
        indent += 4 if _indent(last) else 0
    lines = [_LEADING_TABS.sub(_spaces, line) for line in body.split("\n")]
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        return prompt + body
    missing = indent - _indent(lines[filled[0]])
    if missing < 0 and all(_indent(lines[i]) >= -missing for i in filled):
        lines = [line[-missing:] for line in lines]
    if missing > 0:
        opens = lines[filled[0]].rstrip().endswith(":")
        second = _indent(lines[filled[1]]) if len(filled) > 1 else indent + opens
        only_first = second >= indent + opens
        for i in filled[:1] if only_first else filled:
            lines[i] = " " * missing + lines[i]
    return prompt + "\n".join(lines)


def _spaces(tabs: re.Match[str]) -> str:
    return "    " * len(tabs[0])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


# What a program needs


def _others(blocks: list[Block], program: Block) -> list[Block]:
    """Return the other blocks, those before the program last: they are the first to be searched."""
    place = next((i for i, block in enumerate(blocks) if block is program), len(blocks))
    return [*reversed(blocks[place + 1 :]), *blocks[:place]]


def _complete(code: str, others: list[Block], names: Sequence[str], preamble: str = "") -> str:
    """Return a program with the prompt's preamble and with what it needs from other blocks."""
    helpers: list[str] = []
    while True:
        whole = "\n".join(part for part in (preamble, *helpers, code) if part)
        helper = _helper(whole, others, names)
        if helper is None or helper in helpers:
            return python.future_imports_first(whole)
        helpers.insert(0, helper)


def _helper(code: str, blocks: list[Block], names: Sequence[str]) -> str | None:
    """Return a statement of the other blocks that defines a name which the code lacks."""
    tree = python.parse(code)
    if tree is None:
        return None
    missing = python.missing_names(code)
    missing |= {name for name in names if not python.defines(tree, name)}
    if not missing:
        return None
    statements = [
        (block, item)
        for block in reversed(blocks)
        if block.tree
        for item in reversed(block.tree.body)
    ]
    for block, item in statements:
        if python.bound_names(item) & missing and not python.is_stub(item):
            return python.source_of(block.code, item)
    for block, item in statements:
        text = python.source_of(block.code, item)
        if "*" in python.bound_names(item) and text not in code:
            return text
    return None
