"""The settings of a stage and of the schedule: the parts of the `dmt:` block that a stage has."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from axolotl_dmt.config.amount_fields import AmountValue, Weight
from axolotl_dmt.config.evaluate_args import Block
from axolotl_dmt.errors import DMTError


class ScheduleConfig(Block):
    """The settings of a stage besides its mix; most of them default to Axolotl's own keys."""

    epochs: float | None = Field(
        None,
        gt=0,
        description="Passes over the stage's mix. Default: `num_epochs`.",
        examples=[3],
    )
    max_steps: int | None = Field(
        None,
        gt=0,
        description="End the stage after this many optimiser steps. Default: `max_steps`.",
        examples=[500],
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Peak learning rate. Default: `learning_rate`.",
        examples=[2.0e-5],
    )
    lr_scheduler: str | None = Field(
        None,
        description="Shape of the learning-rate schedule. Default: `lr_scheduler`.",
        examples=["cosine"],
    )
    warmup_ratio: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Warm-up as a fraction of the stage's steps.",
        examples=[0.03],
    )
    warmup_steps: int | None = Field(
        None, ge=0, description="Warm-up in optimiser steps.", examples=[100]
    )
    weight_decay: float | None = Field(
        None,
        ge=0,
        description="Weight decay in this stage. Default: `weight_decay`.",
        examples=[0.1],
    )
    freeze: list[str] | None = Field(
        None,
        description="Parameters that are frozen in this stage only, as regular expressions. Each "
        "may match anywhere in a parameter's name; where an adapter is trained, its parameters "
        "are meant. What Axolotl's `unfrozen_parameters` leaves frozen is frozen in every stage.",
        examples=[["embed_tokens", "layers\\.[0-3]\\."]],
    )
    train_on_inputs: bool | None = Field(
        None,
        description="Whether this stage also trains on the inputs (the prompts). "
        "Default: `train_on_inputs`.",
        examples=[True],
    )
    adapter: Literal["keep", "new"] = Field(
        "keep",
        description="For LoRA: keep continues to train the previous stage's adapter; new freezes "
        "it and trains a fresh one on top. The stage's folder then holds both as one adapter, "
        "which `merge-lora` merges.",
        examples=["new"],
    )
    reset_optimizer: bool | None = Field(
        None,
        description="Reset the optimiser state (Adam's moments) at the start of the stage, as "
        "separate runs would. Default: `dmt.reset_optimizer`.",
        examples=[False],
    )
    order: str | None = Field(
        None,
        description="Order in which each epoch trains its rows. Default: `dmt.order`.",
        examples=["round_robin"],
    )
    select: str | dict[str, str] | None = Field(
        None,
        description="Which rows of a domain are taken where only a part of it is used. "
        "Default: `dmt.select`.",
        examples=[{"math": "longest"}],
    )
    redraw: bool | None = Field(
        None,
        description="Take the next part of each domain in each epoch, and not the same rows "
        "again. Default: `dmt.redraw`.",
        examples=[True],
    )
    max_repeats: int | None = Field(
        None,
        ge=1,
        description="How often a row may occur in one epoch, so that an amount may be larger than "
        "the domain. Default: `dmt.max_repeats`.",
        examples=[4],
    )

    @model_validator(mode="after")
    def _one_warmup(self) -> ScheduleConfig:
        if self.warmup_ratio is not None and self.warmup_steps is not None:
            raise DMTError(
                "warmup_steps", "cannot be combined with warmup_ratio", "keep one of the two"
            )
        return self

    @model_validator(mode="after")
    def _fresh_state_for_a_fresh_adapter(self) -> ScheduleConfig:
        if self.adapter == "new" and self.reset_optimizer is False:
            problem = "false cannot be combined with adapter: new, whose state starts empty"
            raise DMTError("reset_optimizer", problem, "remove it")
        return self

    @field_validator("freeze")
    @classmethod
    def _regular_expressions(cls, patterns: list[str] | None) -> list[str] | None:
        for pattern in patterns or ():
            try:
                re.compile(pattern)
            except re.error as error:
                problem = f"{pattern!r} is not a valid regular expression ({error})"
                raise DMTError("", problem, "write one such as embed_tokens") from None
        return patterns


class StageConfig(ScheduleConfig):
    """One stage of an explicit schedule: `dmt.stages[i]`."""

    name: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the stage, used for its folder and in every table.",
        examples=["specialise"],
    )
    mix: dict[str, AmountValue] | None = Field(
        None,
        min_length=1,
        description="How much of each domain the stage takes: `all`, a fraction, or a number of "
        "some unit.",
        examples=[{"general": "all", "math": "1/256", "code": {"tokens": 200000}}],
    )
    weights: dict[str, Weight] | None = Field(
        None,
        min_length=1,
        description="Instead of `mix`: relative weights of the domains in the stage's rows.",
        examples=[{"math": 2, "code": 1}],
    )
    temperature: float | None = Field(
        None,
        gt=0,
        description="With `weights`: each weight is first raised to the power 1/temperature.",
        examples=[2.0],
    )

    @model_validator(mode="after")
    def _one_way_to_mix(self) -> StageConfig:
        if (self.mix is None) == (self.weights is None):
            keys = "neither mix nor weights is" if self.mix is None else "both mix and weights are"
            raise DMTError("mix", f"{keys} set", "set one of them, for example mix: {math: all}")
        if self.temperature is not None and self.weights is None:
            raise DMTError("temperature", "needs weights", "write weights: {math: 1, code: 2}")
        return self
