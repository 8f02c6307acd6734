"""The model that is being trained, as lm-eval's model on all ranks at once.

Rank 0 alone runs lm-eval: tasks, sandbox and judge. What lm-eval asks of the model there, every
rank answers a share of. lm-eval's own way has each rank run everything and gather in a dozen
places, where a rank that fails leaves the others waiting.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from axolotl_dmt.ranks import Ranks
from axolotl_dmt.scored import described


class SharedModel(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """All ranks make one; rank 0 asks it, then dismisses the others, which serve until then."""

    def __init__(self, model: Any, tokenizer: Any, batch_size: Any, ranks: Ranks) -> None:
        # lm-eval sets padding on the tokenizer it is given
        super().__init__(
            pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=batch_size
        )
        self.ranks = ranks
        self._rank = ranks.index  # only rank 0 shows progress

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> Any:
        """Share the requests out."""
        return self._ask("loglikelihood", requests)

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> Any:
        """Share the requests out."""
        return self._ask("loglikelihood_rolling", requests)

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> Any:
        """Share the requests out."""
        return self._ask("generate_until", requests)

    def serve(self) -> None:
        """On every rank but 0: answer shares until dismissed."""
        while (asked := self.ranks.from_first(None)) is not None:
            self._shares(*asked)

    def dismiss(self) -> None:
        """On rank 0: no more will be asked."""
        self.ranks.from_first(None)

    def _ask(self, kind: str, requests: Sequence[Instance]) -> list[Any]:
        if self.ranks.count == 1:
            answers: list[Any] = getattr(super(), kind)(requests)
            return answers
        questions = [request.args for request in requests]
        self.ranks.from_first((kind, questions))
        answers = [None] * len(questions)
        for rank, (share, error) in enumerate(self._shares(kind, questions)):
            if error:
                raise RuntimeError(f"rank {rank}: {error}")
            answers[rank :: self.ranks.count] = share
        return answers

    def _shares(self, kind: str, questions: Sequence[Any]) -> list[tuple[list[Any], str | None]]:
        mine = [
            Instance(request_type=kind, doc={}, arguments=arguments, idx=index)
            for index, arguments in enumerate(questions[self.ranks.index :: self.ranks.count])
        ]
        answers: list[Any] = []
        error = None
        try:
            if mine:
                answers = getattr(super(), kind)(mine)
        except Exception as caught:
            error = described(caught)
        return self.ranks.gathered((answers, error))
