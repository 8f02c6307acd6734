"""Numbers printed in the paper, for a reference beside a report. Quoted, not reproduced here.

Source: Dong et al., "How Abilities in Large Language Models are Affected by Supervised Fine-tuning
Data Composition", ACL 2024, arXiv 2310.05492.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CITATION = (
    "Dong et al., How Abilities in Large Language Models are Affected by Supervised Fine-tuning "
    "Data Composition, ACL 2024 (arXiv:2310.05492)"
)
BENCHMARKS = ("GSM8K, exact match %", "HumanEval, pass@1 %", "MT-Bench, 1-10")


@dataclass(frozen=True, kw_only=True)
class QuotedRow:
    """One training strategy's line in the paper, for one model size.

    Attributes:
        strategy: as the paper names it.
        scores: in the order of `BENCHMARKS`.
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

# LLaMA and Llama 2 base models only: a chat model, Code Llama or Llama 3 starts from elsewhere. The
# model the paper calls 33B is published as "llama-30b" as well.
_COMPARABLE = re.compile(
    r"(?:meta-)?llama(?:[-_]?v?[12])?[-_](7|13|30|33)b(?:[-_]hf)?", re.IGNORECASE
)


def comparable_size(base_model: str) -> str | None:
    """The paper's size ("7B", "13B", "33B") that a base model may be compared with, or None.

    Args:
        base_model: a hub name or a path; only its last part counts.
    """
    match = _COMPARABLE.fullmatch(base_model.rstrip("/").rsplit("/", 1)[-1])
    return {"7": "7B", "13": "13B", "30": "33B", "33": "33B"}[match[1]] if match else None


def quoted_rows(size: str) -> tuple[QuotedRow, ...]:
    """The paper's results for one of its sizes ("7B", "13B", "33B")."""
    return tuple(QuotedRow(strategy=name, scores=scores) for name, scores in _BY_SIZE[size])
