"""Groups treatments that may be compared with each other, and finds one among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from axolotl_dmt.analysis.measure import Measure, Scale
from axolotl_dmt.analysis.treatments import (
    EQUAL_PARTS,
    Treatment,
    abilities_of,
    scale_of,
    short_value,
)


@dataclass(frozen=True)
class Comparison:
    """Treatments that may be compared with each other, because they have the same context.

    Attributes:
        treatments: at least one treatment.
        general: the abilities of general data.
        declared_k: the k of DMT at which the paper's claims are to be judged, or None.
    """

    treatments: tuple[Treatment, ...]
    general: tuple[str, ...] = ("general",)
    declared_k: Fraction | None = None

    @property
    def context(self) -> tuple[tuple[str, str], ...]:
        """The axes that are not compared, with the values that the treatments share."""
        return self.treatments[0].context

    @property
    def context_label(self) -> str:
        """The context as text, such as `base_model = base-4M`; empty where there is none."""
        return ", ".join(f"{key} = {short_value(key, value)}" for key, value in self.context)

    @property
    def base_model(self) -> str | None:
        """The name of the base model, without its folders; None where it is not an axis."""
        model = dict(self.context).get("base_model")
        return None if model is None else short_value("base_model", model)

    @cached_property
    def abilities(self) -> tuple[str, ...]:
        """The abilities in the order of first appearance, general ones last."""
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
        """Return the treatment of a strategy, by default at the largest amount; None if missing."""
        key = (strategy, domain, self.largest_amount if amount is None else amount)
        for t in self.treatments:
            if (t.strategy, t.domain, t.amount) == key and k in (None, t.k):
                return t
        return None

    @cached_property
    def largest_amount(self) -> Fraction:
        """The largest amount of data of any treatment, at which strategies are compared."""
        return max((t.amount for t in self.treatments if t.amount), default=Fraction(1))

    @cached_property
    def ks(self) -> tuple[Fraction, ...]:
        """The values of k studied at the largest amount, ascending; `mixed_sequential` is k = 0."""
        ks = {
            t.k
            for t in self.treatments
            if t.strategy == "dmt" and t.amount == self.largest_amount and t.k is not None
        }
        if ks and self.find("mixed_sequential"):
            ks.add(Fraction(0))
        return tuple(sorted(ks))

    def dmt(self, k: Fraction) -> Treatment | None:
        """Return DMT at a k; k = 0 may be studied as `mixed_sequential`."""
        return self.find("dmt", k=k) or (self.find("mixed_sequential") if k == 0 else None)

    def merges(self) -> dict[str, dict[float, Treatment]]:
        """Return {method: {weight of the second stage: merge}} of mixed sequential training.

        Weights ascend. A merge without a weight is one in equal parts. Merges at other amounts of
        data than the largest are left out.
        """
        found: dict[str, dict[float, Treatment]] = {}
        for t in self.treatments:
            method = t.settings.get("merge")
            is_mixed = t.settings.get("strategy") == "mixed_sequential"
            if method and is_mixed and t.amount == self.largest_amount:
                weight = float(t.settings.get("merge_weight") or EQUAL_PARTS)
                found.setdefault(str(method), {})[weight] = t
        return {method: dict(sorted(merges.items())) for method, merges in found.items()}

    @cached_property
    def reference_k(self) -> Fraction | None:
        """The k at which claims on DMT are judged, chosen without looking at any score.

        It is the first of these that exists: the declared k; the only k above 0; the paper's 1/256,
        if it was studied; the middle one of the values between 0 and 1 (the smaller of two). None
        if the declared k was not studied, or no k above 0 was.
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
        """Return the treatment at which claims on DMT are judged, or None."""
        if self.reference_k is not None:
            return self.find("dmt", k=self.reference_k)
        return None if self.declared_k is not None else self.find("dmt")

    def amounts(self, strategy: str, domain: str | None = None) -> dict[Fraction, Treatment]:
        """Return {amount: treatment} of a strategy, ascending, without amounts of 0."""
        by_amount = {
            t.amount: t
            for t in self.treatments
            if t.strategy == strategy and t.domain == domain and t.amount
        }
        return dict(sorted(by_amount.items()))

    @property
    def measure(self) -> Measure:
        """The measure of the scores."""
        return self.treatments[0].cells[0].measure

    def scale(self, ability: str) -> Scale:
        """Return the range of an ability's scores, as `scale_of` does."""
        return scale_of(self.treatments, ability)

    def margin(self, ability: str) -> float:
        """Return the largest difference in an ability that counts as noise."""
        return self.measure.within_noise(self.scale(ability))


def comparisons(
    treatments: Sequence[Treatment], general: Sequence[str], k: Fraction | None = None
) -> list[Comparison]:
    """Group treatments that may be compared with each other.

    A context with only one treatment is left out. If there are no others, the first is kept, so
    that a report always says what was not measured.

    Args:
        treatments: at least one treatment.
        general: the abilities of general data.
        k: the k of DMT at which the paper's claims are to be judged, or None.
    """
    contexts: dict[tuple[tuple[str, str], ...], list[Treatment]] = {}
    for treatment in treatments:
        contexts.setdefault(treatment.context, []).append(treatment)
    comparable = [group for group in contexts.values() if len(group) > 1]
    groups = comparable or list(contexts.values())[:1]
    return [Comparison(tuple(group), tuple(general), k) for group in groups]
