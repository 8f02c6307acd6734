"""Guesses follow earlier text, grow while they are right, and shrink where they are wrong."""

from __future__ import annotations

import itertools

from axolotl_dmt.evaluation.guesses import FIRST_GUESS, Guesses


def test_a_guess_is_what_followed_the_last_tokens_before() -> None:
    guesses = Guesses([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3])
    assert guesses.next([], 3) == [4, 5, 6]
    assert guesses.next([4, 5, 6, 0], 3) == []  # nothing followed 6, 0 before
    assert guesses.next([4, 5, 6, 0, 5, 6], 3) == [0, 5, 6]
    assert guesses.next([4, 5, 6, 0, 5, 6, 0, 5, 7, 8], 3) == [9, 1, 2]


def test_the_longest_and_the_latest_match_counts() -> None:
    assert Guesses([5, 1, 2, 7, 9, 1, 2, 8, 5, 1, 2]).next([], 1) == [7]
    assert Guesses([1, 2, 7, 1, 2, 8, 1, 2]).next([], 1) == [8]


def test_a_text_that_repeats_itself_is_continued_without_end() -> None:
    guesses, answer = Guesses([9]), [4, 5, 6, 4, 5]
    guess = guesses.next(answer, 100)
    assert guess == [6, 4, 5, 6][:FIRST_GUESS]
    while len(guess) < 60:
        before = len(guess)
        answer += guess
        guess = guesses.next(answer, 60)
        assert len(guess) > before
    assert (answer + guess) == ([4, 5, 6] * 100)[: len(answer + guess)]


def test_a_guess_after_a_partly_wrong_one_is_shorter() -> None:
    guesses = Guesses([1, 2, 3, 4, 5, 6, 1, 2])
    assert guesses.next([], 9) == [3, 4, 5, 6]
    assert guesses.next([3, 4, 9, 1, 2], 9) == [3, 4, 9]


def test_wrong_guesses_are_followed_by_ever_longer_pauses() -> None:
    guesses, answer, guessed = Guesses([1, 2] * 4), [], []
    for token in range(10, 80):
        answer += [1, 2, token]  # 1, 2 was never followed by this
        if guesses.next(answer[:-1], 9):
            guessed.append(len(answer))
        assert not guesses.next(answer, 9)
    pauses = [b - a for a, b in itertools.pairwise(guessed)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 6 and 30 < pauses[-1] < 40


def test_texts_without_repetition_are_not_guessed() -> None:
    assert Guesses([]).next([], 9) == []
    assert Guesses([1]).next([2], 9) == []
    assert Guesses([1, 2, 3]).next([4, 5], 9) == []
