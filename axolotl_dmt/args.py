"""The `dmt:` block of an Axolotl YAML: every key, its default and what is refused.

This is the single home of defaults and of the checks that need nothing but the YAML. Axolotl mixes
`DMTArgs` into its own configuration class; `read_config` is what our code calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    Field,
    NonNegativeInt,
    ValidationError,
    field_validator,
    model_validator,
)

from axolotl_dmt.amount_fields import (
    AUTO,
    AmountValue,
    FractionOfDomain,
    ReplayFraction,
    Weight,
)
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.evaluate_args import (
    SUITE_ABILITIES,
    Block,
    EvaluateConfig,
    EverySteps,
    JudgeConfig,
)
from axolotl_dmt.explain import explain
from axolotl_dmt.replay_args import AutoKConfig, ReplayConfig

__all__ = [
    "AUTO",
    "DEFAULT_K",
    "DEFAULT_SEED",
    "INTERNAL",
    "SUITE_ABILITIES",
    "AmountValue",
    "AutoKConfig",
    "DMTArgs",
    "DMTConfig",
    "EvaluateConfig",
    "EverySteps",
    "FractionOfDomain",
    "JudgeConfig",
    "ReplayConfig",
    "ScheduleConfig",
    "StageConfig",
    "Weight",
    "read_config",
]

DEFAULT_K: Final = Fraction(1, 256)
DEFAULT_SEED: Final = 42
INTERNAL: Final = frozenset({"dataset_domains", "k_file"})
"""Keys that the plugin fills in and nobody writes."""


class ScheduleConfig(Block):
    """What can be said of one stage besides its mix; the defaults are Axolotl's own keys."""

    epochs: float | None = Field(
        None,
        gt=0,
        description="Passes over the stage's mix. Default: `num_epochs`.",
        examples=[3],
    )
    max_steps: int | None = Field(
        None,
        gt=0,
        description="End the stage after this many optimiser steps.",
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
        description="Shape of the learning-rate curve. Default: `lr_scheduler`.",
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
        description="Parameters held still in this stage only: regular expressions, each matched "
        "anywhere in a parameter's name (of the adapter, where one is trained).",
        examples=[["embed_tokens", "layers\\.[0-3]\\."]],
    )
    train_on_inputs: bool | None = Field(
        None,
        description="Whether the inputs (prompts) are trained on too in this stage. "
        "Default: `train_on_inputs`.",
        examples=[True],
    )
    adapter: Literal["keep", "new"] = Field(
        "keep",
        description="For LoRA: keep goes on training the adapter of the stage before; new freezes "
        "it and trains a fresh one on top. The stage's folder then holds both as one adapter, "
        "which `merge-lora` merges.",
        examples=["new"],
    )
    reset_optimizer: bool | None = Field(
        None,
        description="Forget the optimiser's state (Adam's moments) where the stage starts, as "
        "separate runs would. Default: `dmt.reset_optimizer`.",
        examples=[False],
    )
    order: str | None = Field(
        None,
        description="Order of the rows in each epoch. Default: `dmt.order`.",
        examples=["round_robin"],
    )
    select: str | dict[str, str] | None = Field(
        None,
        description="Which rows a part of a domain takes. Default: `dmt.select`.",
        examples=[{"math": "longest"}],
    )
    redraw: bool | None = Field(
        None,
        description="Draw a fresh part of each domain in each epoch. Default: `dmt.redraw`.",
        examples=[True],
    )
    max_repeats: int | None = Field(
        None,
        ge=1,
        description="Let a domain be drawn up to this many times in one epoch, so that an amount "
        "may exceed what the domain holds. Default: `dmt.max_repeats`.",
        examples=[4],
    )

    @model_validator(mode="after")
    def _one_warmup(self) -> ScheduleConfig:
        if self.warmup_ratio is not None and self.warmup_steps is not None:
            raise DMTError("warmup_steps", "stands beside warmup_ratio", "keep one of the two")
        return self

    @model_validator(mode="after")
    def _fresh_state_for_a_fresh_adapter(self) -> ScheduleConfig:
        if self.adapter == "new" and self.reset_optimizer is False:
            problem = "false stands beside adapter: new, whose moments start anew"
            raise DMTError("reset_optimizer", problem, "remove it")
        return self

    @field_validator("freeze")
    @classmethod
    def _regular_expressions(cls, patterns: list[str] | None) -> list[str] | None:
        for pattern in patterns or ():
            try:
                re.compile(pattern)
            except re.error as error:
                problem = f"{pattern!r} is no regular expression ({error})"
                raise DMTError("", problem, "write one such as embed_tokens") from None
        return patterns


