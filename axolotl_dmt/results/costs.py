"""The tokens and the time that a run took, by stage and in total."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from axolotl_dmt.results.results import Results

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a stage or of a whole run; unknown values are None.

    Attributes:
        name: the stage's name.
        tokens: tokens that the model read, without padding.
        trained_tokens: those of them that entered the loss.
        training: seconds of training.
        scoring: seconds of scoring.
    """

    name: str
    tokens: int | None
    trained_tokens: int | None
    training: float | None
    scoring: float | None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens per second of training."""
        return self.tokens / self.training if self.tokens and self.training else None


def stage_costs(results: Results) -> list[Cost]:
    """Return the cost of each stage that has ended."""
    planned = {str(s.get("name")): s for s in (results.plan or {}).get("stages", ())}
    costs = []
    for stage in results.stages:
        draws = (planned.get(stage.name, {}).get("domains") or {}).values()
        costs.append(
            Cost(
                name=stage.name,
                tokens=_sum(draw.get("tokens") for draw in draws),
                trained_tokens=_sum(draw.get("trained_tokens") for draw in draws),
                training=results.timings.get(f"train {stage.name}"),
                scoring=results.timings.get(f"evaluate {stage.name}"),
            )
        )
    return costs


def total_costs(results: Results) -> Cost:
    """Return the cost of all stages together.

    A value that is unknown for one stage is unknown for all, but `scoring` is the sum over the
    stages that were scored.
    """
    costs = stage_costs(results)
    scoring = [cost.scoring for cost in costs if cost.scoring is not None]
    return Cost(
        name="all stages",
        tokens=_sum(cost.tokens for cost in costs),
        trained_tokens=_sum(cost.trained_tokens for cost in costs),
        training=_sum(cost.training for cost in costs),
        scoring=sum(scoring) if scoring else None,
    )


def _sum(values: Iterable[Number | None]) -> Number | None:
    """Return the sum; None if a value is unknown or there are no values."""
    total: Number | None = None
    for value in values:
        if value is None:
            return None
        total = value if total is None else total + value
    return total
