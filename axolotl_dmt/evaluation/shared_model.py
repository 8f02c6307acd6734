"""An lm-eval model that spreads its requests over all ranks of the training.

Only rank 0 runs lm-eval with its tasks, sandbox and judge; each rank answers a share of the
requests to the model. In lm-eval's own data parallelism each rank runs everything and the ranks
synchronise in a dozen places, where a rank that fails leaves the others waiting.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from axolotl_dmt.evaluation.scores import error_text
from axolotl_dmt.ranks import Ranks


class SharedModel(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """The live model on all ranks: rank 0 sends requests, the others `serve` until dismissed."""

    def __init__(
        self, model: Any, tokenizer: Any, batch_size: Any, ranks: Ranks, **arguments: Any
    ) -> None:
        # A copy, because lm-eval changes the tokenizer's padding.
        super().__init__(
            pretrained=model,
            tokenizer=copy.deepcopy(tokenizer),
            batch_size=batch_size,
            **arguments,
        )
        self.ranks = ranks
        self._rank = ranks.index  # only rank 0 shows progress

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> Any:
        """Answer the requests on all ranks."""
        return self._ask("loglikelihood", requests)

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> Any:
        """Answer the requests on all ranks."""
        return self._ask("loglikelihood_rolling", requests)

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> Any:
        """Answer the requests on all ranks."""
        return self._ask("generate_until", requests)

    def serve(self) -> None:
        """Answer shares of requests until rank 0 dismisses the others; for every rank but 0."""
        while (request := self.ranks.from_first(None)) is not None:
            self._answer_shares(*request)

    def dismiss(self) -> None:
        """Let the other ranks return from `serve`; for rank 0."""
        self.ranks.from_first(None)

    def _ask(self, kind: str, requests: Sequence[Instance]) -> list[Any]:
        """Send the requests to all ranks and return the answers in order; on rank 0."""
        if self.ranks.count == 1:
            answers: list[Any] = getattr(super(), kind)(requests)
            return answers
        arguments = [request.args for request in requests]
        self.ranks.from_first((kind, arguments))
        answers = [None] * len(arguments)
        for rank, (share, error) in enumerate(self._answer_shares(kind, arguments)):
            if error:
                raise RuntimeError(f"rank {rank}: {error}")
            answers[rank :: self.ranks.count] = share
        return answers

    def _answer_shares(
        self, kind: str, arguments: Sequence[Any]
    ) -> list[tuple[list[Any], str | None]]:
        """Answer this rank's share and return the answers, or the error, of every rank."""
        share = [
            Instance(request_type=kind, doc={}, arguments=request, idx=index)
            for index, request in enumerate(arguments[self.ranks.index :: self.ranks.count])
        ]
        answers: list[Any] = []
        error = None
        try:
            if share:
                answers = getattr(super(), kind)(share)
        except Exception as caught:
            error = error_text(caught)
        return self.ranks.gathered((answers, error))
