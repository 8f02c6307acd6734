"""A study's outcomes by treatment: what was done, with one outcome a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from axolotl_dmt import metrics
from axolotl_dmt.amounts import parse_fraction
from axolotl_dmt.errors import DMTError
from axolotl_dmt.outcomes import Outcome

DOMAIN_AMOUNT = "amount."
"""Before the name of a domain: the axis of that domain's own amount."""
_OWN_AXES = ("strategy", "k", "domain", "amount", "merge")


@dataclass(frozen=True)
class Treatment:
    """Outcomes that differ in the seed only.

    Attributes:
        outcomes: at least one, by seed.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def settings(self) -> Mapping[str, Any]:
        """{axis: value}, the same for every outcome."""
        return self.outcomes[0].settings

    @property
    def strategy(self) -> str:
        """Its name, as the YAML writes it; empty where the study has no such axis.

        A merge of its stages is a strategy of its own.
        """
        name = str(self.settings.get("strategy") or "")
        merge = self.settings.get("merge")
        return f"{merge} merge of {name}" if merge else name

    @property
    def domain(self) -> str | None:
        """The one domain of the strategy `single`."""
        domain = self.settings.get("domain")
        return None if domain is None else str(domain)

    @cached_property
    def k(self) -> Fraction | None:
        """The replay fraction; None where there is none, or it is not a number such as "auto"."""
        return _fraction(self.settings.get("k"))

    @cached_property
    def amount(self) -> Fraction | None:
        """The fraction of the data, 1 where not said; None where it is not a number."""
        amount = self.settings.get("amount")
        return Fraction(1) if amount in (None, "all") else _fraction(amount)

    @cached_property
    def context(self) -> tuple[tuple[str, str], ...]:
        """The other axes, such as the base model: treatments are compared where these agree."""
        rest = [(key, str(v)) for key, v in self.settings.items() if key not in _OWN_AXES]
        unread = [
            (key, str(self.settings[key]))
            for key, value in (("k", self.k), ("amount", self.amount))
            if value is None and self.settings.get(key) is not None
        ]
        return (*rest, *unread)

    @property
    def label(self) -> str:
        """For a table or a plot: `dmt, k = 1/16`, `single math, 1/4 of the data`."""
        name = " ".join(filter(None, (self.strategy.replace("_", " "), self.domain)))
        parts = [name] if name else []
        if self.k is not None:
            parts.append(f"k = {self.k}")
        if self.amount is not None and self.settings.get("amount") is not None:
            parts.append("all data" if self.amount == 1 else f"{self.amount} of the data")
        parts += [
            f"{value} of {key.removeprefix(DOMAIN_AMOUNT)}"
            if key.startswith(DOMAIN_AMOUNT)
            else f"{key} = {value}"
            for key, value in self.context
        ]
        return ", ".join(parts) or "all cells"

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Of its first outcome; the schedule does not change with the seed."""
        return tuple(stage.name for stage in self.outcomes[0].stages)

    def by_seed(self, measure: Callable[[Outcome], float | None]) -> dict[int, float]:
        """{seed: measure of its outcome}, where that is finite."""
        found = ((o.seed, metrics.finite(measure(o))) for o in self.outcomes)
        return {seed: value for seed, value in found if value is not None}

    def scores(self, ability: str) -> dict[int, float]:
        """{seed: score of an ability after the last stage}, where there is one."""
        return self.by_seed(lambda outcome: outcome.last().get(ability))

    def forgetting(self, ability: str) -> dict[int, float]:
        """{seed: best score after any earlier stage minus the last}."""
        return self.by_seed(lambda o: metrics.forgetting(o.matrix()).get(ability))

    def retention(self, ability: str) -> dict[int, float]:
        """{seed: last score over the best after any earlier stage}."""
        return self.by_seed(lambda o: metrics.retention(o.matrix()).get(ability))

    def backward_transfer(self, ability: str) -> dict[int, float]:
        """{seed: last score minus that right after the stage that taught the ability}.

        The ability is taught by the stage that first trains on the domain of its name.
        """

        def measure(outcome: Outcome) -> float | None:
            learned = metrics.first_trained([(s.name, s.rows) for s in outcome.stages])
            return metrics.backward_transfer(outcome.matrix(), learned).get(ability)

        return self.by_seed(measure)


def _fraction(value: object) -> Fraction | None:
    try:
        return parse_fraction(value, "amount")
    except DMTError:
        return None


