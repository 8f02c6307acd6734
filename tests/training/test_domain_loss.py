"""The training loss of each domain, with and without packing, on several ranks, with blanks."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from axolotl_dmt.plan.compiler import compile_plan
from axolotl_dmt.plan.inputs import Domain, Packing
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.training.domain_loss import DomainLosses, PlannedDomains, by_domain
from tests.pools import stage

WIDTH = 24
VOCABULARY = 50
RNG = np.random.default_rng(0)
LENGTHS = {name: RNG.integers(4, 12, rows) for name, rows in (("math", 13), ("chat", 10))}
ROWS = {
    name: [RNG.integers(2, VOCABULARY, length) for length in lengths]
    for name, lengths in LENGTHS.items()
}


def domains() -> list[Domain]:
    """Return two domains whose rows are trained on from their third token on."""
    return [
        Domain(name=name, rows=len(n), lengths=n.astype(np.int32), trained=(n - 2).astype(np.int32))
        for name, n in LENGTHS.items()
    ]


def pack(lengths: Any) -> list[list[int]]:
    """Put the rows into packs of at most `WIDTH` tokens, in order."""
    packs: list[list[int]] = [[]]
    used = 0
    for index, length in enumerate(lengths):
        if used + length > WIDTH:
            packs.append([])
            used = 0
        packs[-1].append(index)
        used += int(length)
    return packs


def plan(*, packed: bool) -> TrainingPlan:
    mixed = stage({"math": 1, "chat": 1}, epochs=1)
    packing = Packing(capacity=WIDTH, packs_per_step=4, pack=pack) if packed else None
    return compile_plan(stages=[mixed], domains=domains(), seed=0, global_batch=4, packing=packing)


def row(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens and labels of a row of the pool."""
    blank = number < 0
    split = len(ROWS["math"])
    tokens = ROWS["math"][number] if number < split else ROWS["chat"][number - split]
    tokens = ROWS["math"][0] if blank else tokens
    labels = tokens.copy()
    labels[: len(tokens) if blank else 2] = -100
    return tokens, labels


def batch(rows: list[np.ndarray], *, pads_left: bool = False) -> dict[str, torch.Tensor]:
    inputs = np.ones((len(rows), WIDTH), np.int64)
    labels = np.full((len(rows), WIDTH), -100)
    for line, packed in enumerate(rows):
        parts = [row(int(number)) for number in packed]
        tokens, targets = (np.concatenate(part) for part in zip(*parts, strict=True))
        start = WIDTH - len(tokens) if pads_left else 0
        inputs[line, start : start + len(tokens)] = tokens
        labels[line, start : start + len(tokens)] = targets
    return {"input_ids": torch.from_numpy(inputs), "labels": torch.from_numpy(labels)}


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=VOCABULARY, num_attention_heads=2, num_key_value_heads=2, **sizes)
    )


class Accelerator:
    """Adds up what the ranks hand in, one after the other."""

    device = torch.device("cpu")
    is_main_process = True

    def __init__(self) -> None:
        self.total = torch.zeros(())

    def reduce(self, value: torch.Tensor, reduction: str) -> torch.Tensor:
        assert reduction == "sum"
        self.total = self.total + value
        return self.total


