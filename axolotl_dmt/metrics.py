"""What the schedule did to each ability, from the whole stage-by-ability matrix.

Every measure here is derived from `ScoreMatrix`; nothing else is stored. A missing score (an
evaluation that failed, a task added later) is `None`, and so is a measure that needs it: undefined
is never reported as 0. "Higher is better" is assumed of every score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ScoreMatrix:
    """Scores by stage and ability.

    Attributes:
        stages: stage names in training order.
        abilities: ability names in display order.
        values: `values[s][a]` is the score of ability `a` after stage `s`, or None where missing;
            shape (stages, abilities).
    """

    stages: tuple[str, ...]
    abilities: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]

    @classmethod
    def build(
        cls,
        stages: Sequence[tuple[str, Mapping[str, float | None]]],
        abilities: Iterable[str] = (),
    ) -> ScoreMatrix:
        """Lay scores out as a matrix; what is absent or not finite is missing.

        Args:
            stages: (stage name, {ability: score}) in training order.
            abilities: the abilities that come first, in this order; others follow as they appear.

        Returns:
            The matrix over all abilities, named or seen.
        """
        # A dict keeps the first place of each name: an ordered set.
        names = tuple(dict.fromkeys([*abilities, *(a for _, row in stages for a in row)]))
        values = tuple(tuple(finite(row.get(name)) for name in names) for _, row in stages)
        return cls(stages=tuple(name for name, _ in stages), abilities=names, values=values)

    def column(self, ability: str) -> tuple[float | None, ...]:
        """The scores of one ability, stage by stage."""
        index = self.abilities.index(ability)
        return tuple(row[index] for row in self.values)

    def last(self, ability: str) -> float | None:
        """The score after the last stage; None where missing."""
        column = self.column(ability)
        return column[-1] if column else None

    def best_earlier_stage(self, ability: str) -> int | None:
        """The index of the stage, before the last, with the best score; the first of equals."""
        earlier = [
            (value, -i) for i, value in enumerate(self.column(ability)[:-1]) if value is not None
        ]
        return -max(earlier)[1] if earlier else None

    def best_earlier(self, ability: str) -> float | None:
        """The best score after any stage before the last; None where there is none."""
        index = self.best_earlier_stage(ability)
        return None if index is None else self.column(ability)[index]


def finite(value: float | None) -> float | None:
    """The value, or None where it is missing, NaN or infinite."""
    return float(value) if value is not None and math.isfinite(value) else None


def difference(after: float | None, before: float | None) -> float | None:
    """`after - before`; None where either is missing."""
    return None if after is None or before is None else after - before


def difference_stderr(after: float | None, before: float | None) -> float | None:
    """The standard error of a difference of two independently measured scores, from theirs.

    Two stages answer the same questions, so their errors are as a rule positively correlated and
    this is an upper estimate.
    """
    return None if after is None or before is None else math.hypot(after, before)


def forgetting(matrix: ScoreMatrix) -> dict[str, float | None]:
    """Best score after any earlier stage minus the score after the last stage, per ability.

    Positive: the ability was lost again; negative: the last stage still improved it. This is *best
    minus last*; other libraries take *first trained minus last*, which `backward_transfer` gives
    (negated). The score before training is not a stage and does not count.
    """
    return {a: difference(matrix.best_earlier(a), matrix.last(a)) for a in matrix.abilities}


def retention(matrix: ScoreMatrix) -> dict[str, float | None]:
    """Score after the last stage over the best after any earlier stage, per ability.

    1 means nothing was lost. Undefined (None) where there is no earlier score or the best is not
    above 0: a share of nothing says nothing.
    """
    return {a: _ratio(matrix.last(a), matrix.best_earlier(a)) for a in matrix.abilities}


def _ratio(last: float | None, best: float | None) -> float | None:
    if last is None or best is None or best <= 0:
        return None
    return finite(last / best)  # a subnormal best can overflow


def first_trained(rows: Sequence[tuple[str, Mapping[str, int]]]) -> dict[str, str]:
    """The stage in which each domain was first trained on.

    Args:
        rows: (stage name, {domain: rows}) in training order.

    Returns:
        {domain: stage name}; a domain that no stage trains on is absent.
    """
    first: dict[str, str] = {}
    for stage, domains in rows:
        for domain, count in domains.items():
            if count > 0:
                first.setdefault(domain, stage)
    return first


def backward_transfer(matrix: ScoreMatrix, learned: Mapping[str, str]) -> dict[str, float | None]:
    """Score after the last stage minus the score right after the stage that taught the ability.

    Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, before
    their mean over tasks (`mean` takes it). Negative: later stages hurt the ability.

    Args:
        matrix: the scores.
        learned: {ability: name of the stage that taught it}; see `first_trained`.

    Returns:
        {ability: transfer}, only for abilities in `learned` whose stage is before the last one.
    """
    transfer: dict[str, float | None] = {}
    for ability, stage in learned.items():
        if ability not in matrix.abilities or stage not in matrix.stages[:-1]:
            continue
        before = matrix.column(ability)[matrix.stages.index(stage)]
        transfer[ability] = difference(matrix.last(ability), before)
    return transfer


def conflict(
    mixed: Mapping[str, float | None], single: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Score when trained on all domains together minus when trained on its own domain alone.

    Dong et al., ACL 2024 (arXiv 2310.05492). Both runs use the same amount of the ability's own
    data. Negative: the other domains cost the ability something; positive: they helped.

    Args:
        mixed: {ability: score} of the run on the mixture.
        single: {ability: score} where each ability comes from the run on its domain alone.

    Returns:
        {ability: difference} for the abilities named in both; None where a score is missing.
    """
    return {a: difference(finite(mixed[a]), finite(single[a])) for a in mixed if a in single}


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is defined; None where nothing is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def scale_top(values: Iterable[float]) -> float:
    """Return the top of the scale that scores are on: 1, a judge's 10, or 100 for percentages."""
    highest = max(values, default=1.0)
    return next((scale for scale in (1.0, 10.0) if highest <= scale), 100.0)
