"""What a study compares its treatments by: the scores of abilities, or losses on held-out rows.

Everything in the analysis takes more as better. A loss is therefore turned into the log-likelihood,
which is its negative. It needs no generation, and a hundred rows tell more than a hundred verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from axolotl_dmt.errors import DMTError
from axolotl_dmt.results import metrics
from axolotl_dmt.results.results import StageResult


@dataclass(frozen=True)
class Scale:
    """The range of an ability's values.

    Attributes:
        low: the least value that is shown.
        high: the largest.
    """

    low: float
    high: float

    def share(self, value: float) -> float:
        """Return where a value lies in the range: 0 at `low`, 1 at `high`."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure of abilities; more is better.

    Attributes:
        name: its name in sentences.
        margin: the largest difference that counts as noise, in words.
        is_score: whether values are scores, which have a scale from 0.
    """

    name: str
    margin: str
    is_score: bool = True

    @property
    def title(self) -> str:
        """The name at the start of a sentence."""
        return self.name[0].upper() + self.name[1:]

    def values(self, result: StageResult) -> dict[str, float]:
        """Return {ability or domain: value} of a stage."""
        if self.is_score:
            return result.values()
        return {name: -loss for name, loss in result.held_out_losses().items()}

    def scale(self, values: Iterable[float]) -> Scale:
        """Return the range of values; a score's starts at 0 and ends at 1, 10 or 100."""
        values = list(values)
        if self.is_score:
            return Scale(0.0, metrics.scale_top(values))
        low, high = min(values, default=-1.0), max(values, default=0.0)
        return Scale(low, high) if high > low else Scale(low - 0.5, low + 0.5)

    def within_noise(self, scale: Scale) -> float:
        """Return the largest difference that counts as noise, 0.05 of a scale or 0.05 nats."""
        return NOISE * scale.high if self.is_score else NOISE


NOISE = 0.05
SCORE = Measure(name="score", margin="5% of the scale")
LOG_LIKELIHOOD = Measure(
    name="held-out log-likelihood (nats per token)",
    margin="0.05 nats per token, or 5% of the perplexity",
    is_score=False,
)
MEASURES = {"score": SCORE, "held_out_loss": LOG_LIKELIHOOD}
"""{name in a study's YAML: measure}."""


def require(measure: Measure, values: Iterable[object]) -> None:
    """Raise an error if no cell has a value of a measure.

    Raises:
        DMTError: a study is to be judged by held-out losses, and none was measured.
    """
    if not measure.is_score and not any(values):
        problem = "no run has a loss on held-out rows"
        fix = "give the base test_datasets or dmt.val_rows, or judge by score"
        raise DMTError("study.measure", problem, fix)
