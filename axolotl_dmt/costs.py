"""What a run took: tokens and time, by stage and in all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from axolotl_dmt.results import Results


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of a stage, or of a whole run. What is unknown is None.

    Attributes:
        name: of the stage.
        tokens: read, padding aside.
        trained_tokens: those of them that the loss saw.
        training: seconds.
        scoring: seconds.
    """

    name: str
    tokens: int | None
    trained_tokens: int | None
    training: float | None
    scoring: float | None

    @property
    def tokens_per_second(self) -> float | None:
        """While training."""
        return self.tokens / self.training if self.tokens and self.training else None


def stage_costs(results: Results) -> list[Cost]:
    """Of each stage that has ended."""
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
    """Of all stages; a part that is unknown of one stage is unknown of all, scoring aside."""
    costs = stage_costs(results)
    scored = [cost.scoring for cost in costs if cost.scoring is not None]
    training = [cost.training for cost in costs]
    known = [seconds for seconds in training if seconds is not None]
    return Cost(
        name="all stages",
        tokens=_sum(cost.tokens for cost in costs),
        trained_tokens=_sum(cost.trained_tokens for cost in costs),
        training=sum(known) if known and len(known) == len(training) else None,
        scoring=sum(scored) if scored else None,
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    found = list(counts)
    known = [count for count in found if count is not None]
    return sum(known) if known and len(known) == len(found) else None