@pytest.mark.parametrize("pads_left", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_the_loss_of_a_domain_is_the_mean_over_its_trained_tokens(
    model: LlamaForCausalLM, ranks: int, accumulation: int, packed: bool, pads_left: bool
) -> None:
    made, accelerator = plan(packed=packed), Accelerator()
    expected: dict[str, list[float]] = defaultdict(list)
    taken: dict[str, float] = {}
    for rank in range(ranks):
        planned = PlannedDomains(
            made,
            domains(),
            accumulation=accumulation,
            ranks=ranks,
            rank=rank,
            pads_left=pads_left,
        )
        plain = copy_of(model)
        watched = copy_of(model)
        losses = DomainLosses.attach(watched, planned)
        assert losses is not None
        for step in range(made.total_steps):
            for micro_batch in range(accumulation):
                rows = planned.rows(step, micro_batch)
                inputs = batch(rows, pads_left=pads_left and packed)
                if bool((inputs["labels"] == -100).all()):
                    with losses.watching(step, None):
                        continue
                with losses.watching(step, inputs["labels"]):
                    ours = watched(**inputs, num_items_in_batch=torch.tensor(50)).loss
                theirs = plain(**inputs, num_items_in_batch=torch.tensor(50)).loss
                assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
                add_expected(expected, plain, inputs, rows, pads_left=pads_left and packed)
        taken = losses.take(accelerator)
    assert by_domain(taken) == pytest.approx(
        {name: float(np.mean(values)) for name, values in expected.items()}, rel=1e-5
    )
    assert set(expected) == {"math", "chat"}


def copy_of(model: LlamaForCausalLM) -> LlamaForCausalLM:
    twin = LlamaForCausalLM(model.config)
    twin.load_state_dict(model.state_dict())
    return twin


def add_expected(
    expected: dict[str, list[float]],
    model: LlamaForCausalLM,
    inputs: dict[str, torch.Tensor],
    rows: list[np.ndarray],
    *,
    pads_left: bool,
) -> None:
    """Add the loss of each trained token, computed row by row, to those of its domain."""
    with torch.no_grad():
        log_probabilities = model(inputs["input_ids"]).logits.log_softmax(-1)
    for line, packed in enumerate(rows):
        lengths = [len(row(int(number))[0]) for number in packed]
        position = WIDTH - sum(lengths) if pads_left else 0
        for number, length in zip(packed, lengths, strict=True):
            for at in range(position + 2, position + length):
                if number >= 0:
                    token = inputs["input_ids"][line, at]
                    name = "math" if number < len(ROWS["math"]) else "chat"
                    expected[name].append(-log_probabilities[line, at - 1, token].item())
            position += length


def test_the_gradient_is_exactly_that_of_transformers(model: LlamaForCausalLM) -> None:
    planned = PlannedDomains(plan(packed=True), domains(), accumulation=1, ranks=1, rank=0)
    inputs = batch(planned.rows(0, 0))
    gradients = []
    for is_watched in (False, True):
        twin = copy_of(model)
        losses = DomainLosses.attach(twin, planned)
        assert losses is not None
        with losses.watching(0, inputs["labels"] if is_watched else None):
            twin(**inputs, num_items_in_batch=torch.tensor(37)).loss.backward()
        gradients.append([p.grad for p in twin.parameters()])
    assert all(one.equal(two) for one, two in zip(*gradients, strict=True))


def test_batches_that_are_not_those_of_the_plan_are_noticed_and_left_out(
    model: LlamaForCausalLM, caplog: pytest.LogCaptureFixture
) -> None:
    planned = PlannedDomains(plan(packed=True), domains(), accumulation=1, ranks=1, rank=0)
    losses = DomainLosses.attach(copy_of(model), planned)
    assert losses is not None
    other = batch(planned.rows(1, 0))
    with losses.watching(0, other["labels"]):
        pass
    assert losses.failure == "the batches are not those of the plan"
    assert losses.take(Accelerator()) == {}
    assert losses.take(Accelerator()) == {}


def test_a_model_that_computes_its_loss_without_logits_is_left_out(
    model: LlamaForCausalLM,
) -> None:
    planned = PlannedDomains(plan(packed=False), domains(), accumulation=1, ranks=1, rank=0)
    losses = DomainLosses.attach(copy_of(model), planned)
    assert losses is not None
    with losses.watching(0, batch(planned.rows(0, 0))["labels"]):
        pass  # a fused kernel never calls the loss function
    assert losses.failure is not None and "without logits" in losses.failure
    assert losses.take(Accelerator()) == {}
    fused = SimpleNamespace(loss_function=lambda **_: None)
    assert DomainLosses.attach(fused, planned) is None


def test_a_failure_on_one_rank_ends_it_on_all(model: LlamaForCausalLM) -> None:
    planned = PlannedDomains(plan(packed=False), domains(), accumulation=1, ranks=2, rank=0)
    accelerator = Accelerator()
    failed, fine = (DomainLosses.attach(copy_of(model), planned) for _ in range(2))
    assert failed is not None and fine is not None
    failed.failure = "something"
    assert failed.take(accelerator) == {}
    assert fine.take(accelerator) == {}
    assert fine.failure == ""
