"""A gate: whether a run's last stage keeps and improves abilities by given limits.

A rule holds if the change's one-sided 95% bound lies above its limit, and does not hold if the
other bound lies below it. Otherwise there are too few items to tell, and the outcome says how many
would be enough.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from axolotl_dmt.errors import DMTError
from axolotl_dmt.results.changes import BEST, RUN, Answers, Change, compare, run_ledger
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.results.items import BASELINE_KIND
from axolotl_dmt.results.metrics import best
from axolotl_dmt.results.paired import ALPHA, PairedDifference, interval_of, items_to_clear
from axolotl_dmt.results.results import Results

KEEP: Final = "keep"
IMPROVE: Final = "improve"


class Verdict(IntEnum):
    """What became of a rule, or of a whole gate; the value is the command's exit status."""

    HOLDS = 0
    FAILS = 1
    UNKNOWN = 2


_WORDS: Final = {
    Verdict.HOLDS: "holds",
    Verdict.FAILS: "does not hold",
    Verdict.UNKNOWN: "undecided",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A limit on the change of an ability.

    Attributes:
        kind: `keep` or `improve`; both ask for a change of at least `limit`.
        ability: the ability.
        limit: the smallest change of the score: at most 0 for `keep`, at least 0 for `improve`.
    """

    kind: str
    ability: str
    limit: float

    @property
    def name(self) -> str:
        """The rule as an option of the command."""
        return f"{self.kind} {self.ability}={self.limit:+g}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a rule.

    Attributes:
        rule: the rule.
        verdict: whether it holds.
        reason: the figures behind the verdict.
    """

    rule: Rule
    verdict: Verdict
    reason: str

    def __str__(self) -> str:
        return f"{_WORDS[self.verdict]}: {self.rule.name}: {self.reason}"


def verdict_of(outcomes: Sequence[Outcome]) -> Verdict:
    """Return the verdict of a gate: one rule that fails decides, then one that is undecided."""
    verdicts = {outcome.verdict for outcome in outcomes}
    for verdict in (Verdict.FAILS, Verdict.UNKNOWN):
        if verdict in verdicts:
            return verdict
    return Verdict.HOLDS


def rules_of(keep: Mapping[str, float], improve: Mapping[str, float]) -> list[Rule]:
    """Return the rules of a gate.

    Args:
        keep: {ability: the largest loss, as a change of at most 0}.
        improve: {ability: the smallest gain, at least 0}.

    Raises:
        DMTError: there is no rule, or a limit has the wrong sign.
    """
    rules = [Rule(kind=KEEP, ability=name, limit=limit) for name, limit in keep.items()]
    rules += [Rule(kind=IMPROVE, ability=name, limit=limit) for name, limit in improve.items()]
    if not rules:
        raise DMTError("keep", "the gate has no rule", "write for example keep: {math: -0.02}")
    for rule in rules:
        if abs(rule.limit) == float("inf") or rule.limit != rule.limit:
            raise DMTError(f"{rule.kind}.{rule.ability}", "is not a number", "write -0.02")
        if rule.kind == KEEP and rule.limit > 0:
            fix = f"write {-rule.limit:g}, the change that is still accepted, or use improve"
            raise DMTError(f"keep.{rule.ability}", f"{rule.limit:g} is above 0", fix)
        if rule.kind == IMPROVE and rule.limit < 0:
            fix = f"use keep: {{{rule.ability}: {rule.limit:g}}}"
            raise DMTError(f"improve.{rule.ability}", f"{rule.limit:g} is below 0", fix)
    return rules


def judge_run(folder: Path, rules: Sequence[Rule], against: str | None) -> list[Outcome]:
    """Judge the last stage of a run.

    Args:
        folder: the run's output folder.
        rules: the rules.
        against: `baseline`, the name of an earlier stage, or the output folder of another run,
            whose last stage is meant; None means the best earlier point of each ability.

    Raises:
        DMTError: the run has no scores or no ledger, there is no such reference, or the run has no
            such ability.
    """
    results = load_results(folder)
    ledger = run_ledger(folder, results)
    stages = [stage.name for stage in results.stages]
    _check_ended(folder, results, "RUN")
    if not stages or not ledger.get(stages[-1]):
        fix = "score it: axolotl dmt evaluate OUTPUT_DIR --again (with evaluate.items: full)"
        raise DMTError("RUN", f"{folder} has no items of its last stage", fix)
    last = ledger[stages[-1]]
    for rule in rules:
        if rule.ability not in last:
            fix = f"abilities of the run: {', '.join(last)}"
            problem = f"the last stage has no items of {rule.ability}"
            raise DMTError(f"{rule.kind}.{rule.ability}", problem, fix)
    names = [BASELINE_KIND, *stages[:-1]]
    if against is None:
        points = {name: ledger[name] for name in names if name in ledger}
        changes = _against_best(points, last, stages[-1])
    else:
        before = _reference(folder, ledger, names, against)
        changes = compare(before, last, names=(against, stages[-1]), reference=RUN)
    return judge(rules, {change.ability: change for change in changes})


def _check_ended(folder: Path, results: Results, key: str) -> None:
    """Check that a run has trained all stages of its plan.

    Raises:
        DMTError: it has not, so that its last result is not that of the run.
    """
    planned = [str(stage.get("name")) for stage in (results.plan or {}).get("stages", ())]
    ended = {stage.name for stage in results.stages}
    if planned and planned[-1] not in ended:
        fix = "let the training end; axolotl train continues it from its last checkpoint"
        raise DMTError(key, f"stage {planned[-1]} of {folder} has not ended", fix)


def _reference(
    folder: Path, ledger: Mapping[str, Mapping[str, Answers]], names: Sequence[str], against: str
) -> Mapping[str, Answers]:
    if against in names:
        if against not in ledger:
            raise DMTError("against", f"{folder} has no items of {against}", "score that point")
        return ledger[against]
    other = Path(against)
    if not other.is_dir():
        fix = f"name {', '.join(names)}, or the output folder of another run"
        raise DMTError("against", f"{against!r} is no earlier stage and no folder", fix)
    results = load_results(other)
    _check_ended(other, results, "against")
    last = results.stages[-1].name if results.stages else ""
    answers = run_ledger(other, results).get(last)
    if not answers:
        fix = "score it: axolotl dmt evaluate OUTPUT_DIR --again"
        raise DMTError("against", f"{other} has no items of its last stage", fix)
    return answers


def _against_best(
    points: Mapping[str, Mapping[str, Answers]], last: Mapping[str, Answers], name: str
) -> list[Change]:
    """Compare each ability with the earlier point at which it was best."""
    changes = []
    for ability, answers in last.items():
        scored = [point for point in points if ability in points[point]]
        index = best([points[point][ability].mean for point in scored])
        if index is not None:
            before = {ability: points[scored[index]][ability]}
            pair = (scored[index], name)
            changes += compare(before, {ability: answers}, names=pair, reference=BEST)
    return changes


def judge(rules: Sequence[Rule], changes: Mapping[str, Change]) -> list[Outcome]:
    """Judge rules by the changes of the abilities.

    A gate holds only if every rule does, so each needs no correction for their number; a rule fails
    only beyond chance among all rules (Bonferroni).

    Args:
        rules: the rules.
        changes: {ability: its change}.
    """
    return [_judged(rule, changes.get(rule.ability), len(rules)) for rule in rules]


def _judged(rule: Rule, change: Change | None, rules: int) -> Outcome:
    if change is None or change.paired is None:
        reason = (change and change.refusal) or "no earlier point has items of it"
        return Outcome(rule=rule, verdict=Verdict.UNKNOWN, reason=reason)
    paired = change.paired
    low, _ = interval_of(paired, 1 - 2 * ALPHA)
    _, high = interval_of(paired, 1 - 2 * ALPHA / rules)
    verdict = Verdict.UNKNOWN
    if low >= rule.limit:
        verdict = Verdict.HOLDS
    elif high < rule.limit:
        verdict = Verdict.FAILS
    return Outcome(rule=rule, verdict=verdict, reason=_reason(rule, change, paired, verdict))


def _reason(rule: Rule, change: Change, paired: PairedDifference, verdict: Verdict) -> str:
    low, high = interval_of(paired, 1 - 2 * ALPHA)
    figures = (
        f"{paired.difference:+.3f} against {change.before} ({low:+.3f} to {high:+.3f}, "
        f"{paired.lost:,} lost and {paired.won:,} won of {paired.n:,})"
    )
    if verdict is not Verdict.UNKNOWN:
        return figures
    needed = items_to_clear(paired, rule.limit)
    if needed is None:
        return f"{figures}; the change is too close to the limit for any number of items"
    return f"{figures}; about {max(needed, paired.n + 1):,} items would decide it"


def write_junit(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes as a JUnit file, in which each rule is a test.

    A rule that does not hold is a failure, and an undecided one an error.

    Raises:
        OSError: the file cannot be written.
    """
    counts = {verdict: sum(o.verdict is verdict for o in outcomes) for verdict in Verdict}
    suite = ET.Element(
        "testsuite",
        name="axolotl dmt gate",
        tests=str(len(outcomes)),
        failures=str(counts[Verdict.FAILS]),
        errors=str(counts[Verdict.UNKNOWN]),
    )
    for outcome in outcomes:
        case = ET.SubElement(suite, "testcase", classname="gate", name=outcome.rule.name)
        tag = {Verdict.FAILS: "failure", Verdict.UNKNOWN: "error"}.get(outcome.verdict)
        if tag is None:
            ET.SubElement(case, "system-out").text = outcome.reason
        else:
            ET.SubElement(case, tag, message=str(outcome))
    tree = ET.ElementTree(suite)
    ET.indent(tree)
    tree.write(path, encoding="utf-8", xml_declaration=True)
