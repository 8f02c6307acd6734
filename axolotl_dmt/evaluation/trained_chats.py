"""Reads the prompt format of a dataset of conversations."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from axolotl_dmt.evaluation.row_tokens import (
    OUR_CHAT,
    NoFormatError,
    Row,
    RowTokens,
    TrainedFormat,
    answer_starts,
    cut_question,
    usual_format,
)
from axolotl_dmt.scoring.prompts import QUESTION, Template, turn_marks
from axolotl_dmt.scoring.thinking import after_thinking

Turn = tuple[Row, Row]
"""A question and its answer, as messages."""

SAMPLE_QUESTION, SAMPLE_ANSWER = "What is the capital of France?", "Paris."
SAMPLE_TURNS: Final = ((SAMPLE_QUESTION, SAMPLE_ANSWER), ("And which one has Spain?", "Madrid."))
TRIED_TURNS: Final = 8
SPECIAL: Final = re.compile(r"<\|[^|<>\s]+\|>")
"""A mark of a template that its tokenizer does not know as a special token."""


class ChatRows:
    """Conversations of one dataset, whose type is a chat template."""

    def __init__(
        self, tokens: RowTokens, rows: Sequence[Row], chat_arguments: Mapping[str, Any]
    ) -> None:
        self.tokens, self.rows, self.chat_arguments = tokens, rows, chat_arguments
        entry = tokens.entry
        mappings = entry.message_property_mappings or {}
        self.role, self.content = (
            str(mappings.get(name) or entry.get(f"message_field_{name}") or name)
            for name in ("role", "content")
        )
        self.column: str = entry.field_messages or "messages"

    def format(self) -> TrainedFormat:
        """Return the format, with the system message of most rows.

        Raises:
            NoFormatError: no turn shows it.
        """
        system, turns = self._sample()
        try:
            return self._usual(system, turns)
        except NoFormatError:  # for instance where the tokenizer does not keep an answer's text
            return self._usual(system, self._sample_turns())

    def _usual(self, system: list[Row], turns: list[Turn]) -> TrainedFormat:
        pairs = zip(turns, [*turns[1:], turns[0]], strict=True)
        return usual_format(partial(self._from_turns, system, *pair) for pair in pairs)

    def _from_turns(self, system: list[Row], turn: Turn, following: Turn) -> TrainedFormat:
        tokens, (question, answer) = self.tokens, turn
        asked = str(question[self.content]).strip()
        # Other columns of a row stay out of it, so that its template sees messages only.
        ids, labels = tokens.tokenise({self.column: [*system, question, answer]})
        start = tokens.answer_start(ids, labels, asked)
        text, whole = tokens.decode(ids[:start]), tokens.decode(ids)
        answered = self._answer_in(whole, answer)
        padded = f"\n {asked} \n"
        spaced = {**question, self.content: padded}
        plain = {**question, self.content: asked}
        ids_plain, labels_plain = tokens.tokenise({self.column: [*system, plain, answer]})
        unspaced = tokens.decode(ids_plain[: tokens.answer_start(ids_plain, labels_plain, asked)])
        strips = tokens.strips({self.column: [*system, spaced, answer]}, padded, unspaced)
        between, later = self._later([*system, plain, answer], asked, following)
        place = str(question[self.content])
        place = place if place in text else asked
        cut = cut_question(text, place)
        first, special_tokens, exact = tokens.as_asked(cut, place, ids[:start])
        if self.chat_arguments:
            closing = self._closing(asked)
            first, later = (
                f"{part.split(QUESTION)[0]}{QUESTION}{closing}" for part in (first, later)
            )
        end = whole[whole.rfind(answered) + len(answered) :]
        eos = tokens.tokenizer.eos_token or ""
        template = Template(
            first=first,
            later=later,
            stop=tuple(dict.fromkeys(filter(None, (eos, *self._marks(between))))),
            end=end,
            trained=True,
            strips=strips,
            special_tokens=special_tokens,
        )
        ends_with_eos = bool(eos) and end.lstrip().startswith(eos)
        return TrainedFormat(template=template, row=whole, ends_with_eos=ends_with_eos, exact=exact)

    def _answer_in(self, text: str, answer: Row) -> str:
        """Return an answer as it stands in a text, with its last white space if that is kept.

        Templates of thinking models set reasoning apart, and leave it out of earlier turns.

        Raises:
            NoFormatError: the text does not contain the answer.
        """
        said = str(answer[self.content])
        said = after_thinking(said).lstrip() or said.lstrip()
        for part in (said, said.rstrip()):
            if part in text:
                return part
        raise NoFormatError("its answer is not found in the trained row")

    def _later(self, before: list[Row], asked: str, following: Turn) -> tuple[str, str]:
        """Return the text between an answer and the next question, and the later turn."""
        tokens = self.tokens
        second = str(following[0][self.content]).strip()
        plain = {**following[0], self.content: second}
        ids, labels = tokens.tokenise({self.column: [*before, plain, following[1]]})
        whole = tokens.decode(ids)
        answered = self._answer_in(whole, before[-1])
        end = whole.find(answered, whole.find(asked) + len(asked)) + len(answered)
        place = whole.find(second, end)
        for start in answer_starts(labels):
            prompt = tokens.decode(ids[:start])
            if place >= 0 and len(prompt) >= place + len(second):
                between = whole[end:place]
                return between, f"{between}{QUESTION}{prompt[place + len(second) :]}"
        raise NoFormatError("its second question is not found before a trained answer")

    def _sample(self) -> tuple[list[Row], list[Turn]]:
        """Return the system message of most rows, if there is one, and some turns of the rows."""
        systems: list[Row | None] = []
        turns: list[Turn] = []
        for messages in filter(None, map(self._messages, self.rows)):
            systems.append(messages[0] if self._role(messages[0]) == "system" else None)
            turns += filter(self._is_turn, itertools.pairwise(messages))
        turns.sort(key=lambda turn: -len(turn[0][self.content][:400]))
        turns = turns[:TRIED_TURNS]
        if len(turns) < 2:
            turns += self._sample_turns()
        counts = Counter(None if item is None else item.get(self.content) for item in systems)
        common = counts.most_common(1)[0][0] if counts else None
        system = next((item for item in systems if item and item[self.content] == common), None)
        return [system] if system else [], turns

    def _sample_turns(self) -> list[Turn]:
        user, assistant = ("human", "gpt") if self.role == "from" else ("user", "assistant")
        return [
            ({self.role: user, self.content: q}, {self.role: assistant, self.content: a})
            for q, a in SAMPLE_TURNS
        ]

    def _messages(self, row: Row) -> list[Row] | None:
        messages = row.get(self.column)
        if isinstance(messages, list) and all(isinstance(m, dict) for m in messages):
            return messages or None
        if self.tokens.kind == OUR_CHAT:
            from axolotl_dmt.chat import messages_of

            return messages_of(row, self.tokens.entry)
        return None

    def _is_turn(self, pair: Turn) -> bool:
        roles = [self._role(message) for message in pair]
        texts = [message.get(self.content) for message in pair]
        filled = all(isinstance(text, str) and text.strip() for text in texts)
        return roles == ["user", "assistant"] and filled

    def _role(self, message: Row) -> str:
        role = str(message.get(self.role))
        return {"human": "user", "gpt": "assistant"}.get(role, role)

    def _marks(self, between: str) -> Iterator[str]:
        """Yield the special tokens between two turns, and the label of a turn without its own."""
        tokenizer = self.tokens.tokenizer
        known = {*map(str, tokenizer.added_tokens_decoder.values()), *tokenizer.all_special_tokens}
        known |= set(SPECIAL.findall(between))
        special = sorted((token for token in known if token in between), key=between.index)
        yield from special
        if not set(special) - {tokenizer.eos_token}:
            for token in special:
                between = between.replace(token, "\n")
            yield from turn_marks(f"{between}{QUESTION}")

    def _closing(self, question: str) -> str:
        """Return the text from a question to its answer under other template arguments."""
        from axolotl.utils.chat_templates import get_chat_template_from_config

        tokens = self.tokens
        text = tokens.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            chat_template=get_chat_template_from_config(tokens.cfg, tokens.entry, tokens.tokenizer),
            tokenize=False,
            add_generation_prompt=True,
            **{**(tokens.cfg.chat_template_kwargs or {}), **self.chat_arguments},
        )
        return str(text[text.rfind(question) + len(question) :])
