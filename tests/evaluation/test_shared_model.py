"""Ranks divide the requests, and rank 0 gets all answers in order."""

from __future__ import annotations

from typing import Any

import pytest

from axolotl_dmt.evaluation.answering_model import Generation
from axolotl_dmt.evaluation.batching import Batching
from axolotl_dmt.evaluation.shared_model import SharedModel, balanced_shares
from tests.evaluation.test_answering_model import TOKENIZER, make, plain, requests


class Rank1:
    """Rank 1 of two: receives what rank 0 has sent, and keeps what it contributes."""

    index, count = 1, 2

    def __init__(self, messages: list[Any]) -> None:
        self._messages, self.contributed = messages, []

    def from_first(self, value: Any) -> Any:
        return self._messages.pop(0) if self._messages else None

    def gathered(self, value: Any) -> list[Any]:
        self.contributed.append(value)
        return [([], None, 0), value]


class Rank0:
    """Rank 0 of two, which lets rank 1 act in this process whenever the two exchange results."""

    index, count = 0, 2

    def __init__(self, model: Any) -> None:
        self._model, self._messages = model, []

    def from_first(self, value: Any) -> Any:
        self._messages.append(value)
        return value

    def gathered(self, value: Any) -> list[Any]:
        other = Rank1(self._messages)
        shared(self._model, other).serve()
        return [value, *other.contributed]


def shared(model: Any, ranks: Any) -> SharedModel:
    return SharedModel(model, TOKENIZER, 4, ranks, batching=Batching())


def test_two_ranks_answer_as_one() -> None:
    model = make("llama")
    expected = plain(model, requests())
    alone = shared(model, type("Alone", (), {"index": 0, "count": 1})())
    assert alone.generate_until(requests()) == expected
    both = shared(model, Rank0(model))
    assert both.generate_until(requests()) == expected
    assert both.generation.tokens == alone.generation.tokens
    assert both.generation.to_json()["tokens_per_second"] > 0


def test_lm_eval_does_not_warn_of_the_loaded_model(caplog: pytest.LogCaptureFixture) -> None:
    shared(make("llama"), type("Alone", (), {"index": 0, "count": 1})())
    assert not [record for record in caplog.records if record.name.startswith("lm_eval")]


def test_an_error_of_another_rank_is_raised_on_rank_0(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama")
    original = SharedModel.tok_batch_encode

    def fail(self: SharedModel, *args: Any, **kwargs: Any) -> Any:
        if self.ranks.index == 1:
            raise OSError("the disk is full")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(SharedModel, "tok_batch_encode", fail)
    with pytest.raises(RuntimeError, match="rank 1: OSError: the disk is full"):
        shared(model, Rank0(model)).generate_until(requests())


def test_shares_have_about_the_same_length() -> None:
    lengths = [512.0] * 7 + [1280.0] * 5 + [3.0]
    shares = balanced_shares(lengths, 3)
    assert sorted(i for share in shares for i in share) == list(range(13))
    totals = [sum(lengths[i] for i in share) for share in shares]
    assert max(totals) - min(totals) <= 1280
    assert balanced_shares([1.0, 2.0], 4) == [[1], [0], [], []]


def test_no_rate_is_given_where_nothing_was_generated() -> None:
    assert Generation().to_json()["tokens_per_second"] == 0.0
