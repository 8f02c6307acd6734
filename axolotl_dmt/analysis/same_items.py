"""Compares treatments on the test items that both answered, from the ledgers of their cells.

An interval over seeds says how much a result varies with the seed, on the same items. This one says
how much it varies with the items, for the models that were trained, so a study with one seed has it
too. With several seeds, an item's score is its mean over the seeds that both treatments have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from axolotl_dmt.analysis.comparisons import Comparison
from axolotl_dmt.analysis.numbers import differences, variants
from axolotl_dmt.analysis.treatments import Treatment
from axolotl_dmt.report.changes import cells as change_cells
from axolotl_dmt.report.changes import notes
from axolotl_dmt.report.tables import Table
from axolotl_dmt.results.changes import RUN, Answers, Change, compare
from axolotl_dmt.results.metrics import finite
from axolotl_dmt.results.paired import PairedDifference

NOTE = (
    "Each row compares the answers after the last stage to the same items. With several seeds, the "
    "score of an item is its mean over the seeds that both have. The interval holds the true "
    "difference of these models over many such items with 95% confidence, and p (McNemar's mid-p "
    "test for one seed, else sign flips) is corrected by Holm's method for the abilities of a "
    "pair. Neither says anything about other seeds."
)


def same_items(pairs: Sequence[tuple[Treatment, Treatment, Any]]) -> list[Change]:
    """Compare pairs of treatments on the items that both answered.

    Args:
        pairs: (treatment, the one to compare it with, anything else).

    Returns:
        A change for each ability of each pair; none for pairs without ledgers of the same seed.
    """
    changes = []
    for after, before, _ in pairs:
        seeds = sorted(_seeds(after) & _seeds(before))
        names = (before.label, after.label)
        answers = (_mean_answers(before, seeds), _mean_answers(after, seeds))
        changes += compare(*answers, names=names, reference=RUN)
    return changes


def changes_of(comparison: Comparison) -> list[Change]:
    """Return the changes from the other strategies to DMT, on the same items."""
    return same_items(differences(comparison))


def items_table(title: str, changes: Sequence[Change]) -> Table | None:
    """Return a table of changes on the same items; None where no cell has a ledger."""
    if not changes:
        return None
    return Table(
        title=title,
        note=" ".join([NOTE, *notes(changes)]),
        header=("after", "minus", "ability", *_HEADER),
        rows=tuple((c.after, c.before, c.ability, *change_cells(c, c.p)) for c in changes),
        left=(0, 1, 2),
    )


_HEADER = ("change", "95% interval", "lost", "won", "n", "p")


def section_table(comparison: Comparison) -> Table | None:
    """Return the table of DMT minus the other strategies, on the same items."""
    title = "DMT minus the other strategies, on the same items"
    return items_table(title, changes_of(comparison))


def variant_items_table(treatments: Sequence[Treatment]) -> Table | None:
    """Return the table of treatments that differ only in a variant or a key of the base."""
    return items_table("Variants, on the same items", same_items(variants(treatments)))


def items_json(
    treatments: Sequence[Treatment], comparisons: Sequence[Comparison]
) -> list[dict[str, Any]]:
    """Return the changes on the same items, for `study_results.json`."""
    pairs = [pair for comparison in comparisons for pair in differences(comparison)]
    return [
        {
            "treatment": change.after,
            "against": change.before,
            "ability": change.ability,
            **(_paired_json(change.paired) if change.paired else {}),
            "difference": change.paired.difference if change.paired else None,
            "p_corrected": change.p,
            "not_compared": change.refusal,
        }
        for change in same_items([*pairs, *variants(treatments)])
    ]


def _paired_json(paired: PairedDifference) -> dict[str, Any]:
    """Return a difference whose interval is null where one item bounds nothing."""
    plain = asdict(paired)
    return plain | {name: finite(plain[name]) for name in ("low", "high")}


def _seeds(treatment: Treatment) -> set[int]:
    return {cell.seed for cell in treatment.cells if cell.answers}


def _mean_answers(treatment: Treatment, seeds: Sequence[int]) -> dict[str, Answers]:
    """Return {ability: answers}, in which the score of an item is its mean over some seeds."""
    by_seed = {cell.seed: cell.answers for cell in treatment.cells}
    chosen = [by_seed[seed] for seed in seeds]
    abilities = dict.fromkeys(ability for answers in chosen for ability in answers)
    return {
        ability: _mean([answers[ability] for answers in chosen])
        for ability in abilities
        if all(ability in answers for answers in chosen)
    }


def _mean(answers: Sequence[Answers]) -> Answers:
    """Return answers with the mean scores of the items that all have."""
    mean, first = Answers(), answers[0]
    for item in first.scores:
        scores = [each.scores[item] for each in answers if item in each.scores]
        if len(scores) == len(answers):
            mean.scores[item] = sum(scores) / len(scores)
    for each in answers:
        for item, prompt in each.prompts.items():
            # An item whose prompt differs between seeds has no prompt to compare.
            same = mean.prompts.setdefault(item, prompt) == prompt
            mean.prompts[item] = prompt if same else None
        for name, values in each.settings.items():
            mean.settings[name] |= values
        mean.suites.update(each.suites)
    return mean
