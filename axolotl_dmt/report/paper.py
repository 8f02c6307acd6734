"""The paper's results, which reports quote for reference. They are not results of axolotl-dmt.

Source: Dong et al., "How Abilities in Large Language Models are Affected by Supervised Fine-tuning
Data Composition", ACL 2024, arXiv 2310.05492.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

CITATION = (
    "Dong et al., How Abilities in Large Language Models are Affected by Supervised Fine-tuning "
    "Data Composition, ACL 2024 (arXiv:2310.05492)"
)
BENCHMARKS = ("GSM8K, exact match %", "HumanEval, pass@1 %", "MT-Bench, 1-10")


@dataclass(frozen=True, kw_only=True)
class QuotedRow:
    """The paper's results for one training strategy and one model size.

    Attributes:
        strategy: the paper's name for it.
        scores: one for each of `BENCHMARKS`, in the order of `BENCHMARKS`.
    """

    strategy: str
    scores: tuple[float, float, float]


_BY_SIZE: dict[str, tuple[tuple[str, tuple[float, float, float]], ...]] = {
    "7B": (
        ("general only", (11.10, 10.42, 5.88)),
        ("math only", (49.10, 6.71, 2.53)),
        ("code only", (4.51, 18.40, 4.30)),
        ("multi-task", (47.53, 14.63, 5.76)),
        ("sequential", (31.39, 15.85, 5.72)),
        ("mixed sequential", (32.60, 15.24, 6.02)),
        ("DMT, k = 1/256", (41.92, 17.68, 6.08)),
    ),
    "13B": (
        ("general only", (14.02, 16.40, 6.13)),
        ("math only", (51.40, 12.80, 2.54)),
        ("code only", (5.15, 17.10, 3.53)),
        ("multi-task", (50.94, 19.50, 5.73)),
        ("sequential", (39.12, 20.12, 5.93)),
        ("mixed sequential", (40.48, 18.30, 5.93)),
        ("DMT, k = 1/256", (46.47, 19.50, 6.03)),
    ),
    "33B": (
        ("general only", (26.06, 24.30, 6.63)),
        ("math only", (57.91, 15.50, 3.18)),
        ("code only", (6.06, 26.82, 4.18)),
        ("multi-task", (56.69, 18.90, 6.07)),
        ("sequential", (47.27, 24.80, 6.73)),
        ("mixed sequential", (44.24, 24.40, 6.43)),
        ("DMT, k = 1/256", (56.36, 25.00, 6.73)),
    ),
}

AMOUNTS = (1.0, 1 / 4, 1 / 16, 1 / 64, 1 / 256)
"""The fractions of its data on which the paper trained."""
ROWS = {"math": 110_142, "code": 20_022, "general": 86_060}
"""{domain: rows of the paper's data}."""
_BENCHMARK_OF = ("math", "code", "general")

_SINGLE: dict[tuple[str, str], tuple[float, ...]] = {
    ("7B", "math"): (49.10, 43.37, 35.90, 22.71, 12.70),
    ("7B", "code"): (18.40, 11.58, 12.19, 9.14, 5.48),
    ("7B", "general"): (5.88, 5.85, 5.61, 5.11, 4.00),
    ("13B", "math"): (51.40, 48.59, 43.00, 27.40, 18.40),
    ("13B", "general"): (6.13, 6.03, 5.66, 5.24, 2.95),
    ("33B", "math"): (57.91, 56.10, 54.60, 44.60, 29.21),
    ("33B", "code"): (26.82, 25.61, 21.95, 18.59, 14.02),
    ("33B", "general"): (6.63, 6.66, 6.17, 5.99, 2.30),
}
_MIXED: dict[tuple[str, str], tuple[float, ...]] = {
    ("7B", "math"): (47.53, 41.98, 32.97, 25.77, 14.78),
    ("7B", "code"): (14.63, 9.14, 9.16, 14.63, 11.37),
    ("7B", "general"): (5.76, 5.48, 5.22, 5.27, 4.11),
    ("33B", "math"): (56.69, 54.54, 53.33, 46.66, 36.54),
    ("33B", "code"): (18.90, 22.56, 26.82, 18.60, 17.68),
    ("33B", "general"): (6.07, 5.92, 6.26, 5.73, 4.58),
}
_BY_K: dict[str, tuple[tuple[str, tuple[float, float, float]], ...]] = {
    "7B": (
        ("0", (32.60, 15.24, 6.02)),
        ("1/256", (41.92, 17.68, 6.08)),
        ("1/64", (42.53, 15.85, 6.01)),
        ("1/16", (43.30, 15.24, 5.78)),
        ("1/4", (48.37, 13.41, 5.69)),
        ("1", (45.79, 14.02, 5.63)),
    ),
    "13B": (
        ("0", (40.48, 18.30, 5.93)),
        ("1/256", (46.47, 19.50, 6.03)),
        ("1/64", (47.61, 15.24, 6.03)),
        ("1/16", (48.59, 18.90, 5.96)),
        ("1/4", (50.18, 18.90, 5.83)),
        ("1", (50.49, 16.46, 5.76)),
    ),
}

# Only LLaMA and Llama 2 base models are comparable: a chat model, Code Llama or Llama 3 starts from
# other weights. The model that the paper calls 33B is also published as "llama-30b".
_COMPARABLE = re.compile(
    r"(?:meta-)?llama(?:[-_]?v?[12])?[-_](7|13|30|33)b(?:[-_]hf)?", re.IGNORECASE
)


def comparable_size(base_model: str) -> str | None:
    """Return the paper's size ("7B", "13B", "33B") that a base model is comparable with, or None.

    Args:
        base_model: a hub name or a path; only its last part counts.
    """
    match = _COMPARABLE.fullmatch(base_model.rstrip("/").rsplit("/", 1)[-1])
    return {"7": "7B", "13": "13B", "30": "33B", "33": "33B"}[match[1]] if match else None


def quoted_rows(size: str) -> tuple[QuotedRow, ...]:
    """Return the paper's results for one of its sizes ("7B", "13B", "33B")."""
    return tuple(QuotedRow(strategy=name, scores=scores) for name, scores in _BY_SIZE[size])


def quoted_curve(size: str, setup: str, ability: str, scale: float) -> list[tuple[float, float]]:
    """Return the paper's (rows, score) of an ability by amount of its data, fewest rows first.

    Args:
        size: one of the paper's sizes.
        setup: "single" or "multi_task".
        ability: "math", "code" or "general"; the paper measured no others.
        scale: the top of the scale on which the study scores the ability.

    Returns:
        Points on the study's scale; empty where the paper has none, or its benchmark's scale cannot
        be converted (a judge's 1 to 10 is not a share of correct answers).
    """
    scores = (_SINGLE if setup == "single" else _MIXED).get((size, ability), ())
    factor = _factor(ability, scale)
    if factor is None:
        return []
    points = zip(AMOUNTS, scores, strict=False)
    return sorted((amount * ROWS[ability], score * factor) for amount, score in points)


def quoted_k_sweep(size: str, abilities: Mapping[str, float]) -> list[tuple[str, dict[str, float]]]:
    """Return the paper's scores of DMT by k.

    Args:
        size: one of the paper's sizes.
        abilities: {ability: top of the scale on which the study scores it}.

    Returns:
        (k, {ability: score on the study's scale}), ascending in k; empty where the paper lacks any
        of the abilities, or its scale cannot be converted.
    """
    factors = {ability: _factor(ability, scale) for ability, scale in abilities.items()}
    if None in factors.values():
        return []
    return [
        (k, {a: scores[_BENCHMARK_OF.index(a)] * (f or 0) for a, f in factors.items()})
        for k, scores in _BY_K.get(size, ())
    ]


def _factor(ability: str, scale: float) -> float | None:
    """Return the factor that converts the paper's score of an ability to a scale, or None."""
    if ability == "general":
        return 1.0 if scale == 10 else None
    factors = {1.0: 0.01, 100.0: 1.0} if ability in _BENCHMARK_OF else {}
    return factors.get(scale)
