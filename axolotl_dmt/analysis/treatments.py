"""Holds the results of a study's cells, and groups them into treatments and comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from axolotl_dmt.analysis.measure import SCORE, Measure, Scale
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.amounts import parse_fraction
from axolotl_dmt.results import metrics
from axolotl_dmt.results.changes import Answers
from axolotl_dmt.results.metrics import ScoreMatrix

DOMAIN_AMOUNT = "amount."
"""Prefix of an axis that sets the amount of one domain, such as `amount.math`."""
EQUAL_PARTS = 0.5
"""The weight of the second model in a merge that names none."""
_OWN_AXES = ("strategy", "k", "domain", "amount", "merge", "merge_weight")


@dataclass(frozen=True, kw_only=True)
class CellStage:
    """One stage of a cell's schedule.

    Attributes:
        name: the stage's name.
        rows: {domain: number of distinct rows that the stage trained on}.
        scores: {ability: score after the stage}; empty where nothing was evaluated, NaN where the
            evaluation gave no score. These are the values of the study's measure, whatever it is.
    """

    name: str
    rows: Mapping[str, int]
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One trained and scored cell of a study.

    Attributes:
        name: unique in the study.
        settings: {axis: value} without the seed, such as {"strategy": "dmt", "k": "1/16"}. Cells
            with the same settings are the same treatment under other seeds.
        seed: the seed of its data order and its training.
        stages: the whole schedule in order, including stages that it shares with other cells.
        before: {ability: score of the model before training}; empty where it was not evaluated.
        measure: the measure of the scores.
        answers: {ability: answers to its items after the last stage}; empty without a ledger.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int
    stages: tuple[CellStage, ...]
    before: Mapping[str, float] = field(default_factory=dict)
    measure: Measure = SCORE
    answers: Mapping[str, Answers] = field(default_factory=dict)

    def last(self) -> Mapping[str, float]:
        """Return {ability: score after the last stage}; empty if there is no stage."""
        return self.stages[-1].scores if self.stages else {}

    def matrix(self) -> ScoreMatrix:
        """Return the scores by stage and ability, for `metrics`."""
        abilities = dict.fromkeys(ability for stage in self.stages for ability in stage.scores)
        scored = [(stage.name, dict(stage.scores)) for stage in self.stages]
        return ScoreMatrix.build(scored, abilities)

    def rows(self, domain: str | None = None) -> int:
        """Return the number of distinct rows trained on, of one domain or of all domains.

        The subsets that stages take of a domain are nested, so the largest of them holds all rows
        that were seen, and a replayed row counts once.
        """
        domains = dict.fromkeys(name for stage in self.stages for name in stage.rows)
        largest = {name: max(s.rows.get(name, 0) for s in self.stages) for name in domains}
        return sum(largest.values()) if domain is None else largest.get(domain, 0)


@dataclass(frozen=True)
class Treatment:
    """Cells that differ only in the seed.

    Attributes:
        cells: at least one cell, in the order of their seeds.
    """

    cells: tuple[CellResult, ...]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings {axis: value}, which are the same for every cell."""
        return self.cells[0].settings

    @property
    def strategy(self) -> str:
        """The strategy's name as in the YAML; empty where the study has no such axis.

        A merge of a strategy's stages counts as another strategy.
        """
        name = str(self.settings.get("strategy") or "")
        if merge := self.settings.get("merge"):
            weight = self.settings.get("merge_weight")
            return f"{merge} merge {f'with weight {weight:g} ' if weight else ''}of {name}"
        return name

    @property
    def domain(self) -> str | None:
        """The domain of the strategy `single`; None for other strategies."""
        domain = self.settings.get("domain")
        return None if domain is None else str(domain)

    @cached_property
    def k(self) -> Fraction | None:
        """The replay fraction; None where there is none or it is not a number, such as "auto"."""
        return _fraction(self.settings.get("k"))

    @cached_property
    def amount(self) -> Fraction | None:
        """The fraction of the data, 1 by default; None where it is not a number."""
        amount = self.settings.get("amount")
        return Fraction(1) if amount in (None, "all") else _fraction(amount)

    @cached_property
    def context(self) -> tuple[tuple[str, str], ...]:
        """The other axes, such as the base model; treatments are compared if these agree."""
        other_axes = [
            (key, "null" if value is None else str(value))
            for key, value in self.settings.items()
            if key not in _OWN_AXES
        ]
        not_numbers = [
            (key, str(self.settings[key]))
            for key, value in (("k", self.k), ("amount", self.amount))
            if value is None and self.settings.get(key) is not None
        ]
        return (*other_axes, *not_numbers)

    @property
    def label(self) -> str:
        """The name in tables and plots: `dmt, k = 1/16`, `single math, 1/4 of the data`."""
        name = " ".join(filter(None, (self.strategy.replace("_", " "), self.domain)))
        parts = [name] if name else []
        if self.k is not None:
            parts.append(f"k = {self.k}")
        if self.amount is not None and self.settings.get("amount") is not None:
            parts.append("all data" if self.amount == 1 else f"{self.amount} of the data")
        parts += [
            f"{value} of {key.removeprefix(DOMAIN_AMOUNT)}"
            if key.startswith(DOMAIN_AMOUNT)
            else f"{key} = {short_value(key, value)}"
            for key, value in self.context
        ]
        return ", ".join(parts) or "all cells"

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of the stages; the schedule does not change with the seed."""
        return tuple(stage.name for stage in self.cells[0].stages)

    def by_seed(self, measure: Callable[[CellResult], float | None]) -> dict[int, float]:
        """Return {seed: the measure of its cell}, without seeds for which it is not finite."""
        values = ((cell.seed, metrics.finite(measure(cell))) for cell in self.cells)
        return {seed: value for seed, value in values if value is not None}

    def scores(self, ability: str) -> dict[int, float]:
        """Return {seed: score of an ability after the last stage}, for seeds that have one."""
        return self.by_seed(lambda cell: cell.last().get(ability))

    def gain(self, ability: str) -> dict[int, float]:
        """Return {seed: last score minus the score before training}."""
        return self.by_seed(
            lambda cell: metrics.difference(
                metrics.finite(cell.last().get(ability)), metrics.finite(cell.before.get(ability))
            )
        )

    def forgetting(self, ability: str) -> dict[int, float]:
        """Return {seed: best score after any earlier stage minus the last}."""
        return self.by_seed(lambda cell: metrics.forgetting(cell.matrix()).get(ability))

    def retention(self, ability: str) -> dict[int, float]:
        """Return {seed: last score divided by the best after any earlier stage}."""
        return self.by_seed(lambda cell: metrics.retention(cell.matrix()).get(ability))

    def backward_transfer(self, ability: str) -> dict[int, float]:
        """Return {seed: last score minus the score right after the stage that taught the ability}.

        That stage is the first that trains on the domain with the ability's name.
        """

        def measure(cell: CellResult) -> float | None:
            learned = metrics.first_trained([(s.name, s.rows) for s in cell.stages])
            return metrics.backward_transfer(cell.matrix(), learned).get(ability)

        return self.by_seed(measure)


def _fraction(value: object) -> Fraction | None:
    try:
        return parse_fraction(value, "amount")
    except DMTError:
        return None


def group(cells: Iterable[CellResult]) -> list[Treatment]:
    """Group cells into treatments, in the order in which they first appear.

    Raises:
        ValueError: two cells have the same settings and seed.
    """
    groups: dict[tuple[tuple[str, str], ...], list[CellResult]] = {}
    for cell in cells:
        key = tuple(sorted((axis, str(value)) for axis, value in cell.settings.items()))
        same = groups.setdefault(key, [])
        if any(other.seed == cell.seed for other in same):
            raise ValueError(f"two cells of {dict(key)} have the seed {cell.seed}")
        same.append(cell)
    return [Treatment(tuple(sorted(same, key=lambda c: c.seed))) for same in groups.values()]


def scale_of(treatments: Sequence[Treatment], ability: str) -> Scale:
    """Return the range of an ability's scores, after any stage."""
    cells = [cell for treatment in treatments for cell in treatment.cells]
    values = (metrics.finite(stage.scores.get(ability)) for cell in cells for stage in cell.stages)
    return cells[0].measure.scale(value for value in values if value is not None)


def short_value(axis: str, value: str) -> str:
    """Return the value of an axis as it is shown: a base model without its folders."""
    return value.rstrip("/").rpartition("/")[2] if axis == "base_model" else value


def at_largest_amount(treatments: Sequence[Treatment]) -> list[Treatment]:
    """Return the treatments with the largest amount of data; those of one domain have their own."""
    largest: dict[str | None, Fraction] = {}
    for t in treatments:
        if t.amount:
            largest[t.domain] = max(t.amount, largest.get(t.domain, t.amount))
    return [t for t in treatments if t.amount == largest.get(t.domain)]


def mean_by_seed(columns: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return {seed: mean over the columns} for the seeds that all columns have, ascending."""
    seeds = set.intersection(*(set(column) for column in columns)) if columns else set()
    return {s: sum(column[s] for column in columns) / len(columns) for s in sorted(seeds)}


def abilities_of(treatments: Iterable[Treatment], general: Sequence[str]) -> tuple[str, ...]:
    """Return every ability that was scored, general ones last."""
    abilities = dict.fromkeys(
        ability
        for treatment in treatments
        for cell in treatment.cells
        for stage in cell.stages
        for ability in stage.scores
    )
    return tuple(sorted(abilities, key=lambda ability: ability in general))
