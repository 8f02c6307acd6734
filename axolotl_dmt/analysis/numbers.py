"""Collects all numbers of a study: as rows of one CSV table, and as one JSON object."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axolotl_dmt.analysis.claims import Judged, conflicts, judge
from axolotl_dmt.analysis.comparisons import Comparison
from axolotl_dmt.analysis.intervals import Difference, Interval, over_seeds, paired
from axolotl_dmt.analysis.scaling import (
    Crossing,
    Points,
    ScalingFit,
    fit_scaling,
    gain_turns_to_conflict,
)
from axolotl_dmt.analysis.treatments import DOMAIN_AMOUNT, Treatment
from axolotl_dmt.results import metrics

SCHEMA = 1
COLUMNS = (
    "measure",
    "treatment",
    "against",
    "ability",
    "seed",
    "stage",
    "cell",
    "value",
    "low",
    "high",
    "bootstrap_low",
    "bootstrap_high",
    "n",
    "p_greater",
    "p_less",
)
"""The columns of `study_results.csv`. Rows with a seed are single values, the others are means."""

MEASURES: dict[str, Callable[[Treatment, str], dict[int, float]]] = {
    "score": Treatment.scores,
    "retention": Treatment.retention,
    "forgetting": Treatment.forgetting,
    "backward_transfer": Treatment.backward_transfer,
}


@dataclass(frozen=True, kw_only=True)
class ScalingCurve:
    """One ability's scores by the amount of its data, in one set-up.

    Attributes:
        ability: the ability.
        setup: "single" or "multi_task".
        points: {seed: (rows of the ability's own domain, score)}.
        fits: {model: fit}, the preferred one first.
    """

    ability: str
    setup: str
    points: Points
    fits: Mapping[str, ScalingFit]


def summary(values: Mapping[int, float]) -> Interval | None:
    """Return the mean over seeds with its intervals; None without any seed."""
    return over_seeds(list(values.values())) if values else None


def change_of(after: Mapping[int, float], before: Mapping[int, float]) -> Interval | None:
    """Return the interval of the paired difference; None if no seed has both values."""
    difference = paired(after, before)
    return difference.interval if difference else None


def curves(comparison: Comparison) -> list[ScalingCurve]:
    """Return the scaling curves of every ability that is also a domain with several amounts."""
    scaling = []
    for ability in comparison.abilities:
        for setup, domain in (("single", ability), ("multi_task", None)):
            points: dict[int, list[tuple[float, float]]] = {}
            for treatment in comparison.amounts(setup, domain).values():
                scores = treatment.scores(ability)
                for cell in treatment.cells:
                    rows = cell.rows(ability)
                    if rows and cell.seed in scores:
                        points.setdefault(cell.seed, []).append((rows, scores[cell.seed]))
            # Seeds may have somewhat different rows of the same amount.
            if any(len({rows for rows, _ in line}) > 1 for line in points.values()):
                fits = fit_scaling(points)
                scaling.append(ScalingCurve(ability=ability, setup=setup, points=points, fits=fits))
    return scaling


def crossings(comparison: Comparison) -> dict[str, Crossing]:
    """Return {ability: where mixing turns from gain to conflict}.

    Abilities that were studied at fewer than two amounts are left out.
    """
    by_ability = {
        ability: gain_turns_to_conflict(
            {float(a): d.by_seed for a, d in conflicts(comparison, ability).items()}
        )
        for ability in comparison.abilities
    }
    return {ability: crossing for ability, crossing in by_ability.items() if crossing}


def differences(
    comparison: Comparison,
) -> list[tuple[Treatment, Treatment, dict[str, Difference]]]:
    """Compare DMT at each k above 0 with the other strategies, at the largest amount of data.

    Returns:
        (DMT, the other strategy, {ability: paired difference}) for each pair.
    """
    treatments = [t for t in comparison.treatments if t.amount == comparison.largest_amount]
    compared = []
    for after in (t for t in treatments if t.strategy == "dmt" and t.k != 0):
        for before in (t for t in treatments if t.strategy not in ("dmt", "single")):
            pairs = {a: paired(after.scores(a), before.scores(a)) for a in comparison.abilities}
            compared.append((after, before, {a: pair for a, pair in pairs.items() if pair}))
    return compared


def variants(
    treatments: Sequence[Treatment],
) -> list[tuple[Treatment, Treatment, dict[str, Difference]]]:
    """Compare each treatment with the first one of the same kind.

    Treatments are of the same kind if they agree in strategy, k, domain and amounts, and differ
    only in other axes, such as a variant or a key of the base.

    Returns:
        (treatment, the first one, {ability: paired difference}) for each pair.
    """
    first: dict[tuple[Any, ...], Treatment] = {}
    compared = []
    for after in treatments:
        amounts = [(key, v) for key, v in after.context if key.startswith(DOMAIN_AMOUNT)]
        kind = (after.strategy, after.k, after.domain, after.amount, *amounts)
        before = first.setdefault(kind, after)
        if before is not after:
            abilities = dict.fromkeys([*before.cells[0].last(), *after.cells[0].last()])
            pairs = {a: paired(after.scores(a), before.scores(a)) for a in abilities}
            compared.append((after, before, {a: pair for a, pair in pairs.items() if pair}))
    return compared


def records(
    treatments: Sequence[Treatment], abilities: Sequence[str], comparisons: Iterable[Comparison]
) -> list[dict[str, Any]]:
    """Return the rows of `study_results.csv`; a row lacks the columns that do not apply to it."""
    rows = []
    for treatment in treatments:
        rows += _measured(treatment)
        for measure, values_of in MEASURES.items():
            for ability in abilities:
                by_seed = values_of(treatment, ability)
                mean = summary(by_seed)
                if mean is not None:
                    labels = {"treatment": treatment.label, "ability": ability}
                    rows.append({"measure": measure, **labels, **_interval(mean)})
                    if measure != "score":  # each seed's score is a row already
                        rows += [
                            {"measure": measure, **labels, "seed": seed, "value": value}
                            for seed, value in by_seed.items()
                        ]
    comparisons = list(comparisons)
    compared = [pair for comparison in comparisons for pair in differences(comparison)]
    for after, before, pairs in (*compared, *variants(treatments)):
        for ability, difference in pairs.items():
            labels = {"treatment": after.label, "against": before.label, "ability": ability}
            rows.append({"measure": "difference", **labels, **_difference(difference)})
    for comparison in comparisons:
        for ability in comparison.abilities:
            for amount, difference in conflicts(comparison, ability).items():
                labels = {"treatment": f"multi task at {amount}", "against": f"single {ability}"}
                labels["ability"] = ability
                rows.append({"measure": "conflict", **labels, **_difference(difference)})
    return rows


def _measured(treatment: Treatment) -> list[dict[str, Any]]:
    """Return a row for each measured score: of every seed, stage and ability."""
    return [
        {
            "measure": "score",
            "treatment": treatment.label,
            "ability": ability,
            "seed": cell.seed,
            "stage": stage.name,
            "cell": cell.name,
            "value": metrics.finite(value),
        }
        for cell in treatment.cells
        for stage in cell.stages
        for ability, value in stage.scores.items()
    ]


def _interval(interval: Interval) -> dict[str, Any]:
    low, high = interval.bootstrap or (None, None)
    ends = {"low": interval.low, "high": interval.high}
    ends |= {"bootstrap_low": low, "bootstrap_high": high}
    return {"value": interval.mean, **ends, "n": interval.n}


def _difference(difference: Difference) -> dict[str, Any]:
    p_values = {"p_greater": difference.p_greater, "p_less": difference.p_less}
    return {**_interval(difference.interval), **p_values}


def to_json(
    title: str,
    notes: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    treatments: Sequence[Treatment],
    comparisons: Sequence[Comparison],
    by_size: Judged | None = None,
) -> dict[str, Any]:
    """Return the content of `study_results.json`.

    Args:
        title: the study's title.
        notes: the notes of the report, in Markdown.
        rows: the rows of `study_results.csv`.
        treatments: all treatments of the study.
        comparisons: the groups of treatments that may be compared.
        by_size: the verdict on the claim on base models of several sizes, or None.
    """
    return {
        "schema": SCHEMA,
        "title": title,
        "notes": list(notes),
        "treatments": [
            {
                "label": treatment.label,
                "settings": {axis: str(value) for axis, value in treatment.settings.items()},
                "seeds": [cell.seed for cell in treatment.cells],
                "stages": list(treatment.stage_names),
            }
            for treatment in treatments
        ],
        "comparisons": [
            {
                "context": dict(comparison.context),
                "reference": reference.label if (reference := comparison.reference()) else None,
                "claims": [_claim(judged) for judged in judge(comparison)],
                "scaling": [_curve(curve) for curve in curves(comparison)],
                "crossings": {
                    ability: _crossing(crossing)
                    for ability, crossing in crossings(comparison).items()
                },
            }
            for comparison in comparisons
        ],
        "records": list(rows),
        **({"sizes": _claim(by_size)} if by_size else {}),
    }


def _claim(judged: Judged) -> dict[str, Any]:
    return {
        "key": judged.claim.key,
        "claim": judged.claim.text,
        "verdict": judged.verdict,
        "parts": [
            {
                "ability": part.ability,
                "quantity": part.quantity,
                "verdict": part.verdict,
                "note": part.note,
                **(_difference(part.difference) if part.difference else {}),
                "by_seed": dict(part.difference.by_seed) if part.difference else {},
            }
            for part in judged.parts
        ],
    }


def _crossing(crossing: Crossing) -> dict[str, Any]:
    return {
        "amount": crossing.amount,
        "interval": crossing.interval,
        "found": crossing.resamples,
        "why": crossing.reason,
    }


def _curve(curve: ScalingCurve) -> dict[str, Any]:
    return {
        "ability": curve.ability,
        "setup": curve.setup,
        "points": {str(seed): line for seed, line in curve.points.items()},
        "fits": [
            {**vars(fit), "aicc": metrics.finite(fit.aicc), "preferred": i == 0}
            for i, fit in enumerate(curve.fits.values())
        ],
    }


def write_csv(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write the records as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def write_json(data: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not allow.
    """
    text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
