"""What changed between two scored models, tested on the items that both answered.

The models are two points of one run's ledger, or points of two runs. Items are compared only where
the models were asked alike, with the same prompts, examples, versions and sandbox.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from axolotl_dmt.files import parse_json
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.items import BASELINE_KIND, STAGE_KIND, read_items
from axolotl_dmt.results.metrics import best
from axolotl_dmt.results.paired import PairedDifference, common_items, holm
from axolotl_dmt.results.results import Results

if TYPE_CHECKING:
    import pyarrow as pa

PREVIOUS: Final = "previous"
BEST: Final = "best"
START: Final = "start"
RUN: Final = "run"
REFERENCES: Final = {
    PREVIOUS: "the stage before",
    BEST: "the best earlier stage",
    START: "the start",
}
"""What a stage is compared with, and how a report names it."""

_SETTINGS: Final = {
    "version": "the version of the task",
    "fewshot": "the number of examples in the prompt",
    "lm_eval": "the version of lm-evaluation-harness",
    "sandbox": "the sandbox",
    "generation": "the settings of the generation",
}
"""The settings under which answers can be compared only if they agree."""
_COLUMNS: Final = (
    *("kind", "point", "ability", "task", "item", "doc", "score"),
    *("prompt_digest", "fewshot", "lm_eval", "sandbox", "generation", "suite"),
)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The scores of one ability's items at one point, with the settings that they depend on.

    Attributes:
        scores: {item's key without its version: score}; items without a score are absent.
        prompts: {item's key without its version: digest of the prompt}.
        settings: {setting: its values, one for each task that differs}.
        suites: the versions of axolotl-dmt.
    """

    scores: dict[str, float] = field(default_factory=dict)
    prompts: dict[str, str | None] = field(default_factory=dict)
    settings: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    suites: set[str] = field(default_factory=set)

    @property
    def mean(self) -> float | None:
        """The mean score; None without a score."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else None

    def difference_to(self, other: Answers, *, same_prompts: bool = True) -> str | None:
        """Return why these answers cannot be compared with others; None where they can.

        Args:
            other: the other answers.
            same_prompts: whether the prompts must be the same. Else the texts that end an answer,
                which belong to the prompt's format, may differ too.
        """
        for name, title in _SETTINGS.items():
            ours, theirs = self.settings[name], other.settings[name]
            if name == "generation" and not same_prompts:
                ours, theirs = _without_stops(ours), _without_stops(theirs)
            if ours != theirs:
                return f"{title} differs ({_listed(ours - theirs)}, {_listed(theirs - ours)})"
        return self._changed_prompts(other) if same_prompts else None

    def _changed_prompts(self, other: Answers) -> str | None:
        common = self.prompts.keys() & other.prompts.keys()
        changed = sum(self.prompts[item] != other.prompts[item] for item in common)
        if changed:
            return f"the prompts differ ({changed:,} of {len(common):,} items)"
        return None

    def warning_with(self, other: Answers) -> str | None:
        """Return what may affect a comparison with others but does not forbid it, or None."""
        if changed := self._changed_prompts(other):
            return changed
        if self.suites == other.suites:
            return None
        ours, theirs = _listed(self.suites), _listed(other.suites)
        return f"scored with different versions of axolotl-dmt ({ours}, {theirs})"


def _without_stops(generations: set[str]) -> set[str]:
    """Return settings of the generation without the texts that end an answer."""
    return {_without_stop(text) for text in generations}


def _without_stop(generation: str) -> str:
    try:
        settings = parse_json(generation)
    except ValueError:
        return generation
    if not isinstance(settings, dict):
        return generation
    return json.dumps({key: value for key, value in settings.items() if key != "until"})


def _listed(values: set[str]) -> str:
    return " and ".join(_short(value) for value in sorted(values)) or "none"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True, kw_only=True)
class Change:
    """The change of one ability between two models.

    Attributes:
        ability: the ability.
        before: name of the first model: a point, or a run.
        after: name of the second model.
        reference: what the first one is to the second: `previous`, `best`, `start`, or `run`.
        items: numbers of items of the first and of the second model.
        paired: the comparison on the items of both; None where there is none.
        p: its p-value, corrected for the number of abilities.
        refusal: why the answers are not compared, or None.
        warning: what may affect the comparison, or None.
    """

    ability: str
    before: str
    after: str
    reference: str
    items: tuple[int, int]
    paired: PairedDifference | None
    p: float | None = None
    refusal: str | None = None
    warning: str | None = None


Ledger = Mapping[str, Mapping[str, Answers]]
"""{point: {ability: its answers}}, the points in the order of their steps."""


def answers_by_point(table: pa.Table, kinds: Sequence[str] = (BASELINE_KIND, STAGE_KIND)) -> Ledger:
    """Return the answers of a ledger by point and ability.

    Args:
        table: the ledger.
        kinds: the kinds of points to read.
    """
    ledger: dict[str, dict[str, Answers]] = {}
    columns = table.select(_COLUMNS).to_pydict()
    for row in zip(*columns.values(), strict=True):
        values = dict(zip(columns, row, strict=True))
        if values["kind"] in kinds:
            abilities = ledger.setdefault(values["point"], {})
            _add(abilities.setdefault(values["ability"], Answers()), values)
    return ledger


def run_ledger(folder: Path, results: Results) -> Ledger:
    """Return the answers of a run at the points whose scores its results hold; empty without any.

    Args:
        folder: the run's output folder.
        results: its results.

    Raises:
        DMTError: the ledger cannot be read.
    """
    path = RunFolder(folder).items
    if not path.is_file():
        return {}
    scored = {point.name: point.scores for point in results.points()}
    return {
        point: {name: answers for name, answers in abilities.items() if name in scored[point]}
        for point, abilities in answers_by_point(read_items(path)).items()
        if point in scored
    }


def last_answers(folder: Path, results: Results) -> Mapping[str, Answers]:
    """Return {ability: answers after the last stage of a run}; empty without a ledger.

    Args:
        folder: the run's output folder.
        results: its results.

    Raises:
        DMTError: the ledger cannot be read.
    """
    if not results.stages:
        return {}
    return run_ledger(folder, results).get(results.stages[-1].name, {})


def _add(answers: Answers, row: Mapping[str, object]) -> None:
    digest, _, version = str(row["item"]).partition("@")
    version, _, copy = version.partition("#")
    item = f"{digest}#{copy}"
    if isinstance(row["score"], float):
        answers.scores[item] = row["score"]
    answers.prompts[item] = None if row["prompt_digest"] is None else str(row["prompt_digest"])
    answers.settings["version"].add(f"{row['task']} {version}")
    for name in ("fewshot", "lm_eval", "sandbox", "generation"):
        if row[name] is not None:
            answers.settings[name].add(str(row[name]))
    if row["suite"] is not None:
        answers.suites.add(str(row["suite"]))


def compare(
    before: Mapping[str, Answers],
    after: Mapping[str, Answers],
    *,
    names: tuple[str, str],
    reference: str,
    same_prompts: bool = True,
) -> list[Change]:
    """Compare two models on the abilities that both have.

    Args:
        before: {ability: answers} of the first model.
        after: the same of the second model.
        names: the names of the two models.
        reference: what the first one is to the second.
        same_prompts: whether they are compared only where they were asked in the same prompts;
            else different prompts are a warning.

    Returns:
        One change for each ability, with p-values that are corrected for their number.
    """
    changes = [
        _change(ability, before[ability], answers, names, reference, same_prompts)
        for ability, answers in after.items()
        if ability in before
    ]
    p_values = {change.ability: change.paired.p for change in changes if change.paired}
    corrected = holm(p_values)
    return [replace(change, p=corrected.get(change.ability)) for change in changes]


def _change(
    ability: str,
    before: Answers,
    after: Answers,
    names: tuple[str, str],
    reference: str,
    same_prompts: bool,
) -> Change:
    refusal = before.difference_to(after, same_prompts=same_prompts)
    paired = None if refusal else common_items(before.scores, after.scores)
    if not refusal and paired is None:
        refusal = "no item has a score of both"
    return Change(
        ability=ability,
        before=names[0],
        after=names[1],
        reference=reference,
        items=(len(before.scores), len(after.scores)),
        paired=paired,
        refusal=refusal,
        warning=None if refusal else before.warning_with(after),
    )


def stage_changes(ledger: Ledger, stages: Sequence[str]) -> tuple[Change, ...]:
    """Return the change of each ability over each stage, against each of `REFERENCES`.

    Args:
        ledger: the answers by point.
        stages: the names of the stages, in training order.
    """
    return tuple(_stage_changes(ledger, stages))


def _stage_changes(ledger: Ledger, stages: Sequence[str]) -> Iterator[Change]:
    start = ledger.get(BASELINE_KIND)
    for index, name in enumerate(stages):
        answers = ledger.get(name)
        if answers is None:
            continue
        earlier = [stage for stage in stages[:index] if stage in ledger]
        previous = stages[index - 1] if index else BASELINE_KIND
        if previous in ledger:
            yield from compare(
                ledger[previous], answers, names=(previous, name), reference=PREVIOUS
            )
        yield from _against_best(ledger, earlier, name)
        if start is not None:
            yield from compare(start, answers, names=(BASELINE_KIND, name), reference=START)


def _against_best(ledger: Ledger, earlier: Sequence[str], name: str) -> list[Change]:
    """Compare each ability with the earlier stage at which it was best."""
    best_answers: dict[str, Answers] = {}
    best_stage: dict[str, str] = {}
    for ability in ledger[name]:
        means = [ledger[s][ability].mean if ability in ledger[s] else None for s in earlier]
        index = best(means)
        if index is not None:
            best_stage[ability] = earlier[index]
            best_answers[ability] = ledger[earlier[index]][ability]
    changes = compare(best_answers, ledger[name], names=("", name), reference=BEST)
    return [replace(change, before=best_stage[change.ability]) for change in changes]
