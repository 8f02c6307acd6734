"""Tokenises single rows as Axolotl prepares them for training, to read prompts from them."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from axolotl_dmt.console import logging_from
from axolotl_dmt.scoring.prompts import QUESTION, Template

Row = dict[str, Any]

IGNORED: Final = -100
"""The label of a token that is not trained on."""
OUR_CHAT: Final = "axolotl_dmt.chat"
ENOUGH_ROWS: Final = 5
WHO_IS_TRAINED: Final = (
    "roles_to_train",
    "train_on_eos",
    "train_on_eot",
    "message_field_training",
    "message_field_training_detail",
)
"""The keys of an entry that choose the trained tokens; their defaults label the answers alone."""


class NoFormatError(Exception):
    """Raised if the rows of a dataset show no prompt format; its text is the reason."""


@dataclass(frozen=True, kw_only=True)
class TrainedFormat:
    """The format of a dataset.

    Attributes:
        template: the format.
        row: the text of one trained row.
        ends_with_eos: whether an answer ends with the end-of-text token.
        gap: the white space with which a question ends, before the text of the format.
        exact: whether the question of the row is asked with the very tokens of the training.
    """

    template: Template
    row: str
    ends_with_eos: bool
    gap: str = ""
    exact: bool = True


class RowTokens:
    """Tokenises rows of one dataset.

    Attributes:
        cfg: Axolotl's configuration, under which only answers are trained.
        entry: the dataset's entry, likewise.
        kind: its type, or an empty string for a custom prompt.
        tokenizer: the tokenizer of the training.
    """

    def __init__(self, cfg: Any, entry: Any, tokenizer: Any) -> None:
        from axolotl.utils.dict import DictDefault

        # Only the answers are labelled, so that the labels show where they begin.
        self.cfg = DictDefault({**cfg, "train_on_inputs": False, "dataset_num_proc": None})
        self.entry = DictDefault({k: v for k, v in entry.items() if k not in WHO_IS_TRAINED})
        self.kind: str = self.entry.type if isinstance(self.entry.type, str) else ""
        self.tokenizer = tokenizer
        self._added_tokens = list(map(str, tokenizer.added_tokens_decoder.values()))
        self._spaced: dict[str, bool] = {}

    def tokenise(self, row: Row) -> tuple[Any, Any]:
        """Return the tokens and labels of a row.

        Raises:
            NoFormatError: the prompt strategy cannot read the row.
        """
        # Axolotl's own entry to every prompt strategy, which its loader of datasets calls too.
        from axolotl.utils.data.wrappers import get_dataset_wrapper
        from datasets import Dataset

        base, _, style = self.kind.partition(":")
        with _quietly():
            try:
                prepared, _ = get_dataset_wrapper(
                    dataset_config=self.entry,
                    tokenizer=self.tokenizer,
                    cfg=self.cfg,
                    dataset_base_type=base or None,
                    dataset=Dataset.from_list([row]),
                    dataset_prompt_style=style or None,
                )
                tokens = prepared[0]
                return np.asarray(tokens["input_ids"]), np.asarray(tokens["labels"])
            except Exception as error:  # of the prompt strategy
                raise NoFormatError(f"its type cannot tokenise a row ({error})") from error

    def decode(self, ids: Any) -> str:
        """Return the text of tokens, special ones included.

        Llama's older tokenizers begin the text after a special token with a space that the text
        does not have; it is removed.
        """
        text = self._decode(ids)
        for token in self._added_tokens:
            if f"{token} " in text and self._adds_space_after(token):
                text = text.replace(f"{token} ", token)
        return text

    def _decode(self, ids: Any) -> str:
        text: str = self.tokenizer.decode(
            list(map(int, ids)), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _adds_space_after(self, token: str) -> bool:
        """Whether decoding adds a space after an added token."""
        if token not in self._spaced:
            ids = self.tokenizer(f"{token}a", add_special_tokens=False)["input_ids"]
            self._spaced[token] = self._decode(ids) == f"{token} a"
        return self._spaced[token]

    def answer_start(self, ids: Any, labels: Any, question: str) -> int:
        """Return the position of the first trained token after a question.

        Raises:
            NoFormatError: there is none.
        """
        for start in answer_starts(labels):
            if question.strip() in self.decode(ids[:start]):
                return start
        raise NoFormatError("its question is not found before a trained answer")

    def strips(self, padded_row: Row, padded: str, text: str) -> bool:
        """Whether the format removes white space around a question.

        Args:
            padded_row: a row whose question has white space around it.
            padded: that question.
            text: the prompt of the same row without the white space.

        Raises:
            NoFormatError: the row cannot be tokenised.
        """
        ids, labels = self.tokenise(padded_row)
        rendered = self.decode(ids[: self.answer_start(ids, labels, padded)])
        return padded not in rendered and rendered == text

    def as_asked(self, first: str, question: str, ids: Any) -> tuple[str, bool, bool]:
        """Return the format such that lm-eval's tokens of a prompt are those of the training.

        lm-eval lets the tokenizer add its special tokens unless the text starts with the
        beginning-of-text token.

        Args:
            first: the format, decoded from tokens.
            question: the question of the row.
            ids: the tokens of its prompt.

        Returns:
            The format, whether the tokenizer adds its special tokens to it, and whether the tokens
            are then those of the training.
        """
        bos = self.tokenizer.bos_token or ""
        bare = first.removeprefix(bos) if bos else first
        candidates = [(text, True) for text in (bare, bare.removeprefix(" "), first)]
        trained = list(map(int, ids))
        # Of equally good ones, `max` returns the first.
        text, special = max(
            [*candidates, (first, False)],
            key=lambda item: self._tokens_alike(item[0], item[1], question, trained),
        )
        return text, special, self._tokens_alike(text, special, question, trained) > len(trained)

    def _tokens_alike(self, first: str, special: bool, question: str, trained: list[int]) -> int:
        """Return the number of tokens up to the first difference to those of the training."""
        bos, prompt = self.tokenizer.bos_token, first.replace(QUESTION, question)
        add = special and not (bos and prompt.startswith(bos))
        asked: list[int] = self.tokenizer(prompt, add_special_tokens=add)["input_ids"]
        pairs = zip(asked, trained, strict=False)
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        return same + (asked == trained)


def answer_starts(labels: Any) -> list[int]:
    """Return the positions at which a run of trained tokens begins."""
    trained = labels != IGNORED
    return [int(i) for i in np.flatnonzero(trained) if i == 0 or not trained[i - 1]]


def cut_question(text: str, question: str) -> str:
    """Return a prompt with `{question}` in place of its question.

    Raises:
        NoFormatError: the question occurs twice, so its place is not certain.
    """
    for part in (question, question.strip()):
        if text.count(part) == 1:
            return text.replace(part, QUESTION)
    raise NoFormatError("its question occurs more than once in the prompt")


def usual_format(
    formats: Iterator[Callable[[], TrainedFormat]], tried: int = ENOUGH_ROWS
) -> TrainedFormat:
    """Return the format that most of some rows show.

    Where an answer begins can depend on it: a tokenizer may join a space with a word, but not with
    a number.

    Args:
        formats: functions that return the format of one row, or raise `NoFormatError`.
        tried: the number of formats to compare.

    Raises:
        NoFormatError: no row shows a format.
    """
    found: list[TrainedFormat] = []
    errors: list[NoFormatError] = []
    for read in formats:
        try:
            found.append(read())
        except NoFormatError as error:
            errors.append(error)
        if len(found) == tried:
            break
    if not found:
        raise errors[0] if errors else NoFormatError("its columns name no question")
    counts = Counter(item.template.first for item in found)
    return max(found, key=lambda item: (counts[item.template.first], item.exact))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Turn off the progress bars of `datasets`, and Axolotl's line for each row, in the block."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with logging_from(logging.WARNING, "axolotl.utils.data.wrappers"):
            yield
    finally:
        if shown:
            datasets.enable_progress_bars()
