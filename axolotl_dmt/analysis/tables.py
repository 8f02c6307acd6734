"""Builds the tables of a study's report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from axolotl_dmt.analysis.claims import Judged
from axolotl_dmt.analysis.comparisons import Comparison
from axolotl_dmt.analysis.intervals import Difference, Interval
from axolotl_dmt.analysis.measure import SCORE
from axolotl_dmt.analysis.numbers import MEASURES, crossings, curves, differences, summary, variants
from axolotl_dmt.analysis.treatments import Treatment, at_largest_amount
from axolotl_dmt.analysis.verdicts import Part
from axolotl_dmt.report.format import MISSING, number
from axolotl_dmt.report.tables import Table

HOW_TO_READ = (
    "Numbers in brackets are a 95% interval over seeds (Student's t; the bootstrap interval is in "
    "study_results.csv and is too narrow with few seeds). It shows how much the result varies with "
    "the seed of data order and training on the same test items, and says nothing about other "
    "items or models. It may extend beyond the scale, and has zero width where all seeds agree. p "
    "is the p-value of the exact paired sign-flip test, one-sided in the direction of the claim."
)

_MEASURE_NOTES = {
    "forgetting": (
        "Best score after any earlier stage minus the last score: above 0, something was lost."
    ),
    "retention": (
        "Last score divided by the best score after any earlier stage: above 1, something was "
        "gained."
    ),
    "backward_transfer": (
        "Last score minus the score right after the stage that first trained on the ability's "
        "domain: below 0, later stages harmed the ability."
    ),
}


def interval_text(interval: Interval | None, *, sign: bool = False) -> str:
    """Return `0.412 [0.380, 0.444]`, or `0.412 (one seed)`."""
    if interval is None:
        return MISSING
    mean = number(interval.mean, sign=sign)
    if interval.low is None or interval.high is None:
        return f"{mean} (one seed)"
    return f"{mean} [{number(interval.low, sign=sign)}, {number(interval.high, sign=sign)}]"


def p_value(p: float | None) -> str:
    """Return a p-value with three decimals, never as 0."""
    return MISSING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def score_tables(treatments: Sequence[Treatment], abilities: Sequence[str]) -> list[Table]:
    """Return the main table, of treatments by abilities, and that of treatments with less data."""
    largest = at_largest_amount(treatments)
    less = [t for t in treatments if t.amount is not None and t not in largest]
    less.sort(key=lambda t: (t.context, t.strategy, t.domain or "", t.amount))
    measure = treatments[0].cells[0].measure if treatments else SCORE
    name = "Scores" if measure.is_score else measure.title
    tables = [
        _scores(f"{name} after the last stage", [t for t in treatments if t not in less], abilities)
    ]
    if less:
        tables.append(_scores(f"{name} with less data", less, abilities))
    return tables


def _scores(title: str, treatments: Sequence[Treatment], abilities: Sequence[str]) -> Table:
    return Table(
        title=title,
        note="Mean and 95% interval over seeds.",
        header=("treatment", *abilities, "seeds"),
        rows=tuple(
            (
                t.label,
                *(interval_text(summary(t.scores(a))) for a in abilities),
                _seeds(t, abilities),
            )
            for t in treatments
        ),
    )


def _seeds(treatment: Treatment, abilities: Sequence[str]) -> str:
    """Return the number of scored seeds, as a range such as `3-5` where abilities differ in it."""
    counts = sorted({len(scores) for a in abilities if (scores := treatment.scores(a))})
    return "-".join(str(n) for n in dict.fromkeys(counts[:1] + counts[-1:])) or "0"


def measure_tables(treatments: Sequence[Treatment], abilities: Sequence[str]) -> list[Table]:
    """Return tables on the effects of later stages, for treatments with more than one stage."""
    tables = []
    for name, note in _MEASURE_NOTES.items():
        table = _measure(name, MEASURES[name], treatments, abilities, note)
        if table.rows:
            tables.append(table)
    return tables


def _measure(
    name: str,
    values_of: Callable[[Treatment, str], Mapping[int, float]],
    treatments: Sequence[Treatment],
    abilities: Sequence[str],
    note: str,
) -> Table:
    rows = []
    for t in treatments:
        signed = name != "retention"
        cells = [interval_text(summary(values_of(t, a)), sign=signed) for a in abilities]
        if any(cell != MISSING for cell in cells):
            rows.append((t.label, *cells))
    title = name.replace("_", " ").capitalize()
    return Table(title=title, note=note, header=("treatment", *abilities), rows=tuple(rows))


def differences_table(comparison: Comparison) -> Table | None:
    """Return the table of DMT at every k above 0 minus the other strategies, paired by seed."""
    title = "DMT minus the other strategies, paired by seed"
    return _pairs(title, differences(comparison), comparison.abilities)


def variants_table(treatments: Sequence[Treatment], abilities: Sequence[str]) -> Table | None:
    """Return the table of treatments that differ only in a variant or a key of the base."""
    return _pairs("Variants, paired by seed", variants(treatments), abilities)


def _pairs(
    title: str,
    compared: Sequence[tuple[Treatment, Treatment, Mapping[str, Difference]]],
    abilities: Sequence[str],
) -> Table | None:
    if not compared:
        return None
    return Table(
        title=title,
        note=(
            "p is two-sided here, since not all of these differences are claims: with five seeds "
            "it is never below 0.062. There is no correction for the number of rows."
        ),
        header=("after", "minus", *abilities),
        rows=tuple(
            (after.label, before.label, *(_pair(pairs.get(a)) for a in abilities))
            for after, before, pairs in compared
        ),
        left=(0, 1),
    )


def _pair(difference: Difference | None) -> str:
    if difference is None:
        return MISSING
    return f"{interval_text(difference.interval, sign=True)} p {p_value(difference.p)}"


def scaling_table(comparison: Comparison) -> Table | None:
    """Return the table of the preferred curve of each ability and set-up."""
    rows = []
    for curve in curves(comparison):
        fit = next(iter(curve.fits.values()), None)
        if fit:
            setup = curve.setup.replace("_", " ")
            counts = f"{fit.points} of {fit.seeds} seeds"
            rows.append((curve.ability, setup, fit.formula(), f"{fit.residual:.3f}", counts))
    if not rows:
        return None
    return Table(
        title="Fitted scaling curves",
        note=(
            "Least squares of score on rows of the ability's own data; a power law only where its "
            "AICc is better by more than 2. ± is the delete-one-seed jackknife standard error."
        ),
        header=("ability", "set-up", "score =", "residual", "points"),
        rows=tuple(rows),
        left=(0, 1, 2),
    )


def crossing_table(comparison: Comparison) -> Table | None:
    """Return the table of the amounts at which mixing turns from gain to conflict, by ability."""
    rows = []
    for ability, crossing in crossings(comparison).items():
        if crossing.amount is None:
            text = crossing.reason
        else:
            text = f"{crossing.amount:.3g} of the data"
            if crossing.interval:
                text += f" [{crossing.interval[0]:.3g}, {crossing.interval[1]:.3g}]"
        rows.append((ability, text, f"{crossing.resamples:.0%}"))
    if not rows:
        return None
    return Table(
        title="Where mixing turns from gain to conflict",
        note=(
            "The amount at which the mean of multi-task minus single falls through 0, interpolated "
            "over log amount, with a percentile bootstrap over seeds (too narrow with few seeds) "
            "where at least 95% of the resamples cross."
        ),
        header=("ability", "amount", "resamples that cross"),
        rows=tuple(rows),
        left=(0, 1),
    )


def part_cells(part: Part) -> tuple[str, ...]:
    """Return a row of `parts_table`: ability, quantity, its interval, p, verdict with its note."""
    difference = part.difference
    verdict = f"{part.verdict} ({part.note})" if part.note else part.verdict
    return (
        part.ability,
        part.quantity,
        interval_text(difference.interval if difference else None, sign=True),
        MISSING if difference is None or "margin" in part.note else p_value(difference.p_greater),
        verdict,
    )


def parts_table(judged: Judged) -> Table:
    """Return the table of a claim's parts, without a title."""
    return Table(
        title="",
        header=("ability", "quantity", "mean [95%]", "p", "verdict"),
        rows=tuple(part_cells(part) for part in judged.parts),
        left=(0, 1, 4),
    )
