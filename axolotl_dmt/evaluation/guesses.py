"""Guesses the next tokens of an answer, which the model then checks in one forward pass.

A pass over some more tokens hardly takes longer while few answers are left, and those are often
answers that repeat themselves up to their limit. A guess is what followed when the last tokens
occurred before (prompt lookup decoding, https://github.com/apoorvumang/prompt-lookup-decoding). The
model's own choice decides, so a wrong guess changes no answer.
"""

from __future__ import annotations

from collections.abc import Sequence

LENGTHS = (3, 2)
"""How many of the last tokens must have occurred before, the surest first."""
FIRST_GUESS = 4
"""The most tokens of the first guess; the next one is longer or shorter as this one was right."""
LONGEST_SILENCE = 32
"""After how many tokens an answer whose guesses were all wrong is guessed again at the latest."""


class Guesses:
    """The guesses for one answer."""

    def __init__(self, prompt: Sequence[int]) -> None:
        """Begin with a prompt."""
        self._tokens = list(prompt)
        self._prompt = len(prompt)
        self._next: dict[tuple[int, ...], int] = {}
        self._indexed = 0
        self._guess: list[int] = []
        self._most = FIRST_GUESS
        self._silence = 1
        self._silent_until = 0

    def next(self, answer: Sequence[int], most: int) -> list[int]:
        """Return a guess of the tokens that follow an answer; empty if nothing suggests one.

        Args:
            answer: the answer so far, which begins with that of the call before.
            most: the most tokens to guess.
        """
        known = len(self._tokens) - self._prompt
        self._learn(answer[known:])
        self._tokens += answer[known:]
        self._index()
        self._guess = []
        if len(self._tokens) < self._silent_until:
            return []
        start = next((at for n in LENGTHS if (at := self._next.get(self._last(n)))), None)
        if start is not None:
            text = self._tokens.copy()
            for position in range(start, start + min(most, self._most)):
                text.append(text[position])  # a text that repeats itself has no end
            self._guess = text[len(self._tokens) :]
        return self._guess

    def _learn(self, came: Sequence[int]) -> None:
        """Guess more after a guess that was right; guess less, or pause, after one that was not."""
        if not self._guess:
            return
        pairs = enumerate(zip(self._guess, came, strict=False))
        right = next((i for i, (a, b) in pairs if a != b), min(len(self._guess), len(came)))
        self._most = 2 * right if right == len(self._guess) else right + 1
        self._silence = 1 if right else min(2 * self._silence, LONGEST_SILENCE)
        if not right:
            self._silent_until = len(self._tokens) + self._silence

    def _index(self) -> None:
        for position in range(max(self._indexed, 1), len(self._tokens)):
            for length in LENGTHS:
                if position >= length:
                    self._next[tuple(self._tokens[position - length : position])] = position
        self._indexed = len(self._tokens)

    def _last(self, length: int) -> tuple[int, ...]:
        return tuple(self._tokens[-length:])
