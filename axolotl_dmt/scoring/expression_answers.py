r"""Read the final answer of a mathematical text, as an expression in LaTeX or plain notation.

`final_expression` looks for these, in this order, and takes the first that the text has:

1. the last box, `\boxed{...}`, with the boxes that `and`, `or` or a comma joins to it;
2. what follows the last `answer is`, `Answer:` or heading `Final answer`, or a later `####`;
3. the last formula, or the last number or value after `is` or `=`, of the last line with one.
"""

from __future__ import annotations

import re

from axolotl_dmt.scoring.answer_text import answer_part
from axolotl_dmt.scoring.boxes import last_boxed

LONGEST = 4_000
"""Characters at the end of a text in which an answer without a box is looked for."""

_EMPHASIS = re.compile(r"\*\*|__|(?<![\w\\*])\*(?=\S)|(?<=[^\s\\*])\*(?![\w*])|`")
_STATED = re.compile(
    r"\banswers?\b(?:[^.:=$\\\n]{0,60}?(?:\bis\b|\bare\b|[:=])|[ \t]*(?=\n))[ \t]*:?\s*",
    re.IGNORECASE,
)
_MARK = re.compile(r"^[ \t]*#{4,}[ \t]*(?=\S)(?P<rest>[^\n]*)", re.MULTILINE)
_FORMULA = re.compile(
    r"\$\$(?P<a>.{1,1500}?)\$\$|\\\[(?P<b>.{1,1500}?)\\\]|\\\((?P<c>.{1,1500}?)\\\)"
    r"|(?<!\\)\$(?P<d>(?:\\\$|[^$]){1,1500}?)(?<!\\)\$"
    r"|\\begin\{(?P<name>align\*?|aligned|equation\*?|gather\*?)\}(?P<e>.{1,1500}?)\\end\{(?P=name)\}",
    re.DOTALL,
)
_JOINED = re.compile(r"\s*(?:,?\s*\b(?:and|or)\b|,|;)\s*(?:[a-zA-Z]\s*=\s*)?$")
_ENOUGH = re.compile(
    r"(?:,|;)?\s*\b(?:since|because|so|which|where|as|at|for|if|when|i\.e\.)\b", re.I
)
_VERB = re.compile(r"(?:\b(?:is|are|equals?|get|be|gives?|obtain|have)\b:?|:|≈)\s+(?=\S)")
_ROUNDED = re.compile(r"[\s,(]*(?:or|which is)?\s*(?:about|approximately|roughly|≈|\\approx)\s*")
_VAGUE = re.compile(r"^(?:approximately|about|roughly|exactly|simply|just|only|also)\s+", re.I)
_IS_THE_ANSWER = re.compile(r"\s+is\s+(?:the\s+)?(?:final\s+|correct\s+)?(?:answer|correct)$", re.I)
_LAST_NUMBER = re.compile(r"(?<![\w.^\\])-?\d+(?:[.,/]\d+)*$")
_VALUE = re.compile(r"\d|\\[a-zA-Z]|[=^√π∞∅]")


def final_expression(text: str) -> str:
    """Return the expression that a text gives as its final answer; empty if it has none.

    The result is an expression where the text allows it, else a sentence that contains it.
    """
    text = answer_part(text)
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    text = _EMPHASIS.sub("", text[-LONGEST:])
    stated = [match.end() for match in _STATED.finditer(text) if text[match.end() :].strip(" .\n")]
    marked = [match.start("rest") for match in _MARK.finditer(text) if _is_value(match["rest"])]
    position = max(stated + marked, default=None)
    if position is not None:
        return _first_expression(text[position:])
    return _last_expression(text)


def boxed_expression(text: str) -> str | None:
    """Return the content of a text's last box, outside its reasoning; None if it has none."""
    return last_boxed(answer_part(text))


def _is_value(line: str) -> bool:
    """Return whether a line after `####` is an answer, and not a heading such as `Step 1`."""
    words = re.findall(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}", re.sub(r"\\[a-zA-Z]+\{[^{}]*\}", "", line))
    return len(words) <= 1 and _VALUE.search(line) is not None and not re.match(r"\d+[.):]\s", line)


def _content(formula: re.Match[str]) -> str:
    """Return what a formula's delimiters enclose; of several lines, the last one."""
    text = next(formula[group] for group in "abcde" if formula[group] is not None)
    return last_line(text)


def last_line(formula: str) -> str:
    r"""Return the last line of a formula of several lines that `\\` separates, as in `aligned`."""
    formula = re.sub(r"\\(?:begin|end)\{(?:align|aligned|equation|gather|split)\*?\}", "", formula)
    if re.search(r"\\begin\{", formula) or "\\\\" not in formula:
        return formula.replace("&", "").strip() if "\\begin" not in formula else formula.strip()
    lines = [line.replace("&", " ").strip() for line in re.split(r"\\\\(?:\[[^]]*\])?", formula)]
    return next((line.lstrip("= ") for line in reversed(lines) if line.strip(" .,=")), "")


