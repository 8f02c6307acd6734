"""Reads the prompt format of a domain from the way that Axolotl tokenises its rows.

A row is passed through the dataset's own prompt strategy, exactly as for training. What comes
before the first trained token of its answer is the prompt that the model learns to continue; with
the question cut out, it is the format of the domain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from axolotl_dmt.config.run_keys import tokenised_in_collator
from axolotl_dmt.evaluation.collated_chats import collated_format
from axolotl_dmt.evaluation.row_tokens import (
    OUR_CHAT,
    NoFormatError,
    Row,
    RowTokens,
    TrainedFormat,
    cut_question,
    usual_format,
)
from axolotl_dmt.evaluation.trained_chats import SAMPLE_ANSWER, SAMPLE_QUESTION, ChatRows
from axolotl_dmt.scoring.prompts import TEMPLATES, Template, turn_marks

QUESTIONS: Final = (
    "instruction",
    "question",
    "prompt",
    "problem",
    "query",
    "INSTRUCTION",
    "article",
    "input",
    "human",
    "message_1",
    "text",
)
"""Names of columns that hold a question, the likeliest first."""
ANSWERS: Final = ("answer", "response", "RESPONSE", "output", "completion", "solution", "summary")
SAMPLE_ROW: Final = {
    **dict.fromkeys(QUESTIONS, SAMPLE_QUESTION),
    **dict.fromkeys(ANSWERS, SAMPLE_ANSWER),
    "input": "",
}
"""A row that fits the strategies that read columns, for datasets whose rows cannot be read."""
NO_QUESTION: Final = ("completion", "pretrain", "input_output", "_synthetic")
TRIED_ROWS: Final = 8


def trained_format(
    cfg: Any,
    entry: Any,
    tokenizer: Any,
    rows: Sequence[Row] | None = None,
    *,
    chat_arguments: Mapping[str, Any] | None = None,
) -> TrainedFormat:
    """Return the format in which a dataset is trained.

    Args:
        cfg: Axolotl's configuration.
        entry: the dataset's entry in it.
        tokenizer: the tokenizer of the training.
        rows: some of the dataset's rows, if they can be read.
        chat_arguments: arguments of the chat template for the prompts only, such as
            `enable_thinking`.

    Raises:
        NoFormatError: the rows have no question that could be replaced.
    """
    try:
        if tokenised_in_collator(cfg):
            return collated_format(cfg, tokenizer)
        return _format(RowTokens(cfg, entry, tokenizer), list(rows or ()), chat_arguments or {})
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # Of a tokenizer without text, or of rows in a form that its strategy alone understands.
        reason = f"its format cannot be read ({type(error).__name__}: {error})"
        raise NoFormatError(reason) from error


def _format(tokens: RowTokens, rows: list[Row], chat_arguments: Mapping[str, Any]) -> TrainedFormat:
    if rows and {"input_ids", "labels"} <= set(rows[0]):
        raise NoFormatError("its rows are tokenised already")
    if tokens.kind.split(":")[0] in NO_QUESTION:
        raise NoFormatError(f"type {tokens.kind} has no question")
    if tokens.kind == OUR_CHAT or tokens.kind.split(".")[0] == "chat_template":
        return ChatRows(tokens, rows, chat_arguments).format()
    candidates = _candidates(tokens, rows)
    return usual_format(partial(_single_turn, tokens, row, column) for row, column in candidates)


def _candidates(tokens: RowTokens, rows: list[Row]) -> Iterator[tuple[Row, str]]:
    """Yield rows with the column of their question, the likeliest first."""
    kind, emptied = tokens.entry.type, "input"
    columns: Sequence[str] = QUESTIONS
    usable = rows or [dict(SAMPLE_ROW)]
    if not isinstance(kind, str):
        columns = (kind.field_instruction or "instruction",)
        emptied = kind.field_input or "input"
        sample = {columns[0]: SAMPLE_QUESTION, kind.field_output or "output": SAMPLE_ANSWER}
        usable = _most_common(rows, kind.field_system or "system") or [sample]
    for column in columns:
        texts = [row for row in usable if _is_text(row.get(column))]
        texts.sort(key=lambda row: -len(row[column][:400]))
        for row in texts[: TRIED_ROWS if rows else 1]:
            yield row if emptied == column or emptied not in row else {**row, emptied: ""}, column


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _single_turn(tokens: RowTokens, row: Row, column: str) -> TrainedFormat:
    """Return the format of a row whose question is in a column.

    Raises:
        NoFormatError: the column is not the question.
    """
    question = row[column]
    ids, labels = tokens.tokenise(row)
    start = tokens.answer_start(ids, labels, question)
    text = tokens.decode(ids[:start])
    padded = f"\n {question.strip()} \n"
    strips = tokens.strips({**row, column: padded}, padded, text)
    cut = cut_question(text, question)
    first, special_tokens, exact = tokens.as_asked(cut, question, ids[:start])
    ends_with_eos = bool(len(ids)) and int(ids[-1]) == tokens.tokenizer.eos_token_id
    eos = str(tokens.tokenizer.eos_token) if ends_with_eos else ""
    template = Template(
        first=first,
        later=_later(first, eos, tokens.tokenizer.bos_token or ""),
        stop=tuple(filter(None, (tokens.tokenizer.eos_token, *turn_marks(first)))),
        end=eos,
        trained=True,
        strips=strips,
        special_tokens=special_tokens,
    )
    return TrainedFormat(
        template=template,
        row=tokens.decode(ids),
        ends_with_eos=ends_with_eos,
        gap="" if strips else question[len(question.rstrip()) :],
        exact=exact,
    )


def _later(first: str, eos: str, bos: str) -> str:
    """Return a later turn: that of the named format with the same first turn, else a repetition."""
    for template in TEMPLATES.values():
        if template.first.strip() == first.strip():
            later = template.later.removeprefix("</s>")
            return eos + later.rstrip() + first[len(first.rstrip()) :]
    return f"{eos}\n\n{first.removeprefix(bos)}"


def _most_common(rows: Sequence[Row], column: str) -> list[Row]:
    """Return the rows with the most common value of a column."""
    counts = Counter(str(row.get(column)) for row in rows)
    common = counts.most_common(1)
    return [row for row in rows if str(row.get(column)) == common[0][0]]
