"""Runs of words that a text shares with an item of a benchmark."""

from __future__ import annotations

import random

import pytest

from axolotl_dmt.checks.ngrams import LONG, MOST_ITEMS, SHORT, NGramIndex


def words(seed: int, count: int) -> list[str]:
    numbers = random.Random(seed)
    return ["".join(numbers.choices("abcdefgh", k=6)) for _ in range(count)]


def text(*parts: list[str]) -> str:
    return " ".join(word for part in parts for word in part)


def pairs(items: list[str], texts: list[str]) -> list[tuple[int, int]]:
    return [(text, item) for text, item, *_ in NGramIndex(items).matches(texts).tolist()]


ITEM = words(0, 60)


@pytest.mark.parametrize(("count", "found"), [(LONG - 1, False), (LONG, True)])
def test_thirteen_words_in_a_row_contaminate(count: int, found: bool) -> None:
    row = text(words(1, 30), ITEM[20 : 20 + count], words(2, 30))
    assert pairs([text(ITEM)], ["other text", row]) == ([(1, 0)] if found else [])


def test_half_of_the_runs_of_eight_words_contaminate() -> None:
    short = words(3, 21)  # 14 runs of 8 words
    separate = [short[0:10], words(4, 1), short[10:20]]  # 3 + 3 of them
    assert pairs([text(short)], [text(*separate)]) == []
    more = [short[0:12], words(4, 1), short[11:20]]  # 5 + 2
    assert pairs([text(short)], [text(*more)]) == [(0, 0)]
    index = NGramIndex([text(short)])
    ((_, item, first, count),) = index.matches([text(*more)]).tolist()
    assert index.words(item, first, count) == text(short[:SHORT])


def test_the_same_run_twice_counts_once() -> None:
    short = words(3, 21)
    assert pairs([text(short)], [text(*[[*short[0:10], word] for word in words(4, 9)])]) == []


def test_case_punctuation_and_spaces_do_not_count() -> None:
    row = "; ".join(word.upper() for word in ITEM[:20]) + "!\n"
    assert pairs([text(ITEM)], [row]) == [(0, 0)]
    curly = "Janet’s ducks lay 16 eggs per day — she eats three for breakfast every morning"
    plain = "JANET'S ducks lay 16 eggs per day: she eats three, for breakfast; every morning"
    assert pairs([curly], [plain]) == [(0, 0)]
    assert pairs(["é " + curly.upper()], ["É" + curly[5:] + " x " + plain]) == [(0, 0)]


def test_a_script_without_spaces_has_words_too() -> None:
    item = "小明有三个苹果，小红给了他两个苹果，请问他现在一共有多少个苹果？"
    assert pairs([item], ["题目：" + item + "答案：五"]) == [(0, 0)]
    assert pairs([item], ["小明喜欢吃香蕉。"]) == []


def test_a_run_does_not_cross_from_one_text_to_the_next() -> None:
    assert pairs([text(ITEM)], [text(ITEM[:7]), text(ITEM[7:14])]) == []
    assert pairs([text(ITEM[:10]), text(ITEM[10:20])], [text(ITEM[5:15])]) == []


def test_what_many_items_have_in_common_does_not_contaminate() -> None:
    shared = words(5, 15)
    items = [text(shared, words(10 + n, 20)) for n in range(MOST_ITEMS + 1)]
    assert pairs(items, [text(shared)]) == []
    assert len(pairs(items[:-1], [text(shared)])) == MOST_ITEMS
    assert pairs(items, [items[3]]) == [(0, 3)]


def test_items_with_too_few_words_are_named_and_not_found() -> None:
    index = NGramIndex(["Hi there", text(ITEM), ""])
    assert index.too_short.tolist() == [0, 2]
    assert not len(index.matches(["Hi there", "", "Hi there Hi there"]))
    assert not len(NGramIndex(["Hi"]).matches(["Hi", text(ITEM)]))
    assert not len(index.matches([]))


def test_many_texts_give_what_each_gives_alone() -> None:
    items = [text(words(n, 30)) for n in range(50)]
    rows = [text(words(1000 + n, 400)) for n in range(1500)]  # several chunks of bytes
    for row, item in ((0, 7), (700, 8), (1499, 9)):
        rows[row] += f" {items[item]}"
    assert pairs(items, rows) == [(0, 7), (700, 8), (1499, 9)]
