"""The numbers among Axolotl's own keys that the stages depend on, with their limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from axolotl_dmt.config.advice import misread, shown
from axolotl_dmt.errors import DMTError, Problems


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a key accepts.

    Attributes:
        example: a value that is right, as a YAML spells it.
        whole: whether it must be a whole number.
        least: the smallest value.
        most: the largest value.
        above: whether the value must be above `least`.
    """

    example: str
    whole: bool = False
    least: float = 0
    most: float = math.inf
    above: bool = False

    def __str__(self) -> str:
        noun = "a whole number" if self.whole else "a number"
        if self.most < math.inf:
            return f"{noun} from {self.least:g} to {self.most:g}"
        return f"{noun} above {self.least:g}" if self.above else f"{noun} from {self.least:g} up"

    def accepts(self, number: float) -> bool:
        """Return whether a number lies within the limits."""
        is_large_enough = number > self.least if self.above else number >= self.least
        is_whole = not self.whole or number.is_integer()
        return math.isfinite(number) and is_large_enough and number <= self.most and is_whole


LIMITS: Final = {
    "learning_rate": Limits(example="2e-5", above=True),
    "num_epochs": Limits(example="3", above=True),
    "micro_batch_size": Limits(example="1", whole=True, least=1),
    "gradient_accumulation_steps": Limits(example="1", whole=True, least=1),
    "sequence_len": Limits(example="2048", whole=True, least=1),
    "warmup_steps": Limits(example="100", whole=True),
    "warmup_ratio": Limits(example="0.03", most=1),
    "weight_decay": Limits(example="0.01"),
}


def read_number(raw: Mapping[str, Any], key: str) -> float | None:
    """Return the number under a key of Axolotl; None if the key is missing or empty.

    Raises:
        DMTError: it is not a number, or not one that the key accepts.
    """
    value, limits = raw.get(key), LIMITS[key]
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not limits.accepts(number):
        problem = f"{shown(value)} is not {limits}{misread(value)}"
        raise DMTError(key, problem, f"write {key}: {limits.example}")
    return number


def wrong_numbers(raw: Mapping[str, Any]) -> list[DMTError]:
    """Return a mistake for each number among these keys that is out of its limits."""
    problems = Problems()
    for key in LIMITS:
        problems.attempt(read_number, raw, key)
    return problems
