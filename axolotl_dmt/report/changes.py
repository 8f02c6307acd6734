"""Tables of what changed on the same items: between the stages of a run, or between runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from axolotl_dmt.report.format import MISSING, count, number
from axolotl_dmt.report.tables import Table
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results.changes import BEST, PREVIOUS, REFERENCES, START, Change

TITLE = "Changes on the same items"
HOW_TO_READ = (
    "Each row compares the answers to the same items. Lost and won count the items whose score "
    "fell or rose. The interval holds the true change with 95% confidence. p is the probability of "
    "a change at least this large if nothing had changed (McNemar's mid-p test, or sign flips for "
    "grades), corrected by Holm's method for the number of abilities. It says nothing about other "
    "training seeds."
)

CLEAN_TITLE = "Scores without contaminated items"
CLEAN_NOTE = (
    "Contaminated items share 13 words in a row, or half of their runs of 8 words, with a row that "
    "was there to train on, so their scores may show memory. Each cell gives the score of all "
    "items and the score without these; dmt.decontaminate: true leaves such rows out."
)


def stage_table(view: ReportView, *, last_only: bool = False) -> Table | None:
    """Return the changes of a run's abilities over its stages; None where there are none.

    Args:
        view: the run.
        last_only: show the last stage alone.
    """
    stages = [stage.name for stage in view.results.stages]
    shown = stages[-1:] if last_only else stages
    changes = [change for change in view.changes if change.after in shown]
    abilities = [line.name for line in view.lines]
    rows = [_row(group, last_only=last_only) for group in _merged(changes, abilities)]
    if not rows:
        return None
    header = ("ability", *(() if last_only else ("stage",)), *_HEADER)
    note = " ".join([HOW_TO_READ, *notes(changes)])
    left = (0, 1) if last_only else (0, 1, 2)
    return Table(title=TITLE, header=header, rows=tuple(rows), note=note, left=left)


def clean_table(view: ReportView) -> Table | None:
    """Return the scores with and without contaminated items; None where there are none."""
    if not view.clean_scores:
        return None
    names = [name for name in view.names if any(name in line.scores for line in view.clean_scores)]
    rows = []
    for line in view.clean_scores:
        cells = [
            f"{number(line.scores[name][0])} → {number(line.scores[name][1])}"
            if name in line.scores
            else MISSING
            for name in names
        ]
        rows.append((line.ability, f"{count(line.contaminated)} of {count(line.items)}", *cells))
    header = ("ability", "contaminated", *names)
    return Table(title=CLEAN_TITLE, header=header, rows=tuple(rows), note=CLEAN_NOTE)


_HEADER = ("against", "change", "95% interval", "lost", "won", "n", "p")


def _merged(changes: Sequence[Change], abilities: Sequence[str]) -> list[list[Change]]:
    """Group the changes that compare the same two points, such as the best and the former stage.

    The groups are in the order of the stages, then of `abilities`.
    """
    groups: dict[tuple[str, str, str], list[Change]] = {}
    order = {PREVIOUS: 0, BEST: 1, START: 2}
    for change in changes:
        groups.setdefault((change.ability, change.after, change.before), []).append(change)
    stages = list(dict.fromkeys(change.after for change in changes))
    return sorted(
        groups.values(),
        key=lambda group: (
            stages.index(group[0].after),
            abilities.index(group[0].ability),
            order[group[0].reference],
        ),
    )


def _row(group: Sequence[Change], *, last_only: bool) -> tuple[str, ...]:
    change = group[0]
    against = change.before
    if any(each.reference == START for each in group):
        against = REFERENCES[START]
    elif any(each.reference == BEST for each in group) and not last_only:
        against = f"{against} (best)"
    p_values = [each.p for each in group if each.p is not None]
    stage = () if last_only else (change.after,)
    return (change.ability, *stage, against, *cells(change, max(p_values, default=None)))


def cells(change: Change, p: float | None) -> tuple[str, ...]:
    """Return the cells from the change on: change, interval, lost, won, n and p."""
    paired = change.paired
    if paired is None:
        return ("not compared", MISSING, MISSING, MISSING, MISSING, MISSING)
    return (
        number(paired.difference, sign=True),
        f"{number(paired.low, sign=True)} to {number(paired.high, sign=True)}",
        count(paired.lost),
        count(paired.won),
        of_items(change),
        p_text(p),
    )


def of_items(change: Change) -> str:
    """Return the number of common items, with that of all items where some are not common."""
    common = change.paired.n if change.paired else 0
    most = max(change.items)
    return count(common) if common == most else f"{count(common)} of {count(most)}"


def p_text(p: float | None) -> str:
    """Return a p-value with two significant digits, and `< 0.001` below."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def notes(changes: Iterable[Change]) -> list[str]:
    """Return a sentence for each reason why abilities are not compared or only with care."""
    abilities: dict[str, list[str]] = {}
    for change in changes:
        for text, consequence in ((change.refusal, "not compared"), (change.warning, "caution")):
            if text:
                sentence = f"{consequence}: {text}."
                abilities.setdefault(sentence, []).append(change.ability)
    return [f"{', '.join(dict.fromkeys(names))} {text}" for text, names in abilities.items()]
