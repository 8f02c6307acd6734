"""Made-up results of studies with known true effects, for tests of the analysis."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from axolotl_dmt.analysis.treatments import CellResult, CellStage

ROWS = {"math": 4096, "code": 2048, "general": 4096}
AMOUNTS = ("1/256", "1/64", "1/16", "1/4", "1")
KS = ("0", "1/256", "1/64", "1/16", "1/4", "1")

Schedule = Sequence[tuple[str, Mapping[str, float], Mapping[str, float]]]
"""The stages: (name, {domain: fraction of its rows}, {ability: true score after the stage})."""


def cell_result(
    settings: Mapping[str, Any], seed: int, schedule: Schedule, noise: float = 0.02
) -> CellResult:
    """Return the result of a cell; its noise depends on the settings and the seed only."""
    chance = random.Random(f"{sorted(settings.items())} {seed}")
    stages = tuple(
        CellStage(
            name=name,
            rows={domain: int(ROWS[domain] * share) for domain, share in mix.items()},
            scores={
                a: min(1.0, max(0.0, truth + chance.gauss(0, noise))) for a, truth in scores.items()
            },
        )
        for name, mix, scores in schedule
    )
    label = "-".join(str(value).replace("/", "of") for value in settings.values())
    return CellResult(name=f"{label}-s{seed}", settings=settings, seed=seed, stages=stages)


def learned(amount: float, top: float = 0.9) -> float:
    """Return the true score after training on an amount: linear in its logarithm."""
    return top + 0.08 * math.log2(amount)


def study(
    seeds: int = 5, *, forgetting: float = 0.6, replay: float = 1.0, conflict: float = 0.0
) -> list[CellResult]:
    """Return the results of all strategies, a k sweep, and single and mixed training by amount.

    Args:
        seeds: the number of seeds.
        forgetting: how much an ability loses in a stage without its domain; 0 for no effect.
        replay: the fraction of that loss which replay prevents at k = 1; 0 for no effect.
        conflict: the loss by mixing at the full amount, and the gain at the smallest amount.
    """
    specialised_mix = {"math": 1.0, "code": 1.0}
    after_stage_1 = {"math": 0.9, "code": 0.85, "general": 0.1}

    def after_stage_2(k: float) -> dict[str, float]:
        prevented = replay * forgetting * (1 + math.log(k, 256) if k else 0.0)
        return {
            "math": 0.9 - forgetting + prevented * 0.9,
            "code": 0.85 - forgetting + prevented * 0.8,
            "general": 0.88 - 0.02 * k,
        }

    results = []
    for seed in range(seeds):
        for k in KS:
            share = float(Fraction(k))
            schedule = [
                ("specialise", specialised_mix, after_stage_1),
                (
                    "generalise",
                    {"general": 1.0, "math": share, "code": share},
                    after_stage_2(share),
                ),
            ]
            results.append(cell_result({"strategy": "dmt", "k": k}, seed, schedule))
        schedule = [
            ("specialise", specialised_mix, after_stage_1),
            ("generalise", {"general": 1.0}, after_stage_2(0)),
        ]
        results.append(cell_result({"strategy": "mixed_sequential"}, seed, schedule))
        after_math = {"math": 0.9, "code": 0.85 - forgetting / 2, "general": 0.1}
        schedule = [
            ("code", {"code": 1.0}, {"math": 0.05, "code": 0.85, "general": 0.1}),
            ("math", {"math": 1.0}, after_math),
            ("general", {"general": 1.0}, after_stage_2(0)),
        ]
        results.append(cell_result({"strategy": "sequential"}, seed, schedule))
        for amount in AMOUNTS:
            share = float(Fraction(amount))
            for domain in ROWS:
                scores = {a: learned(share) if a == domain else 0.05 for a in ROWS}
                settings = {"strategy": "single", "domain": domain, "amount": amount}
                results.append(cell_result(settings, seed, [(domain, {domain: share}, scores)]))
            cost = conflict * (1 + 2 * math.log(share, 256))  # from -conflict to +conflict
            scores = dict.fromkeys(ROWS, learned(share) - cost)
            mix = dict.fromkeys(ROWS, share)
            settings = {"strategy": "multi_task", "amount": amount}
            results.append(cell_result(settings, seed, [("multi_task", mix, scores)]))
    return results


def of_base_model(name: str, gain: float) -> list[CellResult]:
    """Return single-domain results of a base model that is better by `gain` than the smallest."""
    return [
        replace(
            result,
            settings={**result.settings, "base_model": f"models/{name}"},
            stages=tuple(
                replace(stage, scores={a: 0.6 * v + gain for a, v in stage.scores.items()})
                for stage in result.stages
            ),
        )
        for result in study()
        if result.settings["strategy"] == "single"
    ]