def _first_expression(text: str) -> str:
    """Return the expression at the beginning of a text that states the answer."""
    text = text.lstrip(" \n\t:>-" if re.match(r"\s*[-:>]\s", text) else " \n\t:>")
    formula = _FORMULA.search(text)
    before = text[: formula.start()] if formula else text
    if formula and "\n" not in before.strip() and not _begins_with_value(before):
        while (after := _FORMULA.search(text, formula.end())) and re.fullmatch(
            r"\s*(?:is|equals|=|are)\s*:?\s*", text[formula.end() : after.start()]
        ):
            formula = after
        return _with_joined(text, formula)
    return _plain_expression(_first_sentence(text))


def _begins_with_value(text: str) -> bool:
    return re.match(r"\s*[-−+(\[]?\s*[$€£]?\s*(?:\d|\\(?:d|t)?frac|\\sqrt|\\pi)", text) is not None


def _with_joined(text: str, first: re.Match[str]) -> str:
    """Return a formula with those after it that `and`, `or` or a comma joins to it."""
    parts, last = [_content(first)], first
    while (after := _FORMULA.search(text, last.end())) and _JOINED.fullmatch(
        text[last.end() : after.start()]
    ):
        parts.append(_content(after))
        last = after
    unit = re.match(r"\s*(?:\\?%|°|percent\b)", text[last.end() :])
    return ", ".join(parts) + ("\\%" if unit and "°" not in unit[0] else "")


def _first_sentence(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    return re.split(r"(?<=[^.\s])[.!?](?=\s+[A-Z(*]|\s*$)|(?<=\w\.)\s(?=[A-Z][a-z])", line)[
        0
    ].strip()


def _after_verb(sentence: str) -> str:
    """Return what follows the last `is`, `equals` or the like; the whole sentence without one."""
    ends = [verb.end() for verb in _VERB.finditer(sentence)]
    return sentence[ends[-1] :].strip() if ends else sentence.strip()


def _plain_expression(sentence: str) -> str:
    """Return the expression of a sentence without formulas, cut after the value that it states."""
    sentence = re.sub(r"\s*\((?=[^()]*[a-zA-Z]{3})[^()]*\)\s*$", "", sentence.strip())
    sentence = re.split(r"\s+\((?=[^()]*[a-zA-Z]{2,}[^()]*\))", sentence)[0]
    cut = _ENOUGH.search(sentence)
    if cut and _VALUE.search(sentence[: cut.start()]):
        sentence = sentence[: cut.start()]
    sentence = _VAGUE.sub("", sentence.strip())
    sides = sentence.split("=")
    if len(sides) > 1 and re.search(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}", sides[0]):
        sentence = sides[-1]
    sentence = sentence.strip(' .,;:!"“”')
    while sentence.endswith((")", "]")) and not re.search(r"[(\[]", sentence):
        sentence = sentence[:-1]
    words = re.findall(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}", sentence)
    number = _LAST_NUMBER.search(sentence)
    return number[0] if len(words) > 1 and number else sentence


def _last_expression(text: str) -> str:
    """Return the last expression of a text that does not say which one is its answer."""
    formulas = list(_FORMULA.finditer(text))
    masked = _FORMULA.sub(lambda match: "\x00" * len(match[0]), text)
    end = len(masked)
    for line in reversed(masked.split("\n")):
        start = end - len(line)
        if "\x00" in line or _VALUE.search(line):
            return _of_line(text, masked, start, end, formulas)
        end = start - 1
    lines = text.strip().splitlines()
    if not lines:
        return ""
    return _after_verb(lines[-1]).strip(" .")


def _of_line(text: str, masked: str, start: int, end: int, formulas: list[re.Match[str]]) -> str:
    """Return the last expression of one line, which is `text[start:end]`."""
    line = masked[start:end]
    last_formula, last_number = line.rfind("\x00"), -1
    for number in re.finditer(r"(?<![\w^])\d[\d.,/]*", line):
        last_number = number.start()
    if last_formula > last_number:
        position = start + last_formula
        last = next(index for index, f in enumerate(formulas) if f.start() <= position < f.end())
        while last and _ROUNDED.fullmatch(text[formulas[last - 1].end() : formulas[last].start()]):
            last -= 1  # `$1/3$ or about $33\\%$`
        first = last
        while first and _JOINED.fullmatch(
            text[formulas[first - 1].end() : formulas[first].start()]
        ):
            first -= 1
        if not re.search(r"\brather\b", text[formulas[first].end() : formulas[last].start()]):
            return _with_joined(text, formulas[first])
        return _content(formulas[last])
    sentences = re.split(r"(?<=[^.\s])[.!?]\s+(?=[A-Z(*\x00])", text[start:end].strip())
    sentence = next((s for s in reversed(sentences) if _VALUE.search(s)), sentences[-1])
    if statement := _IS_THE_ANSWER.search(sentence.rstrip(" .!")):
        return _plain_expression(sentence[: statement.start()])
    return _plain_expression(_after_verb(sentence))
