"""Generates answers by continuous batching: a finished answer makes room for the next prompt.

In a static batch every answer waits for the longest. This loop runs in the calling thread, over the
model's ordinary forward pass and attention, so that an error surfaces where it happens, adapters
and quantised layers work, and nothing in the model has to be put back. Once few answers are left,
they take several tokens at a time where these can be guessed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from axolotl_dmt.evaluation.guesses import Guesses
from axolotl_dmt.evaluation.row_cache import (
    SPARE_COLUMNS,
    RowCache,
    attention_without_copies,
    bytes_per_token,
)

PREFILL_TOKENS = 4096
"""The most tokens, padding included, of the prompts that are read at once."""
SHORTEST_PREFIX = 32
"""The fewest tokens for which a shared beginning is read once instead of with every prompt."""

Choose = Callable[[torch.Tensor], torch.Tensor]
"""Returns the next token of each row from logits of shape [rows, vocabulary]."""
Guess = Callable[["Answer", int], Sequence[int]]
"""Returns at most so many tokens that may follow an answer."""


def most_likely(logits: torch.Tensor) -> torch.Tensor:
    """Return the most likely token of each row."""
    return logits.argmax(-1)


@dataclass(eq=False)
class Answer:
    """One prompt and its answer.

    Attributes:
        prompt: the prompt's tokens.
        limit: the most tokens of the answer.
        is_complete: whether the answer so far, a list of tokens, needs no further token.
        choose: selects the next token.
        guessable: whether `choose` gives the same token for the same logits, so that guessed tokens
            can be checked.
        group: prompts of one group, such as a task, may begin alike.
        tokens: the answer so far.
        is_finished: whether the answer has ended.
    """

    prompt: Sequence[int]
    limit: int
    is_complete: Callable[[list[int]], bool]
    choose: Choose
    guessable: bool = False
    group: str = ""
    tokens: list[int] = field(default_factory=list)
    is_finished: bool = False
    _guesses: Guesses | None = None

    def guess(self, most: int) -> Sequence[int]:
        """Return at most so many tokens that may follow."""
        if self._guesses is None:
            self._guesses = Guesses(self.prompt)
        return self._guesses.next(self.tokens, min(most, self.limit - len(self.tokens) - 1))

    def add(self, token: int) -> bool:
        """Add a token; return whether the answer is finished."""
        self.tokens.append(token)
        self.is_finished = len(self.tokens) >= self.limit or self.is_complete(self.tokens)
        return self.is_finished


class ContinuousBatch:
    """Generates answers with one model.

    Attributes:
        room: how many answers fit at once; 1 until the first prompt shows the size of a token.
        cache_size: the size of the keys and values in bytes.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        device: Any,
        *,
        most_rows: int,
        cache_bytes: float,
        most_tokens: int | None = None,
        by_column: bool = False,
        guess: Guess = Answer.guess,
    ) -> None:
        """Prepare the generation.

        Args:
            forward: the model's forward pass, which returns the logits of the last `columns`.
            device: where the model's inputs are.
            most_rows: the most answers at once.
            cache_bytes: the memory that keys and values may take.
            most_tokens: the most tokens of a step, guesses included; by default `most_rows`.
            by_column: whether the model's attention depends on the columns of the cache, as it does
                with sliding windows. Then nothing is guessed, and no beginning is shared.
            guess: guesses tokens.
        """
        self._forward, self._device, self._guess = forward, device, guess
        self._most_rows, self._bytes = most_rows, cache_bytes
        self._most_tokens, self._by_column = most_tokens or most_rows, by_column
        self._prefixes: dict[str, _Prefix] = {}
        self._cache: RowCache | None = None
        self._active: list[Answer] = []
        self.room = 1
        self.cache_size = 0

    def generate(
        self, answers: Sequence[Answer], on_finished: Callable[[], Any] = lambda: None
    ) -> None:
        """Generate the tokens of all answers.

        Args:
            answers: the answers, whose `tokens` are filled in.
            on_finished: is called after each finished answer.
        """
        # The longest go first: one that starts last would run alone at the end.
        queue = deque(sorted(answers, key=lambda a: (-a.limit, -len(a.prompt))))
        longest = max((len(a.prompt) + a.limit for a in answers), default=0)
        longest_prompt = max((len(a.prompt) for a in answers), default=0)
        with torch.no_grad(), attention_without_copies():
            self._prefixes = self._read_prefixes(answers)
            while queue or self._active:
                if queue and 4 * len(self._active) <= 3 * self.room:
                    admitted = [queue.popleft() for _ in range(self._free_rows(len(queue)))]
                    for chunk in _chunks(admitted, self._prefixes):
                        done = self._read_prompts(chunk, longest, longest_prompt, len(answers))
                        _repeat(on_finished, done)
                else:
                    _repeat(on_finished, self._step())
        self._cache = None

    def _free_rows(self, waiting: int) -> int:
        """Return how many prompts to read now; the first one shows how large the cache is."""
        return min(waiting, self.room - len(self._active))

    def _read_prefixes(self, answers: Sequence[Answer]) -> dict[str, _Prefix]:
        """Read what all prompts of a group begin with, once for each group."""
        if self._by_column:
            return {}
        sizes = Counter(answer.group for answer in answers)
        prefixes = {}
        for group, size in sizes.items():
            prompts = [answer.prompt for answer in answers if answer.group == group]
            length = _common_length(prompts) if size > 1 else 0
            if length >= SHORTEST_PREFIX:
                tokens = torch.tensor([prompts[0][:length]], device=self._device)
                cache = DynamicCache()
                self._forward(
                    input_ids=tokens,
                    attention_mask=torch.ones_like(tokens),
                    position_ids=torch.arange(length, device=self._device).unsqueeze(0),
                    past_key_values=cache,
                    columns=1,
                )
                prefixes[group] = _Prefix(length, cache)
        return prefixes

    def _read_prompts(
        self, answers: Sequence[Answer], longest: int, longest_prompt: int, total: int
    ) -> int:
        """Read prompts of one group, choose the first token of each, and add them to the batch.

        Returns:
            The number of answers that ended with their first token.
        """
        prefix = self._prefixes.get(answers[0].group)
        shared = prefix.length if prefix else 0
        texts = [answer.prompt[shared:] for answer in answers]
        width = max(map(len, texts))
        tokens = torch.tensor([[0] * (width - len(t)) + list(t) for t in texts])
        mask = torch.tensor(
            [[1] * shared + [0] * (width - len(t)) + [1] * len(t) for t in texts],
            device=self._device,
        )
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
        cache = prefix.repeated(len(answers)) if prefix else DynamicCache()
        logits = self._forward(
            input_ids=tokens.to(self._device),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            columns=1,
        )
        if self._cache is None:
            size = bytes_per_token(cache) * (longest + SPARE_COLUMNS)
            self.room = max(1, min(self._most_rows, total, int(self._bytes // size)))
            self.cache_size = self.room * size
            self._cache = RowCache(cache, self.room, longest, longest_prompt)
        finished = 0
        for row, (answer, chosen) in enumerate(zip(answers, _chosen(answers, logits), strict=True)):
            if answer.add(chosen[0]):
                finished += 1
                continue
            start = shared + width - len(texts[row])
            self._cache.add(cache, row, [(0, shared), (start, shared + width)])
            self._active.append(answer)
        return finished

    def _guessed(self) -> list[Sequence[int]]:
        """Return the guessed tokens of each answer; together they are no more than a full batch."""
        most = min(self._most_tokens // len(self._active), SPARE_COLUMNS) - 1
        if self._by_column or most < 1:
            return [()] * len(self._active)
        return [self._guess(a, most) if a.guessable else () for a in self._active]

    def _step(self) -> int:
        """Choose the next token of each answer; return the number of answers that ended."""
        assert self._cache is not None
        guesses = self._guessed()
        columns = 1 + max(map(len, guesses))
        inputs = [
            [answer.tokens[-1], *guess, *[0] * (columns - 1 - len(guess))]
            for answer, guess in zip(self._active, guesses, strict=True)
        ]
        mask, positions = self._cache.begin_tokens([1 + len(guess) for guess in guesses])
        logits = self._forward(
            input_ids=torch.tensor(inputs, device=self._device),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self._cache,
            columns=columns,
        )
        chosen = _chosen(self._active, logits)
        right = [
            _add(answer, guess, tokens)
            for answer, guess, tokens in zip(self._active, guesses, chosen, strict=True)
        ]
        self._cache.end_tokens([1 + count for count in right])
        ended = [row for row, answer in enumerate(self._active) if answer.is_finished]
        for row in reversed(ended):
            self._cache.remove(row)
            self._active[row] = self._active[-1]
            self._active.pop()
        return len(ended)


@dataclass(frozen=True)
class _Prefix:
    """The tokens that all prompts of a group begin with, as keys and values."""

    length: int
    cache: DynamicCache

    def repeated(self, rows: int) -> DynamicCache:
        """Return a cache of several rows that all begin with these tokens."""
        cache = DynamicCache()
        for index, layer in enumerate(self.cache.layers):
            keys, values = (s.expand(rows, -1, -1, -1) for s in (layer.keys, layer.values))
            cache.update(keys, values, index)
        return cache


def _chosen(answers: Sequence[Answer], logits: torch.Tensor) -> list[list[int]]:
    """Return the tokens after each column of each row; rows that choose alike do so together.

    Args:
        answers: the answer of each row.
        logits: of shape [rows, columns, vocabulary].
    """
    ways: dict[Choose, list[int]] = {}
    for row, answer in enumerate(answers):
        ways.setdefault(answer.choose, []).append(row)
    tokens: list[list[int]] = [[]] * len(answers)
    for choose, rows in ways.items():
        some = logits if len(rows) == len(answers) else logits[rows]
        chosen = choose(some.flatten(0, 1)).view(len(rows), -1).tolist()
        for row, columns in zip(rows, chosen, strict=True):
            tokens[row] = columns
    return tokens


def _add(answer: Answer, guess: Sequence[int], chosen: Sequence[int]) -> int:
    """Add the tokens that were chosen while the guess was right; return how much of it was."""
    right = 0
    while not answer.add(chosen[right]) and right < len(guess) and guess[right] == chosen[right]:
        right += 1
    return right


def _common_length(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, leaving at least one to each."""
    # What the first and the last in lexical order have in common, all have.
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    most = min(map(len, prompts)) - 1
    same = (i for i in range(most) if first[i] != last[i])
    return next(same, max(0, most))


def _chunks(answers: Iterable[Answer], prefixes: dict[str, _Prefix]) -> Iterable[list[Answer]]:
    """Yield prompts to read at once: of one group where it has a prefix, and of similar length."""
    chunk: list[Answer] = []
    key = None
    order = sorted(answers, key=lambda a: (a.group if a.group in prefixes else "", -len(a.prompt)))
    for answer in order:
        own = answer.group if answer.group in prefixes else None
        longest = max(len(a.prompt) for a in (*chunk, answer))
        if chunk and (own != key or (len(chunk) + 1) * longest > PREFILL_TOKENS):
            yield chunk
            chunk = []
        key = own
        chunk.append(answer)
    if chunk:
        yield chunk


def _repeat(act: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        act()