def group(outcomes: Iterable[Outcome]) -> list[Treatment]:
    """The treatments, in the order in which they first appear.

    Raises:
        ValueError: two outcomes of the same settings and seed.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Outcome]] = {}
    for outcome in outcomes:
        key = tuple(sorted((axis, str(value)) for axis, value in outcome.settings.items()))
        same = groups.setdefault(key, [])
        if any(other.seed == outcome.seed for other in same):
            raise ValueError(f"two outcomes of {dict(key)} with seed {outcome.seed}")
        same.append(outcome)
    return [Treatment(tuple(sorted(found, key=lambda o: o.seed))) for found in groups.values()]


@dataclass(frozen=True)
class Comparison:
    """Treatments that may be compared with each other: all axes but the studied ones agree.

    Attributes:
        treatments: of one context.
        general: the abilities of general data.
        declared_k: the k of DMT to judge the paper's claims at, or None.
    """

    treatments: tuple[Treatment, ...]
    general: tuple[str, ...] = ("general",)
    declared_k: Fraction | None = None

    @property
    def context(self) -> tuple[tuple[str, str], ...]:
        """What they share."""
        return self.treatments[0].context

    @cached_property
    def abilities(self) -> tuple[str, ...]:
        """In the order of first appearance, general ones last."""
        return abilities_of(self.treatments, self.general)

    @property
    def specialised(self) -> tuple[str, ...]:
        """The abilities that are not general."""
        return tuple(a for a in self.abilities if a not in self.general)

    def find(
        self,
        strategy: str,
        *,
        k: Fraction | None = None,
        domain: str | None = None,
        amount: Fraction | None = None,
    ) -> Treatment | None:
        """The treatment of a strategy, at the largest amount unless another is named."""
        wanted = self.largest_amount if amount is None else amount
        for t in self.treatments:
            if (t.strategy, t.domain, t.amount) == (strategy, domain, wanted) and k in (None, t.k):
                return t
        return None

    @cached_property
    def largest_amount(self) -> Fraction:
        """Of the treatments; strategies are compared there."""
        return max((t.amount for t in self.treatments if t.amount), default=Fraction(1))

    @cached_property
    def ks(self) -> tuple[Fraction, ...]:
        """The k of DMT studied at the largest amount, in order; `mixed_sequential` is k = 0."""
        found = {
            t.k
            for t in self.treatments
            if t.strategy == "dmt" and t.amount == self.largest_amount and t.k is not None
        }
        if found and self.find("mixed_sequential"):
            found.add(Fraction(0))
        return tuple(sorted(found))

    def dmt(self, k: Fraction) -> Treatment | None:
        """DMT at a k; at 0 `mixed_sequential` where there is no such cell of DMT."""
        return self.find("dmt", k=k) or (self.find("mixed_sequential") if k == 0 else None)

    @cached_property
    def reference_k(self) -> Fraction | None:
        """The k that claims on DMT are judged at, chosen without looking at any score.

        The declared one; else the only one; else the paper's 1/256 where studied; else the middle
        one of those above 0 and below 1, the smaller of two. None where DMT has no k above 0.
        """
        ks = [k for k in self.ks if k > 0]
        if self.declared_k is not None:
            return self.declared_k if self.declared_k in ks else None
        if not ks or len(ks) == 1:
            return ks[0] if ks else None
        if Fraction(1, 256) in ks:
            return Fraction(1, 256)
        inner = [k for k in ks if k < 1] or ks
        return inner[(len(inner) - 1) // 2]

    def reference(self) -> Treatment | None:
        """DMT as it is judged: at the reference k, or as it is where no k was varied."""
        if self.reference_k is not None:
            return self.find("dmt", k=self.reference_k)
        return None if self.declared_k is not None else self.find("dmt")

    def amounts(self, strategy: str, domain: str | None = None) -> dict[Fraction, Treatment]:
        """{amount: treatment} of a strategy in order of amount; amounts of 0 teach nothing."""
        found = {
            t.amount: t
            for t in self.treatments
            if t.strategy == strategy and t.domain == domain and t.amount
        }
        return dict(sorted(found.items()))

    def scale(self, ability: str) -> float:
        """The top of an ability's scale: 1, a judge's 10, or 100 for percentages."""
        return scale_of(self.treatments, ability)


def scale_of(treatments: Iterable[Treatment], ability: str) -> float:
    """The top of an ability's scale: 1, a judge's 10, or 100 for percentages."""
    top = max((v for t in treatments for v in t.scores(ability).values()), default=1.0)
    return next((scale for scale in (1.0, 10.0) if top <= scale), 100.0)


def at_largest_amount(treatments: Sequence[Treatment]) -> list[Treatment]:
    """Those of the largest amount of data."""
    largest = max((t.amount for t in treatments if t.amount), default=None)
    return [t for t in treatments if t.amount == largest]


def abilities_of(treatments: Iterable[Treatment], general: Sequence[str]) -> tuple[str, ...]:
    """Every ability scored, general ones last."""
    seen = dict.fromkeys(
        ability
        for treatment in treatments
        for outcome in treatment.outcomes
        for stage in outcome.stages
        for ability in stage.scores
    )
    return tuple(sorted(seen, key=lambda ability: ability in general))


def comparisons(
    treatments: Sequence[Treatment], general: Sequence[str], k: Fraction | None = None
) -> list[Comparison]:
    """The treatments by context; a context of one treatment compares nothing.

    Falls back to the first context where each has one treatment, so that a report always says
    what was not measured.
    """
    contexts: dict[tuple[tuple[str, str], ...], list[Treatment]] = {}
    for treatment in treatments:
        contexts.setdefault(treatment.context, []).append(treatment)
    groups = [found for found in contexts.values() if len(found) > 1] or list(contexts.values())[:1]
    return [Comparison(tuple(found), tuple(general), k) for found in groups]
