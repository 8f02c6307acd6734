"""Judges the claims of the paper on the results of a study.

A claim is *shown* if every part of it is shown, and *contradicted* if any part is contradicted. It
is *not measured* if the study lacks the cells of a part and nothing contradicts it. Otherwise it is
*not shown*, which does not prove the opposite. The rules were fixed before any study was run:

- "better" or "grows": the 95% interval (Student's t over paired seeds) of the difference is above
  0, and the exact one-sided sign-flip test gives p <= 0.05, which needs at least 5 seeds that all
  agree. The test is one-sided because the paper states the direction.
- "within noise": the 95% interval of the difference is inside +-0.05 of the scale (0.05 of 0..1,
  0.5 of a judge's 0..10). The claim is contradicted if the interval is entirely outside.
- A study that is judged by losses on held-out rows uses the same rules for the log-likelihood, the
  negative loss in nats per token; "within noise" is +-0.05 nats.
- A claim on several abilities needs all of them, so it needs no correction for their number. There
  is no correction for the number of claims: each has a chance of up to 5% of being shown falsely.

Source of the claims but (j): Dong et al., ACL 2024, arXiv 2310.05492, sections 3.2 to 3.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from axolotl_dmt.analysis.comparisons import Comparison
from axolotl_dmt.analysis.intervals import Difference, paired
from axolotl_dmt.analysis.treatments import Treatment, mean_by_seed
from axolotl_dmt.analysis.verdicts import NOT_MEASURED, Part, above_zero, not_above, overall, within
from axolotl_dmt.results import metrics


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper.

    Attributes:
        key: a short name.
        text: the claim in a sentence.
        parts: judges the claim's parts on a comparison.
    """

    key: str
    text: str
    parts: Callable[[Comparison], list[Part]]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim with the study's verdict on it.

    Attributes:
        claim: the claim.
        verdict: one of the four verdicts.
        parts: the judged parts of the claim.
    """

    claim: Claim
    verdict: str
    parts: tuple[Part, ...]


def judge(comparison: Comparison) -> list[Judged]:
    """Return the verdict on every claim."""
    judged = []
    for claim in CLAIMS:
        parts = tuple(claim.parts(comparison))
        verdict = overall([part.verdict for part in parts])
        judged.append(Judged(claim=claim, verdict=verdict, parts=parts))
    return judged


def _against(
    comparison: Comparison, strategy: str, abilities: Iterable[str]
) -> list[tuple[str, str, Difference | None]]:
    """Return (ability, quantity, difference) for DMT at its reference k minus a strategy."""
    dmt, other = comparison.reference(), comparison.find(strategy)
    quantity = f"{dmt.label if dmt else 'dmt'} minus {strategy.replace('_', ' ')}"
    return [(a, quantity, _last_difference(dmt, other, a)) for a in abilities]


def _last_difference(
    after: Treatment | None, before: Treatment | None, ability: str
) -> Difference | None:
    if after is None or before is None:
        return None
    return paired(after.scores(ability), before.scores(ability))


def beats_sequential(comparison: Comparison) -> list[Part]:
    """Judge claim (a)."""
    return [above_zero(*x) for x in _against(comparison, "sequential", comparison.specialised)]


def beats_mixed_sequential(comparison: Comparison) -> list[Part]:
    """Judge claim (b)."""
    differences = _against(comparison, "mixed_sequential", comparison.specialised)
    return [above_zero(*x) for x in differences]


def keeps_general(comparison: Comparison) -> list[Part]:
    """Judge claim (c)."""
    abilities = [a for a in comparison.abilities if a in comparison.general]
    differences = _against(comparison, "mixed_sequential", abilities)
    return [within(*x, comparison.margin(x[0])) for x in differences]


def follows_k(comparison: Comparison) -> list[Part]:
    """Judge claim (d)."""
    ks = comparison.ks
    treatments = [t for k in ks if (t := comparison.dmt(k))]
    quantity = f"fitted change from k = {ks[0]} to {ks[-1]}" if ks else "fitted change over k"
    parts = []
    for ability in comparison.abilities:
        change = trend([t.scores(ability) for t in treatments], range(len(treatments)))
        if ability in comparison.general:
            parts.append(not_above(ability, quantity, change, comparison.margin(ability)))
        else:
            parts.append(above_zero(ability, quantity, change))
    return parts


def trend(columns: Sequence[Mapping[int, float]], x: Iterable[float]) -> Difference | None:
    """Return the change along a straight line fitted to each seed's scores.

    Args:
        columns: {seed: score} at each x.
        x: the values that the line is fitted over, ascending.

    Returns:
        {seed: slope times the range of x}, for the seeds that have a score at every x; None with
        fewer than three values of x or no such seed.
    """
    xs = np.asarray(list(x), dtype=float)
    if len(columns) < 3:
        return None
    seeds = sorted(set.intersection(*(set(column) for column in columns)))
    if not seeds:
        return None
    centred = xs - xs.mean()
    weights = centred * (xs[-1] - xs[0]) / (centred**2).sum()
    return Difference(
        by_seed={s: float(weights @ [column[s] for column in columns]) for s in seeds}
    )


def conflicts(comparison: Comparison, ability: str) -> dict[Fraction, Difference]:
    """Return {amount: score after training on all domains minus on the ability's own, by seed}."""
    mixed = comparison.amounts("multi_task")
    single = comparison.amounts("single", ability)
    differences = {}
    for amount in mixed:
        if amount in single:  # for each seed, the same quantity as `metrics.conflict`
            differences[amount] = paired(
                mixed[amount].scores(ability), single[amount].scores(ability)
            )
    return {amount: difference for amount, difference in differences.items() if difference}


def mixing_conflicts(comparison: Comparison) -> list[Part]:
    """Judge claim (e)."""
    parts = []
    for ability in comparison.abilities:
        by_amount = conflicts(comparison, ability)
        amounts = sorted(by_amount)
        largest = amounts[-1] if amounts else comparison.largest_amount
        gain = by_amount.get(largest)
        cost = gain and Difference(by_seed={s: -v for s, v in gain.by_seed.items()})
        parts.append(above_zero(ability, f"single minus multi-task at {_amount(largest)}", cost))
        smallest = amounts[0] if len(amounts) > 1 else None
        quantity = f"multi-task minus single at {_amount(smallest)}"
        parts.append(above_zero(ability, quantity, by_amount[smallest] if smallest else None))
    return parts


def _amount(amount: Fraction | None) -> str:
    if amount is None:
        return "a small amount"
    return "all data" if amount == 1 else f"{amount} of the data"


def sequential_forgets(comparison: Comparison) -> list[Part]:
    """Judge claim (f)."""
    sequential = comparison.find("sequential")
    quantity = "after its own stage minus after the last"
    if sequential is None:
        return [
            Part(ability=a, quantity=quantity, verdict=NOT_MEASURED) for a in comparison.specialised
        ]
    learned = metrics.first_trained([(s.name, s.rows) for s in sequential.cells[0].stages])
    last = sequential.stage_names[-1] if sequential.stage_names else ""
    early = [a for a in learned if learned[a] != last and a in comparison.abilities]
    parts = []
    for ability in early:
        lost = {seed: -value for seed, value in sequential.backward_transfer(ability).items()}
        parts.append(above_zero(ability, quantity, Difference(by_seed=lost) if lost else None))
    return parts


def grows_with_data(comparison: Comparison) -> list[Part]:
    """Judge claim (g)."""
    parts = []
    for ability in comparison.abilities:
        alone = comparison.amounts("single", ability)
        by_amount = alone or comparison.amounts("multi_task")
        amounts = list(by_amount)
        change = trend(
            [t.scores(ability) for t in by_amount.values()], [math.log(a) for a in amounts]
        )
        setup = "alone" if alone else "in the mixture"
        quantity = f"fitted change {setup} over log amount"
        if amounts:
            quantity += f", {amounts[0]} to {amounts[-1]}"
        parts.append(above_zero(ability, quantity, change))
    return parts


def beats_multi_task(comparison: Comparison) -> list[Part]:
    """Judge claim (i)."""
    abilities = [a for a in comparison.abilities if a in comparison.general]
    return [above_zero(*x) for x in _against(comparison, "multi_task", abilities)]


def keeps_base_model(comparison: Comparison) -> list[Part]:
    """Judge claim (j)."""
    reference = comparison.reference()
    quantity = f"before training minus after {reference.label if reference else 'dmt'}"
    parts = []
    for ability in comparison.abilities:
        gain = reference.gain(ability) if reference else {}
        lost = Difference(by_seed={seed: -value for seed, value in gain.items()}) if gain else None
        parts.append(not_above(ability, quantity, lost, comparison.margin(ability)))
    return parts


def larger_is_better(by_size: Sequence[Comparison]) -> list[Part]:
    """Judge claim (h).

    Args:
        by_size: the same treatments of each base model, in the order of the models' sizes. The
            scores of an ability, trained alone, are averaged over the amounts of data.
    """
    first, last = by_size[0], by_size[-1]
    quantity = f"fitted change from {first.base_model} to {last.base_model}"
    parts = []
    for ability in first.abilities:
        columns = [_mean_over_amounts(comparison, ability) for comparison in by_size]
        change = trend(columns, range(len(columns))) if all(columns) else None
        parts.append(above_zero(ability, quantity, change))
    return parts


def _mean_over_amounts(comparison: Comparison, ability: str) -> dict[int, float]:
    """Return {seed: mean score over all amounts of the ability's own data}."""
    columns = [t.scores(ability) for t in comparison.amounts("single", ability).values()]
    return mean_by_seed(columns)


CLAIMS = (
    Claim(
        key="a",
        text="DMT keeps the specialised abilities better than sequential training.",
        parts=beats_sequential,
    ),
    Claim(
        key="b",
        text="DMT keeps the specialised abilities better than mixed sequential training.",
        parts=beats_mixed_sequential,
    ),
    Claim(
        key="c",
        text="DMT's general ability is within noise of mixed sequential training's.",
        parts=keeps_general,
    ),
    Claim(
        key="d",
        text="As k grows, the specialised abilities grow, and the general one falls or stays.",
        parts=follows_k,
    ),
    Claim(
        key="e",
        text="Mixing all domains harms an ability with much data and helps it with little data.",
        parts=mixing_conflicts,
    ),
    Claim(
        key="f",
        text="Sequential training forgets what it learned before the last stage.",
        parts=sequential_forgets,
    ),
    Claim(key="g", text="Abilities grow with the amount of their data.", parts=grows_with_data),
    Claim(
        key="i",
        text="DMT's general ability is better than multi-task training's.",
        parts=beats_multi_task,
    ),
    Claim(
        key="j",
        text="DMT leaves no ability below that of the model before training (not in the paper).",
        parts=keeps_base_model,
    ),
)

LARGER_IS_BETTER = Claim(
    key="h", text="Larger models do better with the same amount of data.", parts=lambda _: []
)
"""The claim on several base models, whose parts `larger_is_better` judges."""


def judge_sizes(compared: Sequence[Comparison]) -> Judged | None:
    """Return the verdict on claim (h), or None with fewer than three base models.

    Args:
        compared: comparisons of one base model each, smaller models first. A model may have a
            learning rate of its own.
    """
    contexts = [dict(comparison.context) for comparison in compared]
    models = {context.get("base_model") for context in contexts} - {None}
    if len(models) < 3 or len(models) < len(contexts):
        return None
    if any(context.keys() - {"base_model", "learning_rate"} for context in contexts):
        return None
    parts = tuple(larger_is_better(compared))
    verdict = overall([part.verdict for part in parts])
    return Judged(claim=LARGER_IS_BETTER, verdict=verdict, parts=parts)
