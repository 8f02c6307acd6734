"""Forgetting, retention and transfer, computed from the scores of all abilities after each stage.

Every measure is derived from a `ScoreMatrix`. A missing score (an evaluation that failed, a task
added later) is `None`, and so is every measure that needs it: an undefined measure is never
reported as 0. All scores are assumed to be better the higher they are.
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
        """Build a matrix from scores; an absent or non-finite score is missing.

        Args:
            stages: (stage name, {ability: score}) in training order.
            abilities: the abilities that come first, in this order; others follow in the order of
                their first score.

        Returns:
            The matrix of all abilities, named or scored.
        """
        # A dict serves as an ordered set.
        names = tuple(dict.fromkeys([*abilities, *(a for _, row in stages for a in row)]))
        values = tuple(tuple(finite(row.get(name)) for name in names) for _, row in stages)
        return cls(stages=tuple(name for name, _ in stages), abilities=names, values=values)

    def column(self, ability: str) -> tuple[float | None, ...]:
        """Return the scores of one ability, stage by stage."""
        index = self.abilities.index(ability)
        return tuple(row[index] for row in self.values)

    def last(self, ability: str) -> float | None:
        """Return the score after the last stage; None where missing."""
        column = self.column(ability)
        return column[-1] if column else None

    def best_earlier_stage(self, ability: str) -> int | None:
        """Return the index of the best stage before the last one; the first of equal stages."""
        return best(self.column(ability)[:-1])

    def best_earlier(self, ability: str) -> float | None:
        """Return the best score after any stage before the last one; None where there is none."""
        index = self.best_earlier_stage(ability)
        return None if index is None else self.column(ability)[index]


def best(values: Sequence[float | None]) -> int | None:
    """Return the index of the highest value, the first of equal ones; None without a value."""
    known = [(value, -i) for i, value in enumerate(values) if value is not None]
    return -max(known)[1] if known else None


def finite(value: float | None) -> float | None:
    """Return the value, or None where it is missing, NaN or infinite."""
    return float(value) if value is not None and math.isfinite(value) else None


def difference(after: float | None, before: float | None) -> float | None:
    """Return `after - before`; None where either is missing."""
    return None if after is None or before is None else after - before


def difference_stderr(after: float | None, before: float | None) -> float | None:
    """Return the standard error of a difference of two scores from the scores' standard errors.

    The scores are treated as independent. Two stages answer the same questions, so their errors are
    usually positively correlated, and this is an upper estimate.
    """
    return None if after is None or before is None else math.hypot(after, before)


def forgetting(matrix: ScoreMatrix) -> dict[str, float | None]:
    """Return the best score after any earlier stage minus the last score, per ability.

    A positive value means that the ability was partly lost; a negative one, that the last stage
    improved it. This is *best minus last*; other libraries use *first trained minus last*, which is
    the negated `backward_transfer`. The score before training does not count as a stage.
    """
    return {a: difference(matrix.best_earlier(a), matrix.last(a)) for a in matrix.abilities}


def retention(matrix: ScoreMatrix) -> dict[str, float | None]:
    """Return the score after the last stage divided by the best earlier one, per ability.

    1 means that nothing was lost. The value is None where there is no earlier score, or where the
    best one is not above 0, so that the ratio has no meaning.
    """
    return {a: _ratio(matrix.last(a), matrix.best_earlier(a)) for a in matrix.abilities}


def _ratio(last: float | None, best: float | None) -> float | None:
    if last is None or best is None or best <= 0:
        return None
    return finite(last / best)  # a subnormal best can overflow


def first_trained(rows: Sequence[tuple[str, Mapping[str, int]]]) -> dict[str, str]:
    """Return the stage in which each domain was first trained on.

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
    """Return the last score minus the score right after the stage that taught the ability.

    Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, without
    their mean over tasks, for which there is `mean`. A negative value means that later stages
    reduced the ability.

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
    """Return an ability's score from mixed training minus that from its own domain alone.

    Dong et al., ACL 2024 (arXiv 2310.05492). Both runs use the same amount of the ability's own
    data. A negative value means that the other domains reduced the ability; a positive one, that
    they improved it.

    Args:
        mixed: {ability: score} of the run on the mixture.
        single: {ability: score} where each ability comes from the run on its domain alone.

    Returns:
        {ability: difference} for the abilities named in both; None where a score is missing.
    """
    return {a: difference(finite(mixed[a]), finite(single[a])) for a in mixed if a in single}


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the defined values; None where there are none."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def scale_top(values: Iterable[float]) -> float:
    """Return the top of the scale that scores are on: 1, a judge's 10, or 100 for percentages."""
    highest = max(values, default=1.0)
    return next((scale for scale in (1.0, 10.0) if highest <= scale), 100.0)
