"""Turns what probes measured, and how far each ability may fall, into floors of laws.

A floor on a loss is a limit on that loss. A floor on a score becomes a limit on the loss of the
domain of its name, through the curve that the probes show (`score_curve`); where there is no such
domain, or its scores do not follow its losses, the score has a law of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from axolotl_dmt.solver.law import Law, fit_law
from axolotl_dmt.solver.score_curve import ScoreCurve, fit_curve, log_odds, share_of
from axolotl_dmt.solver.search import Floor
from axolotl_dmt.solver.space import Points, Space

Measure: TypeAlias = Literal["score", "loss"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured after one training.

    Attributes:
        losses: {domain: loss on its held-out rows}.
        scores: {ability: (score, number of items)}.
    """

    losses: Mapping[str, float]
    scores: Mapping[str, tuple[float, int]]

    def value(self, measure: Measure, name: str) -> float:
        """Return a loss or a score."""
        return self.losses[name] if measure == "loss" else self.scores[name][0]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How far an ability may fall.

    Attributes:
        name: the ability, or the domain.
        measure: whether its score may fall, or its loss rise.
        reference: the value that it is compared with.
        change: by how much it may become worse, at least 0.
    """

    name: str
    measure: Measure
    reference: float
    change: float

    @property
    def value(self) -> float:
        """The worst value that is accepted."""
        return self.reference + (self.change if self.measure == "loss" else -self.change)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A predicted value and the interval that holds it, in the measure's own unit."""

    predicted: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Protected:
    """A limit with the law that it is judged by.

    Attributes:
        limit: the limit.
        floor: the limit in the units of the law.
        top: the top of the score's scale.
        curve: what turns losses into scores; None for a loss, and for a score with its own law.
    """

    limit: Limit
    floor: Floor
    top: float = 1.0
    curve: ScoreCurve | None = None

    def interval(self, points: Points, confidence: float) -> Interval:
        """Return the prediction of the one point, whose worse end has the given confidence."""
        law, sd = self.floor.law, self.floor.limit_sd
        values = (
            law.predict(points),
            law.lower(points, confidence, sd),
            law.upper(points, confidence, sd),
        )
        return self._interval(*(float(value[0]) for value in values))

    def nearest(self, excess: float) -> float:
        """Return the value that the floor would have to accept to hold with this excess."""
        return self._interval(self.floor.limit + excess, 0.0, 0.0).predicted

    def _interval(self, *values: float) -> Interval:
        if self.limit.measure == "loss":
            own = [math.exp(value) for value in values]
        elif self.curve is not None:
            own = [self.top * self.curve.share(value) for value in values]
        else:
            own = [self.top * share_of(-value) for value in values]
        return Interval(predicted=own[0], low=min(own[1:]), high=max(own[1:]))


def protected(
    limit: Limit,
    space: Space,
    points: Points,
    probes: Sequence[Measured],
    others: Sequence[Measured],
    top: float,
) -> Protected:
    """Return a limit with its law.

    Args:
        limit: the limit.
        space: the stage.
        points: the probes.
        probes: what was measured after each.
        others: measurements of other models, such as that before the stage, which also show how
            scores follow losses.
        top: the top of the score's scale.
    """
    name = limit.name
    if limit.measure == "loss":
        law = loss_law(space, points, probes, name)
        return Protected(
            limit=limit, floor=Floor(name=name, law=law, limit=math.log(limit.value)), top=top
        )
    items = min(probe.scores[name][1] for probe in probes)
    share = min(max(limit.value / top, 0.0), 1.0)
    curve = _curve([*others, *probes], name, items, top)
    if curve is not None:
        law = loss_law(space, points, probes, name)
        sd = curve.log_loss_sd(share)
        floor = Floor(name=name, law=law, limit=curve.log_loss(share), limit_sd=sd)
        return Protected(limit=limit, floor=floor, top=top, curve=curve)
    values = [-log_odds(probe.scores[name][0] / top, items) for probe in probes]
    floor = Floor(
        name=name, law=fit_law(points, values, space.middles), limit=-log_odds(share, items)
    )
    return Protected(limit=limit, floor=floor, top=top)


def loss_law(space: Space, points: Points, probes: Sequence[Measured], domain: str) -> Law:
    """Return the law of the logarithm of a domain's loss."""
    return fit_law(points, [math.log(probe.losses[domain]) for probe in probes], space.middles)


def loss_interval(law: Law, points: Points, confidence: float) -> Interval:
    """Return the predicted loss of the one point."""
    bounds = law.lower(points, confidence), law.upper(points, confidence)
    predicted, low, high = (math.exp(value[0]) for value in (law.predict(points), *bounds))
    return Interval(predicted=predicted, low=low, high=high)


def _curve(measured: Sequence[Measured], name: str, items: int, top: float) -> ScoreCurve | None:
    both = [each for each in measured if name in each.losses and name in each.scores]
    if len(both) < len(measured):
        return None
    log_losses = [math.log(each.losses[name]) for each in both]
    return fit_curve(log_losses, [each.scores[name][0] / top for each in both], items)
