"""The tables of a study's report, for Markdown and HTML alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from axolotl_dmt.claims import Judged, Part
from axolotl_dmt.intervals import Difference, Interval
from axolotl_dmt.report_format import MISSING, number
from axolotl_dmt.report_tables import Table
from axolotl_dmt.study_numbers import MEASURES, crossings, curves, differences, summary, variants
from axolotl_dmt.treatments import Comparison, Treatment

HOW_TO_READ = (
    "A number in brackets is a 95% interval over seeds (Student's t; the bootstrap's is in "
    "study_results.csv, and too narrow at few seeds). It says how much the result varies with the "
    "seed of data order and training on the same test items, and nothing of other items or models; "
    "it may pass the end of the scale, and has no width where all seeds agree. p is the exact "
    "paired sign-flip test's, one-sided in the direction of the claim."
)

_MEASURE_NOTES = {
    "forgetting": "Best score after any earlier stage minus the last: above 0 something was lost.",
    "retention": "Last score over the best after any earlier stage, as a ratio.",
    "backward_transfer": (
        "Last score minus that right after the stage that first trained on the ability's domain: "
        "below 0 later stages hurt it."
    ),
}


def interval(found: Interval | None, *, sign: bool = False) -> str:
    """`0.412 [0.380, 0.444]`, or the mean alone of one seed."""
    if found is None:
        return MISSING
    mean = number(found.mean, sign=sign)
    if found.low is None or found.high is None:
        return f"{mean} (one seed)"
    return f"{mean} [{number(found.low, sign=sign)}, {number(found.high, sign=sign)}]"


def p_value(p: float | None) -> str:
    """Three decimals, and never 0."""
    return MISSING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def score_tables(treatments: Sequence[Treatment], abilities: Sequence[str]) -> list[Table]:
    """The main table, treatments by abilities; and one of those with less data, where any are."""
    largest = max((t.amount for t in treatments if t.amount), default=None)
    less = [t for t in treatments if t.amount is not None and t.amount != largest]
    less.sort(key=lambda t: (t.context, t.strategy, t.domain or "", t.amount))
    tables = [
        _scores("Scores after the last stage", [t for t in treatments if t not in less], abilities)
    ]
    if less:
        tables.append(_scores("Scores with less data", less, abilities))
    return tables


def _scores(title: str, treatments: Sequence[Treatment], abilities: Sequence[str]) -> Table:
    return Table(
        title=title,
        note="Mean and 95% interval over seeds.",
        header=("treatment", *abilities, "seeds"),
        rows=tuple(
            (
                t.label,
                *(interval(summary(t.scores(a))) for a in abilities),
                _seeds(t, abilities),
            )
            for t in treatments
        ),
    )


def _seeds(treatment: Treatment, abilities: Sequence[str]) -> str:
    counts = sorted({len(scores) for a in abilities if (scores := treatment.scores(a))})
    return "-".join(str(n) for n in dict.fromkeys(counts[:1] + counts[-1:])) or "0"


def measure_tables(treatments: Sequence[Treatment], abilities: Sequence[str]) -> list[Table]:
    """What stages did to abilities: of treatments with more than one stage."""
    found = []
    for name, note in _MEASURE_NOTES.items():
        table = _measure(name, MEASURES[name], treatments, abilities, note)
        if table.rows:
            found.append(table)
    return found


def _measure(
    name: str,
    of: Callable[[Treatment, str], Mapping[int, float]],
    treatments: Sequence[Treatment],
    abilities: Sequence[str],
    note: str,
) -> Table:
    rows = []
    for t in treatments:
        cells = [interval(summary(of(t, a)), sign=name != "retention") for a in abilities]
        if any(cell != MISSING for cell in cells):
            rows.append((t.label, *cells))
    title = name.replace("_", " ").capitalize()
    return Table(title=title, note=note, header=("treatment", *abilities), rows=tuple(rows))


def differences_table(comparison: Comparison) -> Table | None:
    """DMT at every k above 0 minus the other strategies, paired by seed."""
    title = "DMT minus the other strategies, paired by seed"
    return _pairs(title, differences(comparison), comparison.abilities)


def variants_table(treatments: Sequence[Treatment], abilities: Sequence[str]) -> Table | None:
    """Treatments that differ in a variant or a key of the base only, paired by seed."""
    return _pairs("Variants, paired by seed", variants(treatments), abilities)


def _pairs(
    title: str,
    found: Sequence[tuple[Treatment, Treatment, Mapping[str, Difference]]],
    abilities: Sequence[str],
) -> Table | None:
    if not found:
        return None
    return Table(
        title=title,
        note=(
            "p is two-sided here, since not every one of these is claimed: of five seeds it is "
            "never below 0.062. Nothing is corrected for the number of rows."
        ),
        header=("after", "minus", *abilities),
        rows=tuple(
            (after.label, before.label, *(_pair(pairs.get(a)) for a in abilities))
            for after, before, pairs in found
        ),
        left=(0, 1),
    )


def _pair(difference: Difference | None) -> str:
    if difference is None:
        return MISSING
    return f"{interval(difference.interval, sign=True)} p {p_value(difference.p)}"


def scaling_table(comparison: Comparison) -> Table | None:
    """The preferred curve of each ability and set-up."""
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
            "AICc is better by more than 2. ± is the standard error of leaving a seed out."
        ),
        header=("ability", "set-up", "score =", "residual", "points"),
        rows=tuple(rows),
        left=(0, 1, 2),
    )


def crossing_table(comparison: Comparison) -> Table | None:
    """Where mixing turns from gain to conflict."""
    rows = []
    for ability, found in crossings(comparison).items():
        if found.amount is None:
            said = found.why
        else:
            said = f"{found.amount:.3g} of the data"
            if found.interval:
                said += f" [{found.interval[0]:.3g}, {found.interval[1]:.3g}]"
        rows.append((ability, said, f"{found.found:.0%}"))
    if not rows:
        return None
    return Table(
        title="Where mixing turns from gain to conflict",
        note=(
            "The amount at which the mean of multi-task minus single falls through 0, interpolated "
            "over log amount, with a percentile bootstrap over seeds (too narrow at few seeds) "
            "where at least 95% of the resamples cross."
        ),
        header=("ability", "amount", "resamples that cross"),
        rows=tuple(rows),
        left=(0, 1),
    )


def part_cells(part: Part) -> tuple[str, ...]:
    """Ability, quantity, its interval, p, verdict with its note."""
    found = part.difference
    verdict = f"{part.verdict} ({part.note})" if part.note else part.verdict
    return (
        part.ability,
        part.what,
        interval(found.interval if found else None, sign=True),
        MISSING if found is None or "margin" in part.note else p_value(found.p_greater),
        verdict,
    )


def parts_table(judged: Judged) -> Table:
    """A claim's parts."""
    return Table(
        title="",
        header=("ability", "quantity", "mean [95%]", "p", "verdict"),
        rows=tuple(part_cells(part) for part in judged.parts),
        left=(0, 1, 4),
    )