class StageConfig(ScheduleConfig):
    """One stage of an explicit schedule: `dmt.stages[i]`."""

    name: str = Field(
        min_length=1,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the stage; it names the stage's folder and its row in every table.",
        examples=["specialise"],
    )
    mix: dict[str, AmountValue] | None = Field(
        None,
        min_length=1,
        description="How much of each domain: `all`, a fraction, or a unit.",
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
        description="With `weights`: raise each to 1/temperature first.",
        examples=[2.0],
    )

    @model_validator(mode="after")
    def _one_way_to_mix(self) -> StageConfig:
        if (self.mix is None) == (self.weights is None):
            found = "neither mix nor weights" if self.mix is None else "both mix and weights"
            raise DMTError("mix", f"{found} given", "give one, for example mix: {math: all}")
        if self.temperature is not None and self.weights is None:
            raise DMTError("temperature", "needs weights", "write weights: {math: 1, code: 2}")
        return self


class DMTConfig(Block):
    """The `dmt:` block."""

    strategy: str | None = Field(
        None,
        description="A named schedule: dmt, mixed_sequential, multi_task, sequential, single, or "
        "one that a plugin registers. Or give `stages`.",
        examples=["dmt"],
    )
    k: ReplayFraction = Field(
        DEFAULT_K,
        description="Replay in stage 2: a fraction of each specialised domain; auto: the one that "
        "`axolotl dmt choose-k` found for this YAML.",
        examples=["1/256"],
    )
    auto_k: AutoKConfig | None = Field(
        None,
        description="How `axolotl dmt choose-k` chooses k, in place of its defaults.",
        examples=[{"ladder": ["1/64", "1/16", "1/4"], "loss": 0.05}],
    )
    general: str | list[str] = Field(
        "general",
        description="The domain(s) of general data; all others are specialised.",
        examples=[["chat", "safety"]],
    )
    sequence: list[str] | None = Field(
        None,
        min_length=1,
        description="For `strategy: sequential`: the order of the domains. Default: code, math, "
        "the others, and general data last.",
        examples=[["math", "code", "general"]],
    )
    domain: str | None = Field(
        None, description="For `strategy: single`: the one domain.", examples=["math"]
    )
    stages: list[StageConfig] | None = Field(
        None,
        min_length=1,
        description="An explicit schedule, in place of `strategy`.",
        examples=[[{"name": "all_at_once", "mix": {"math": "all"}}]],
    )
    overrides: dict[str, ScheduleConfig] | None = Field(
        None,
        description="Change a strategy's stage by name, for example its learning rate.",
        examples=[{"generalise": {"learning_rate": 1.0e-5}}],
    )
    seed: int | None = Field(
        None,
        ge=0,
        description="Seed of selection and order. Default: Axolotl's `seed`, else 42.",
        examples=[7],
    )
    order: str = Field(
        "shuffle",
        description="shuffle, round_robin, blocks, length_grouped, or a hook's.",
        examples=["round_robin"],
    )
    select: str | dict[str, str] = Field(
        "random",
        description="random, first, longest, shortest, score:<column>, or a hook's; for all "
        "domains or {domain: ...}. A smaller part always lies inside a larger one.",
        examples=[{"math": "longest"}],
    )
    replay: ReplayConfig | None = Field(
        None,
        description="Which rows are taken again: of a specialised domain, in the stages after the "
        "first that takes some of it. A stage's own `select` wins over it. Default: `dmt.select`.",
        examples=[{"select": "hardest", "losses": "outputs/stage-1/dmt/row_losses.parquet"}],
    )
    redraw: bool = Field(
        False, description="Draw a fresh part of each domain in each epoch.", examples=[True]
    )
    max_repeats: int | None = Field(
        None,
        ge=1,
        description="Let a domain be drawn up to this many times in one epoch.",
        examples=[4],
    )
    val_rows: NonNegativeInt | dict[str, NonNegativeInt] | None = Field(
        None,
        description="Rows held out of each domain, for a loss by domain at each evaluation; a "
        "number for every domain, or {domain: number}.",
        examples=[200],
    )
    reset_optimizer: bool = Field(
        True,
        description="Forget the optimiser's state where a stage starts.",
        examples=[False],
    )
    start_stage: str | None = Field(
        None,
        description="Leave the stages before this one out: `base_model` holds the weights they "
        "left, for example another run's `stages/01-specialise`.",
        examples=["generalise"],
    )
    on_plan_change: Literal["refuse", "replan"] = Field(
        "refuse",
        description="What to do where a run would go on from a checkpoint of another plan: refuse, "
        "or go on under the new plan from the checkpoint's step.",
        examples=["replan"],
    )
    evaluate: EvaluateConfig | None = Field(
        None,
        description="Score each ability after each stage; without it nothing is scored.",
        examples=[{"tasks": ["dmt_suite"]}],
    )
    hooks: list[str] = Field(
        default_factory=list,
        description="Modules and files with hooks of your own, beside those of installed packages.",
        examples=[["my_hooks.py"]],
    )
    dataset_domains: list[str] | None = Field(
        None,
        description="Filled in by the plugin from `datasets[*].domain`, which Axolotl drops.",
    )

    k_file: str | None = Field(
        None,
        description="Filled in by commands that look at a run from another folder: where the "
        "choice of k lies.",
    )

    @model_validator(mode="after")
    def _one_schedule(self) -> DMTConfig:
        if self.strategy and self.stages:
            raise DMTError("strategy", "stands beside stages", "keep one of the two")
        if not self.strategy and not self.stages:
            raise DMTError("strategy", "no schedule given", "write strategy: dmt, or stages")
        if self.stages and self.k == AUTO:
            raise DMTError("k", "auto needs a strategy", "write strategy: dmt in place of stages")
        if self.stages and self.overrides:
            raise DMTError("overrides", "needs a strategy", "change the stages themselves")
        names = [stage.name for stage in self.stages or ()]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise DMTError(
                    f"stages[{index}].name", f"{name!r} is taken", "give each stage its own name"
                )
        return self

    @property
    def evaluates(self) -> bool:
        """Whether anything is to be scored."""
        return self.evaluate is not None and self.evaluate.when != "never"

    @property
    def general_domains(self) -> tuple[str, ...]:
        """The domains of general data, as a tuple."""
        return (self.general,) if isinstance(self.general, str) else tuple(self.general)


class DMTArgs(BaseModel):
    """What Axolotl mixes into its own configuration class: one key, `dmt`."""

    dmt: DMTConfig | None = None


def read_config(block: Any) -> DMTConfig:
    """Check a raw `dmt:` block.

    Args:
        block: the mapping under `dmt`.

    Raises:
        DMTError: with every mistake found, each naming its key.
    """
    if not isinstance(block, Mapping) or not block:
        raise DMTError("dmt", f"{block!r} is no block of keys", "write strategy: dmt under it")
    try:
        return DMTConfig.model_validate(_plain(block))
    except ValidationError as error:
        raise DMTErrors(explain(error, DMTConfig, "dmt")) from None


def _plain(value: Any) -> Any:
    """Axolotl hands over `DictDefault`s, which answer None for any key; pydantic wants dicts."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
