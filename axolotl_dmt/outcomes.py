"""What one cell of a study came to: the contract between the study's runner and its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from axolotl_dmt.metrics import ScoreMatrix


@dataclass(frozen=True, kw_only=True)
class OutcomeStage:
    """One stage of a cell's schedule.

    Attributes:
        name: the stage's name.
        rows: {domain: distinct rows it trained on}.
        scores: {ability: score after it}; empty where nothing was evaluated, NaN where the
            evaluation gave none.
    """

    name: str
    rows: Mapping[str, int]
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One trained and scored cell of a study.

    Attributes:
        cell: its name, unique in the study.
        settings: {axis: value} without the seed, such as {"strategy": "dmt", "k": "1/16"}. Cells
            with the same settings are the same treatment under other seeds.
        seed: of its data order and its training.
        stages: the whole schedule in order; a stage shared with another cell stands here too.
    """

    cell: str
    settings: Mapping[str, Any]
    seed: int
    stages: tuple[OutcomeStage, ...]

    def last(self) -> Mapping[str, float]:
        """{ability: score after the last stage}; empty where there is none."""
        return self.stages[-1].scores if self.stages else {}

    def matrix(self) -> ScoreMatrix:
        """Scores by stage and ability, for `metrics`."""
        abilities = dict.fromkeys(ability for stage in self.stages for ability in stage.scores)
        scored = [(stage.name, dict(stage.scores)) for stage in self.stages]
        return ScoreMatrix.build(scored, abilities)

    def rows(self, domain: str | None = None) -> int:
        """Distinct rows of a domain, or of all domains; a stage that replays counts once.

        Subsets of a domain are nested, so the most that any one stage took is what was seen.
        """
        domains = dict.fromkeys(name for stage in self.stages for name in stage.rows)
        most = {name: max(s.rows.get(name, 0) for s in self.stages) for name in domains}
        return sum(most.values()) if domain is None else most.get(domain, 0)
