"""Outcomes of studies that never ran, whose truth is known because it was put there."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from axolotl_dmt.analysis.treatments import CellResult, CellStage

ROWS = {"math": 4096, "code": 2048, "general": 4096}
AMOUNTS = ("1/256", "1/64", "1/16", "1/4", "1")
KS = ("0", "1/256", "1/64", "1/16", "1/4", "1")

Schedule = Sequence[tuple[str, Mapping[str, float], Mapping[str, float]]]
"""Stages: name, {domain: fraction of its rows}, {ability: true score after it}."""


def outcome(
    settings: Mapping[str, Any], seed: int, schedule: Schedule, noise: float = 0.02
) -> CellResult:
    """One cell; its noise depends on its settings and seed only."""
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
    words = "-".join(str(value).replace("/", "of") for value in settings.values())
    return CellResult(name=f"{words}-s{seed}", settings=settings, seed=seed, stages=stages)


def learned(amount: float, top: float = 0.9) -> float:
    """A true scaling curve: linear in the logarithm of the amount."""
    return top + 0.08 * math.log2(amount)


def study(
    seeds: int = 5, *, forgetting: float = 0.6, replay: float = 1.0, conflict: float = 0.0
) -> list[CellResult]:
    """All strategies, a k sweep, and single against mixed by amount.

    Args:
        seeds: how many.
        forgetting: what a stage without a domain costs its ability; 0 plants the null.
        replay: how much of that replay wins back at k = 1; 0 plants the null.
        conflict: what mixing costs at the full amount; at the least it gains as much.
    """
    special = {"math": 1.0, "code": 1.0}
    fresh = {"math": 0.9, "code": 0.85, "general": 0.1}

    def kept(k: float) -> dict[str, float]:
        won = replay * forgetting * (1 + math.log(k, 256) if k else 0.0)
        return {
            "math": 0.9 - forgetting + won * 0.9,
            "code": 0.85 - forgetting + won * 0.8,
            "general": 0.88 - 0.02 * k,
        }

    found = []
    for seed in range(seeds):
        for k in KS:
            share = float(Fraction(k))
            schedule = [
                ("specialise", special, fresh),
                ("generalise", {"general": 1.0, "math": share, "code": share}, kept(share)),
            ]
            found.append(outcome({"strategy": "dmt", "k": k}, seed, schedule))
        schedule = [("specialise", special, fresh), ("generalise", {"general": 1.0}, kept(0))]
        found.append(outcome({"strategy": "mixed_sequential"}, seed, schedule))
        after_math = {"math": 0.9, "code": 0.85 - forgetting / 2, "general": 0.1}
        schedule = [
            ("code", {"code": 1.0}, {"math": 0.05, "code": 0.85, "general": 0.1}),
            ("math", {"math": 1.0}, after_math),
            ("general", {"general": 1.0}, kept(0)),
        ]
        found.append(outcome({"strategy": "sequential"}, seed, schedule))
        for amount in AMOUNTS:
            share = float(Fraction(amount))
            for domain in ROWS:
                scores = {a: learned(share) if a == domain else 0.05 for a in ROWS}
                settings = {"strategy": "single", "domain": domain, "amount": amount}
                found.append(outcome(settings, seed, [(domain, {domain: share}, scores)]))
            cost = conflict * (1 + 2 * math.log(share, 256))  # from -conflict to +conflict
            scores = dict.fromkeys(ROWS, learned(share) - cost)
            mix = dict.fromkeys(ROWS, share)
            settings = {"strategy": "multi_task", "amount": amount}
            found.append(outcome(settings, seed, [("multi_task", mix, scores)]))
    return found
