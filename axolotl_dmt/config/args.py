"""The `dmt:` block of an Axolotl YAML: its keys, their defaults and their checks.

The checks here need nothing but the block itself. The nested blocks are in `stage_args`,
`evaluate_args`, `replay_args`, `keep_args` and `gate_args`. Axolotl mixes `DMTArgs` into its own
configuration class; this package calls `read_config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from axolotl_dmt.config.advice import shown
from axolotl_dmt.config.amount_fields import AUTO, ReplayFraction
from axolotl_dmt.config.evaluate_args import Block, EvaluateConfig, EverySteps
from axolotl_dmt.config.gate_args import GateConfig
from axolotl_dmt.config.keep_args import Floor, SolveConfig, SolvedConfig
from axolotl_dmt.config.plain_values import misread_words, plain
from axolotl_dmt.config.pydantic_errors import FILLED_IN, explain
from axolotl_dmt.config.replay_args import ReplayConfig
from axolotl_dmt.config.stage_args import ScheduleConfig, StageConfig
from axolotl_dmt.errors import DMTError, DMTErrors

__all__ = [
    "AUTO",
    "DEFAULT_K",
    "DEFAULT_SEED",
    "INTERNAL",
    "DMTArgs",
    "DMTConfig",
    "EvaluateConfig",
    "EverySteps",
    "ReplayConfig",
    "ScheduleConfig",
    "StageConfig",
    "read_config",
]

DEFAULT_K: Final = Fraction(1, 256)
DEFAULT_SEED: Final = 42
INTERNAL: Final = FILLED_IN
"""Keys that the program fills in, and that users do not write."""


class DMTConfig(Block):
    """The `dmt:` block."""

    strategy: str | None = Field(
        None,
        description="A named schedule: dmt, mixed_sequential, multi_task, sequential, single, or "
        "one that a plugin registers. Give either `strategy` or `stages`.",
        examples=["dmt"],
    )
    k: ReplayFraction = Field(
        DEFAULT_K,
        description="Replay in stage 2, as a fraction of each specialised domain; auto has "
        "`axolotl dmt solve` choose it, the same for all. See also `replay.share`.",
        examples=["1/256"],
    )
    keep: dict[str, Floor] | None = Field(
        None,
        min_length=1,
        description="What the last stage must not lose, for `axolotl dmt solve`, which finds the "
        "mix: {ability: the largest fall of its score below the model before that stage}, or "
        "{domain: {loss: the largest rise of its loss on held-out rows}}. Default with `k: auto`: "
        "-0.05 for each specialised domain. `axolotl train` refuses a YAML with this key until it "
        "is solved.",
        examples=[{"math": -0.02, "code": {"loss": 0.05}}],
    )
    improve: str | list[str] | None = Field(
        None,
        description="The domain(s) whose loss on held-out rows the mix is to lower most. Default: "
        "the general domains.",
        examples=["general"],
    )
    solve: SolveConfig | None = Field(
        None,
        description="How `axolotl dmt solve` probes.",
        examples=[{"budget": 0.3, "confidence": 0.95}],
    )
    solved: SolvedConfig | None = Field(
        None,
        description="Written by `axolotl dmt solve`: what it predicted for the stages.",
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
        None, description="For `strategy: single`: the domain to train on.", examples=["math"]
    )
    stages: list[StageConfig] | None = Field(
        None,
        min_length=1,
        description="An explicit schedule, instead of `strategy`.",
        examples=[[{"name": "all_at_once", "mix": {"math": "all"}}]],
    )
    overrides: dict[str, ScheduleConfig] | None = Field(
        None,
        description="Settings that change a strategy's stages, by the name of the stage.",
        examples=[{"generalise": {"learning_rate": 1.0e-5}}],
    )
    seed: int | None = Field(
        None,
        ge=0,
        description="Seed of the selection and the order. Default: Axolotl's `seed`, else 42.",
        examples=[7],
    )
    order: str | None = Field(
        None,
        description="shuffle, round_robin, blocks, length_grouped, sequential (as in `datasets`), "
        "or one that a hook registers. Default: length_grouped with `group_by_length`, sequential "
        "with `curriculum_sampling`, else shuffle.",
        examples=["round_robin"],
    )
    select: str | dict[str, str] = Field(
        "random",
        description="random, first, longest, shortest, score:<column>, or one that a hook "
        "registers; for all domains, or {domain: ...}. A smaller part of a domain always lies "
        "inside a larger one.",
        examples=[{"math": "longest"}],
    )
    replay: ReplayConfig | None = Field(
        None,
        description="How much of the specialised domains is replayed, and which rows, in the "
        "stages after the first one that uses them. A stage's own `select` takes precedence.",
        examples=[{"select": "hardest", "losses": "outputs/stage-1/dmt/row_losses.parquet"}],
    )
    redraw: bool = Field(
        False,
        description="Take the next part of each domain in each epoch, and not the same rows again.",
        examples=[True],
    )
    max_repeats: int | None = Field(
        None,
        ge=1,
        description="How often a row may occur in one epoch. Default: once.",
        examples=[4],
    )
    val_rows: NonNegativeInt | dict[str, NonNegativeInt] | None = Field(
        None,
        description="Number of held-out rows of each domain, on which every evaluation measures a "
        "loss by domain: a number for all domains, or {domain: number}. Default: `val_set_size`.",
        examples=[200],
    )
    decontaminate: bool = Field(
        False,
        description="Leave out rows that share a long text with an item of an evaluation file "
        "(`evaluate.data`): 13 words in a row, or half of the item's runs of 8 words.",
        examples=[True],
    )
    reset_optimizer: bool = Field(
        True,
        description="Reset the optimiser state at each stage boundary.",
        examples=[False],
    )
    start_stage: str | None = Field(
        None,
        description="Start with this stage and leave out those before it. `base_model` then names "
        "the weights that they produced, for example another run's `stages/01-specialise`.",
        examples=["generalise"],
    )
    on_plan_change: Literal["refuse", "replan"] = Field(
        "refuse",
        description="What to do when a run would resume from a checkpoint of another plan: "
        "refuse, or replan, which continues under the new plan from the checkpoint's step.",
        examples=["replan"],
    )
    evaluate: EvaluateConfig | None = Field(
        None,
        description="How each ability is scored; without this block nothing is scored.",
        examples=[{"tasks": ["dmt_suite"]}],
    )
    gate: GateConfig | None = Field(
        None,
        description="What the run must keep and improve; its exit status says whether it did.",
        examples=[{"keep": {"math": -0.02}}],
    )
    loss_by_domain: bool = Field(
        True, description="Log the training loss of each domain as well.", examples=[False]
    )
    hooks: list[str] = Field(
        default_factory=list,
        description="Modules and files with your own hooks, besides those of installed packages.",
        examples=[["my_hooks.py"]],
    )
    dataset_domains: list[str] | None = Field(
        None,
        description="Filled in by the plugin from `datasets[*].domain`, which Axolotl drops.",
    )

    @model_validator(mode="after")
    def _one_schedule(self) -> DMTConfig:
        if self.strategy and self.stages:
            raise DMTError("strategy", "cannot be combined with stages", "keep one of the two")
        if not self.strategy and not self.stages:
            raise DMTError("strategy", "there is no schedule", "write strategy: dmt, or stages")
        if self.stages and self.k == AUTO:
            raise DMTError("k", "auto needs a strategy", "write strategy: dmt instead of stages")
        if self.solved and not (self.stages and self.keep):
            fix = "remove it, or keep the stages and the floors that it was written with"
            raise DMTError("solved", "needs keep and stages", fix)
        if self.stages and self.overrides:
            raise DMTError("overrides", "needs a strategy", "change the stages themselves")
        if self.replay:
            # A block that was validated before holds every default.
            sets_k = "k" in self.model_fields_set and self.dataset_domains is None
            self.replay.check_share(sets_k=sets_k, has_stages=bool(self.stages))
        names = [stage.name for stage in self.stages or ()]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise DMTError(
                    f"stages[{index}].name", f"two stages are called {name!r}", "rename one of them"
                )
        return self

    @property
    def evaluates(self) -> bool:
        """Whether anything is scored."""
        return self.evaluate is not None and self.evaluate.when != "never"

    @property
    def general_domains(self) -> tuple[str, ...]:
        """The names of the domains of general data."""
        return (self.general,) if isinstance(self.general, str) else tuple(self.general)


class DMTArgs(BaseModel):
    """The key `dmt`, which Axolotl mixes into its own configuration class."""

    dmt: DMTConfig | None = None


def read_config(block: Any) -> DMTConfig:
    """Read and check a raw `dmt:` block.

    Args:
        block: the mapping under `dmt`; any other value is a mistake.

    Raises:
        DMTError: the block has mistakes; the error lists all of them, each with its key.
    """
    if not isinstance(block, Mapping) or not block:
        problem = f"{shown(block)} is not a block of keys"
        raise DMTError("dmt", problem, "write dmt: {strategy: dmt}")
    values = plain(block)
    if "auto_k" in values:
        fix = "write keep: {math: -0.05} and solve: {levels: [...]}, and run `axolotl dmt solve`"
        raise DMTError("dmt.auto_k", "is not read any more: keep and solve replace it", fix)
    if mistakes := list(misread_words(values, DMTConfig, "dmt")):
        raise DMTErrors(mistakes)
    try:
        return DMTConfig.model_validate(values)
    except ValidationError as error:
        raise DMTErrors(explain(error, DMTConfig, "dmt")) from None
