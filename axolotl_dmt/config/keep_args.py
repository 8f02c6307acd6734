"""What a mix must keep and improve: `dmt.keep`, `dmt.solve`, and the `dmt.solved` of a solved YAML.

`axolotl dmt solve` reads the first two and writes the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from axolotl_dmt.config.amount_fields import AUTO, FractionOfDomain
from axolotl_dmt.config.evaluate_args import Block
from axolotl_dmt.errors import DMTError

COMMAND: Final = "run `axolotl dmt solve` on it, and train the YAML that it writes"
_FORMS = "write -0.02, {drop: 0.02}, or {loss: 0.05}"


class FloorConfig(Block):
    """How far an ability may fall: an entry of `dmt.keep`."""

    drop: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="The largest fall of the score that is accepted, in the score's own unit.",
        examples=[0.02],
    )
    loss: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="The largest rise of the loss on held-out rows that is accepted, in nats per "
        "token.",
        examples=[0.05],
    )
    against: Literal["baseline"] | None = Field(
        None,
        description="baseline compares with the model before training. Default: the model before "
        "the last stage.",
        examples=["baseline"],
    )

    @model_validator(mode="after")
    def _one_measure(self) -> FloorConfig:
        if (self.drop is None) == (self.loss is None):
            raise DMTError("", "needs one of drop and loss", _FORMS)
        return self


def _read_floor(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise DMTError("", f"{value} is not a finite number", _FORMS)
        if value > 0:
            fix = f"write {-value:g}, the change that is still accepted"
            raise DMTError("", f"{value:g} is above 0", fix)
        return {"drop": -value}
    if not isinstance(value, Mapping | FloorConfig):
        raise DMTError("", f"{value!r} is not accepted", _FORMS)
    return value


Floor = Annotated[FloorConfig, BeforeValidator(_read_floor)]


class SolveConfig(Block):
    """How `axolotl dmt solve` probes: `dmt.solve`."""

    budget: float = Field(
        0.65,
        gt=0,
        allow_inf_nan=False,
        description="The largest cost of all probes, as a part of the rows that the full run "
        "trains.",
        examples=[0.3],
    )
    levels: list[FractionOfDomain] = Field(
        default_factory=lambda: [Fraction(1, parts) for parts in (64, 16, 4, 2)],
        min_length=2,
        description="The amounts that probes train, as fractions of a domain. No amount outside "
        "them is ever chosen.",
        examples=[["1/64", "1/16", "1/4"]],
    )
    lengths: list[FractionOfDomain] = Field(
        default_factory=lambda: [Fraction(1, parts) for parts in (16, 8, 4, 2)],
        min_length=2,
        description="The lengths of probes: the part of the stage's other domains that they train.",
        examples=[["1/16", "1/4"]],
    )
    confidence: float = Field(
        0.9,
        gt=0.5,
        lt=1,
        description="The probability with which each floor is to hold in the full run.",
        examples=[0.95],
    )

    end_early: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="End a domain early in the stage before the last if its loss on held-out rows "
        "rises there, from its lowest value to the end, by more than this many nats per token.",
        examples=[0.01],
    )

    @field_validator("levels", "lengths")
    @classmethod
    def _ascending(cls, values: list[Fraction]) -> list[Fraction]:
        if not all(values) or len(set(values)) < 2:
            raise DMTError("", "needs two different fractions above 0", "write [1/32, 1/8, 1/2]")
        return sorted(set(values))


class PredictionConfig(Block):
    """One value that was predicted for the end of the run."""

    name: str = Field(description="The ability or the domain.")
    measure: Literal["score", "loss"] = Field(description="A score, or the loss on held-out rows.")
    predicted: float = Field(description="The predicted value.")
    low: float = Field(description="The lower end of its interval.")
    high: float = Field(description="The upper end of its interval.")
    limit: float | None = Field(None, description="The value that the floor allows at the worst.")
    reference: float | None = Field(None, description="The value that the floor is relative to.")
    against: str | None = Field(None, description="The stage, or baseline, that has that value.")


class SolvedConfig(Block):
    """What `axolotl dmt solve` predicted for its stages: `dmt.solved`."""

    confidence: float = Field(description="The confidence of each interval's worse end.")
    predictions: list[PredictionConfig] = Field(
        description="Each floor, and the loss of each domain."
    )


def unsolved(block: Any) -> str | None:
    """Return the key of a raw `dmt:` block that `axolotl dmt solve` has yet to solve, or None."""
    if not isinstance(block, Mapping):
        return None
    if block.get("k") == AUTO and not block.get("stages"):
        return "dmt.k"
    return "dmt.keep" if block.get("keep") and not block.get("solved") else None


def refuse_unsolved(block: Any) -> None:
    """Refuse to train a block that is yet to be solved.

    Raises:
        DMTError: it says `k: auto`, or `keep` without the stages that were found for it.
    """
    if key := unsolved(block):
        problem = "auto is yet to be chosen" if key == "dmt.k" else "its mix is yet to be found"
        raise DMTError(key, problem, COMMAND)
