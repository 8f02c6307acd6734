"""An lm-eval model that spreads its requests over all ranks of the training.

Only rank 0 runs lm-eval with its tasks, sandbox and judge; each rank answers a share of the
requests to the model. In lm-eval's own data parallelism each rank runs everything and the ranks
synchronise in a dozen places, where a rank that fails leaves the others waiting.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance

from axolotl_dmt.console import logging_from
from axolotl_dmt.evaluation.answering_model import AnsweringModel
from axolotl_dmt.evaluation.scores import error_text
from axolotl_dmt.ranks import Ranks

LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What tasks call the limit of an answer, the first of which counts."""


class SharedModel(AnsweringModel):
    """The live model on all ranks: rank 0 sends requests, the others `serve` until dismissed."""

    def __init__(
        self, model: Any, tokenizer: Any, batch_size: Any, ranks: Ranks, **arguments: Any
    ) -> None:
        # lm-eval warns about a loaded model, for which this module allows. The tokenizer is a
        # copy, because lm-eval changes its padding.
        with logging_from(logging.ERROR, "lm_eval.models.huggingface"):
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
            kind, shares = request
            self._answer_share(kind, shares[self.ranks.index])

    def dismiss(self) -> None:
        """Let the other ranks return from `serve`; for rank 0."""
        self.ranks.from_first(None)

    def _ask(self, kind: str, requests: Sequence[Instance]) -> list[Any]:
        """Send the requests to all ranks and return the answers in order; on rank 0."""
        if self.ranks.count == 1:
            alone: list[Any] = getattr(super(), kind)(requests)
            return alone
        questions = [(request.args, request.task_name) for request in requests]
        shares = balanced_shares([_expected_length(*q[0]) for q in questions], self.ranks.count)
        self.ranks.from_first((kind, [[questions[i] for i in share] for share in shares]))
        answers: list[Any] = [None] * len(questions)
        own = [questions[i] for i in shares[0]]
        for rank, (share, error) in enumerate(self._answer_share(kind, own)):
            if error:
                raise RuntimeError(f"rank {rank}: {error}")
            for i, answer in zip(shares[rank], share, strict=True):
                answers[i] = answer
        return answers

    def _answer_share(
        self, kind: str, questions: Sequence[tuple[Any, str | None]]
    ) -> list[tuple[list[Any], str | None]]:
        """Answer this rank's share and return the answers, or the error, of every rank."""
        requests = [
            Instance(
                request_type=kind, doc={}, arguments=args, idx=index, metadata=(task, index, 1)
            )
            for index, (args, task) in enumerate(questions)
        ]
        answers: list[Any] = []
        error = None
        before = self.generation.tokens
        try:
            if requests:
                answers = getattr(super(), kind)(requests)
        except Exception as caught:
            error = error_text(caught)
        gathered = self.ranks.gathered((answers, error, self.generation.tokens - before))
        self.generation.tokens = before + sum(tokens for _, _, tokens in gathered)
        return [(share, error) for share, error, _ in gathered]


def balanced_shares(lengths: Sequence[float], count: int) -> list[list[int]]:
    """Deal requests into shares of about the same total length.

    Args:
        lengths: the expected length of each request.
        count: the number of shares.

    Returns:
        The requests of each share by their positions in `lengths`.
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    totals = [0.0] * count
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        least = min(range(count), key=lambda share: (totals[share], len(shares[share]), share))
        shares[least].append(i)
        totals[least] += lengths[i]
    return shares


def _expected_length(text: Any, other: Any = None, *_: Any) -> float:
    """Return about how many tokens a request costs: its prompt, and the limit of its answer.

    A token of an answer costs about as much as many tokens of a prompt, and most answers end before
    their limit.
    """
    prompt = len(str(text)) / 4
    if isinstance(other, Mapping):
        limits = (other.get(key) for key in LIMITS)
        return prompt / 16 + float(next((limit for limit in limits if limit), 256))
    return prompt + len(str(other or "")) / 4
