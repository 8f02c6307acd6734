"""The training loss of each domain, from the losses of tokens that the model computes anyway.

The model's loss function is replaced by one that notes the loss of each token before they are added
up. The plan says which rows a micro batch holds, so no data travels with the batch. The sums stay
on the device and are read where the trainer logs its own loss.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers.loss import loss_utils

from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.training.log import LOG
from axolotl_dmt.training.tokenised_rows import IGNORED

PREFIX = "loss/"
"""What the name of a domain's loss in the trainer's log begins with."""


class PlannedDomains:
    """Finds the domain of each row or token of a micro batch from the plan.

    Attributes:
        names: the names of the domains; a domain's number is its index.
        nothing: the number that stands for blank rows and padding.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        domains: Sequence[Domain],
        *,
        accumulation: int,
        ranks: int,
        rank: int,
        pads_left: bool = False,
    ) -> None:
        """Describe how the plan's rows are dealt to the ranks.

        Args:
            plan: the plan.
            domains: the domains of the pool, in its order.
            accumulation: micro batches of a step on one rank.
            ranks: number of ranks; micro batch m of a step goes to rank m modulo ranks.
            rank: this rank.
            pads_left: whether shorter packs are padded at their start.
        """
        self.plan, self.accumulation, self.ranks, self.rank = plan, accumulation, ranks, rank
        self.names = [domain.name for domain in domains]
        self.nothing = len(self.names)
        self.pads_left = pads_left
        self._ends = np.cumsum([domain.rows for domain in domains])
        self._lengths = _column([domain.lengths for domain in domains])
        self._trained = _column([domain.trained for domain in domains])
        if any(stage.settings.train_on_inputs is not None for stage in plan.stages):
            self._trained = None  # then the number depends on the stage

    def rows(self, step: int, micro_batch: int) -> list[NDArray[np.int64]]:
        """Return the rows of each sequence of a micro batch; -1 is a blank.

        Args:
            step: the optimiser step, from 0.
            micro_batch: the number of the micro batch on this rank, from 0.
        """
        share = self.accumulation * self.ranks
        number = micro_batch * self.ranks + self.rank
        offsets = self.plan.pack_offsets
        if offsets is None or self.plan.packs_per_step is None:
            size = self.plan.global_batch // share
            first = step * self.plan.global_batch + number * size
            return [np.asarray([row]) for row in self.plan.order[first : first + size]]
        size = self.plan.packs_per_step // share
        first = step * self.plan.packs_per_step + number * size
        bounds = offsets[first : first + size + 1].tolist()
        return [np.asarray(self.plan.order[start:stop]) for start, stop in pairwise(bounds)]

    def of_tokens(self, rows: Sequence[NDArray[np.int64]], width: int) -> NDArray[np.int64] | None:
        """Return the domain of each token, shape (sequences, width), or of each sequence.

        Args:
            rows: the rows of each sequence.
            width: tokens of a sequence with its padding.

        Returns:
            With one row in each sequence, shape (sequences, 1). None if the rows do not fit.
        """
        if self.plan.pack_offsets is None:
            return np.stack([self._domain(row) for row in rows])
        if self._lengths is None:
            return None
        domains = np.full((len(rows), width), self.nothing)
        for line, packed in zip(domains, rows, strict=True):
            real = packed[packed >= 0]
            tokens = np.repeat(self._domain(real), self._lengths[real])
            if len(tokens) > width:
                return None
            start = width - len(tokens) if self.pads_left else 0
            line[start : start + len(tokens)] = tokens
        return domains

    def _domain(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        found = np.searchsorted(self._ends, rows, side="right")
        return np.where(rows < 0, self.nothing, found)

    def trained_tokens(self, rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64] | None:
        """Return the trained tokens of each domain in some sequences; None where unknown."""
        if self._trained is None:
            return None
        every = np.concatenate(rows)
        every = every[every >= 0]
        counts = np.bincount(self._domain(every), self._trained[every], self.nothing + 1)
        return counts[: self.nothing].astype(np.int64)


def _column(parts: Sequence[Any]) -> NDArray[np.int64] | None:
    return None if any(part is None for part in parts) else np.concatenate(parts).astype(np.int64)


class DomainLosses:
    """Adds up the losses of the tokens of each domain while a model trains.

    It takes the place of the model's loss function, and returns the same loss.
    """

    def __init__(self, planned: PlannedDomains) -> None:
        self.planned = planned
        self.failure: str | None = None
        self._step, self._micro_batch = -1, 0
        self._checked_stages: set[int] = set()
        self._domains: torch.Tensor | None = None
        self._sums: torch.Tensor | None = None
        self._was_called = False

    @classmethod
    def attach(cls, model: Any, planned: PlannedDomains) -> DomainLosses | None:
        """Put a new instance in the place of a model's loss function.

        Returns:
            None if the model has another loss function than that of causal language models.
        """
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        if getattr(base, "loss_function", None) is not loss_utils.ForCausalLMLoss:
            return None
        losses = cls(planned)
        base.loss_function = losses
        return losses

    @contextlib.contextmanager
    def watching(self, step: int, labels: torch.Tensor | None) -> Iterator[None]:
        """On entry, expect the loss of the next micro batch; on exit, check that it came.

        Args:
            step: the optimiser step, from 0.
            labels: the labels of the micro batch; None does not count it.
        """
        if step != self._step:
            self._step, self._micro_batch = step, 0
        micro_batch, self._micro_batch = self._micro_batch, self._micro_batch + 1
        if self.failure is None and labels is not None:
            self._domains = self._expected(step, micro_batch, labels)
        self._was_called = self._domains is None
        try:
            yield
            if not self._was_called:
                self._fail("the model computes its loss without logits, as with Liger or CCE")
        finally:
            self._domains = None

    def _expected(self, step: int, micro_batch: int, labels: torch.Tensor) -> torch.Tensor | None:
        """Return the domain of each token or sequence of a micro batch; None if it is unknown."""
        rows = self.planned.rows(step, micro_batch)
        domains = None
        if len(rows) == labels.shape[0]:
            domains = self.planned.of_tokens(rows, labels.shape[1])
        stage = self.planned.plan.stage_at(step)
        if domains is not None and stage not in self._checked_stages:
            self._checked_stages.add(stage)
            if not self._agrees(domains, rows, labels):
                domains = None
        if domains is None:
            self._fail("the batches are not those of the plan")
            return None
        return torch.from_numpy(domains).to(labels.device, non_blocking=True)

    def _agrees(
        self, domains: NDArray[np.int64], rows: Sequence[NDArray[np.int64]], labels: torch.Tensor
    ) -> bool:
        """Whether the labels have as many trained tokens of each domain as the plan says."""
        trained = self.planned.trained_tokens(rows)
        if trained is None:
            return True
        is_trained = (labels != IGNORED).cpu().numpy()
        found = np.broadcast_to(domains, is_trained.shape)[is_trained]
        counts = np.bincount(found, minlength=self.planned.nothing + 1)
        return bool((counts[: self.planned.nothing] == trained).all())

    def _fail(self, reason: str) -> None:
        self.failure = reason

    def __call__(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        vocab_size: int,
        num_items_in_batch: Any = None,
        ignore_index: int = IGNORED,
        shift_labels: torch.Tensor | None = None,
        **arguments: Any,
    ) -> torch.Tensor:
        """Return the loss, as `transformers.loss.loss_utils.ForCausalLMLoss` does."""
        domains = self._domains
        if domains is None or self._was_called or shift_labels is not None:
            unwatched: torch.Tensor = loss_utils.ForCausalLMLoss(
                logits,
                labels,
                vocab_size,
                num_items_in_batch,
                ignore_index,
                shift_labels,
                **arguments,
            )
            return unwatched
        self._was_called = True
        following = functional.pad(labels, (0, 1), value=ignore_index)[..., 1:].contiguous()
        targets = following.view(-1).to(logits.device)
        losses = functional.cross_entropy(
            logits.float().view(-1, vocab_size),
            targets,
            ignore_index=ignore_index,
            reduction="none",
        )
        is_trained = targets != ignore_index
        self._add(losses.detach(), is_trained, domains, labels.shape)
        if num_items_in_batch is None:
            return losses.sum() / is_trained.sum()
        if torch.is_tensor(num_items_in_batch):
            num_items_in_batch = num_items_in_batch.to(losses.device)
        loss: torch.Tensor = losses.sum() / num_items_in_batch
        return loss

    @torch.no_grad()
    def _add(
        self,
        losses: torch.Tensor,
        is_trained: torch.Tensor,
        domains: torch.Tensor,
        shape: torch.Size,
    ) -> None:
        """Add the losses and the number of trained tokens to those of their domains."""
        both = torch.stack([losses, is_trained.to(losses.dtype)]).view(2, *shape)
        if domains.shape[1] == 1:
            domains, both = domains[:, 0], both.sum(2)
        else:
            # The loss at a position is that of the token after it.
            domains = functional.pad(domains[:, 1:], (0, 1), value=self.planned.nothing)
        domains, both = domains.reshape(-1).to(losses.device), both.reshape(2, -1)
        if self._sums is None:
            kind = torch.float32 if losses.device.type == "mps" else torch.float64
            self._sums = torch.zeros(2, self.planned.nothing + 1, dtype=kind, device=losses.device)
        self._sums.index_add_(1, domains, both.to(self._sums.dtype))

    def take(self, accelerator: Any) -> dict[str, float]:
        """Return {name in the log: mean loss of a trained token} since the last call.

        Every rank must call this. After a failure on any rank it returns nothing and logs why.

        Args:
            accelerator: adds up the sums of all ranks.
        """
        sums = self._sums
        if sums is None:
            sums = torch.zeros(2, self.planned.nothing + 1, device=accelerator.device)
        # The unused column tells the other ranks of a failure.
        sums = sums.float()
        sums[:, -1] = float(self.failure is not None)
        values = accelerator.reduce(sums, reduction="sum").cpu().numpy()
        self._sums = None
        if values[0, -1]:
            if accelerator.is_main_process and self.failure != "":
                reason = self.failure or "another rank could not tell the domains apart"
                LOG.info("the training loss is not logged by domain: %s", reason)
            self.failure = ""
            return {}
        return {
            f"{PREFIX}{name}": float(total / count)
            for name, total, count in zip(self.planned.names, *values[:, :-1], strict=True)
            if count
        }


def by_domain(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return {domain: loss} of an entry of the trainer's log."""
    return {
        name.removeprefix(PREFIX): value for name, value in entry.items() if name.startswith(PREFIX)
    }
