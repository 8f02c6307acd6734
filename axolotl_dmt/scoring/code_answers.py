"""Cut the program out of a model's answer to a programming task.

An answer is turned into a program in the first of these ways that fits:

* Text that begins indented continues the prompt, up to the first line that starts something new at
  the left margin.
* A fenced block that defines the function is the program, preceded by what the prompt has before
  its function (imports and helpers). Any other fenced block continues the prompt.
* Text that defines the function is the program too, without the prose around it.
* Any other text continues the prompt.

Tokenizers that strip a leading space remove the indentation of a continuation's first line; such a
line gets its indentation back.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)

# Human-eval's stop sequences, and the text with which a chat model ends its answer.
_NEXT_BLOCK = re.compile(r"^(?:async |def |class |print|if |@|#|```|\[DONE\])", re.MULTILINE)

_CODE_LINE = re.compile(r"(?:async |def |class |@|import |from |#|[)\]}]|[A-Za-z_][\w.]* *=)")


def candidate_code(prompt: str, entry_point: str, answer: str) -> str:
    """Return the program that an answer to a HumanEval prompt contains.

    Args:
        prompt: What comes before the function's body: imports, helpers, `def` line, docstring.
        entry_point: The function's name.
        answer: The model's text: a continuation of the prompt, or a chat answer.
    """
    if answer[:1] == " " and not answer[1:2].isspace():
        answer = answer[1:]  # the space between "ASSISTANT:" and the answer
    first = next((line for line in answer.split("\n") if line.strip()), "")
    if first[:1].isspace() and not first.lstrip().startswith("```"):
        return _join(prompt, _until_next_block(answer))
    fenced = first_block(answer)
    if fenced is not None:
        if _defines(fenced, entry_point):
            return _preamble(prompt, entry_point) + fenced
        return _join(prompt, fenced)
    if _defines(answer, entry_point):
        return _preamble(prompt, entry_point) + _without_prose(answer, entry_point)
    return _join(prompt, _until_next_block(answer))


def first_block(answer: str) -> str | None:
    """Return the content of an answer's first fenced block; None if it has no such block.

    A block that is not closed, as in a truncated answer, extends to the end.
    """
    block = _FENCE.search(answer)
    return block[1] if block else None


def _definition(entry_point: str) -> re.Pattern[str]:
    return re.compile(rf"^(?:async )?def {re.escape(entry_point)}\b", re.MULTILINE)


def _defines(code: str, entry_point: str) -> bool:
    return _definition(entry_point).search(code) is not None


def _preamble(prompt: str, entry_point: str) -> str:
    """Return what a prompt has before its function."""
    definition = _definition(entry_point).search(prompt)
    return prompt[: definition.start()] if definition else ""


def _until_next_block(text: str) -> str:
    """Return a function's body without what the model wrote after it."""
    lead = len(text) - len(text.lstrip())
    next_block = _NEXT_BLOCK.search(
        text, text.find("\n", lead) + 1 if "\n" in text[lead:] else len(text)
    )
    return text[: next_block.start()] if next_block else text


def _without_prose(text: str, entry_point: str) -> str:
    """Return the code in a text without fences: from its first code line to the prose after it."""
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if _CODE_LINE.match(line))
    code, defined = [], False
    for line in lines[start:]:
        if defined and line.strip() and not line[0].isspace() and not _CODE_LINE.match(line):
            break
        defined = defined or _defines(line, entry_point)
        code.append(line)
    return "\n".join(code) + "\n"


def _join(prompt: str, body: str) -> str:
    """Join a prompt and the body that continues it, and restore the body's lost indentation."""
    if not prompt.endswith("\n"):
        # The prompt may stop inside a line, so the text continues that line.
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
