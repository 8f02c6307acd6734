"""The `dmt:` block of an Axolotl YAML: every key, its default and what is refused.

This is the single home of defaults and of the checks that need nothing but the YAML. Axolotl mixes
`DMTArgs` into its own configuration class; `read_config` is what our code calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from axolotl_dmt.amounts import parse_amount, parse_fraction
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.explain import explain
from axolotl_dmt.hooks import registered_amounts

DEFAULT_K = "1/256"
DEFAULT_SEED = 42
INTERNAL = frozenset({"dataset_domains", "k_file"})
"""Keys of the `dmt:` block that the plugin sets itself; they are not part of the user's YAML."""
SUITE_ABILITIES = ("math", "math_hard", "code", "code_mbpp", "general", "mtbench")
"""What `evaluate.data` may name: each is read by a task of ours, from `dmt_<ability>_data`."""


def _check_amount(value: Any) -> Any:
    parse_amount(value, "", registered_amounts())
    return value


def _check_weight(value: Any) -> Any:
    parse_fraction(value, "")
    return value


def _check_when(value: Any) -> Any:
    # One mistake in the mapping would otherwise be told for each form that `when` takes.
    if isinstance(value, Mapping):
        steps = value.get("every_steps")
        whole = isinstance(steps, int) and not isinstance(steps, bool) and steps > 0
        if set(value) != {"every_steps"} or not whole:
            fix = "write each_stage, end, never, or {every_steps: n} with n from 1 up"
            raise DMTError("", f"{dict(value)!r} is not accepted", fix)
    return value


def _check_fraction_of_domain(value: Any) -> Any:
    fraction = parse_fraction(value, "")
    if not 0 <= fraction <= 1:
        raise DMTError("", f"{value} is outside [0, 1]", "write a fraction such as 1/256 or 0.25")
    return value


AmountValue: TypeAlias = Annotated[
    Any,
    BeforeValidator(_check_amount),
    WithJsonSchema(
        {
            "description": "all, a fraction of the domain's rows (1/256 or 0.25), or a named unit",
            "anyOf": [
                {"const": "all"},
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": "^[0-9.]+(/[0-9.]+)?$"},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                    "properties": {
                        "rows": {"type": "integer", "minimum": 0},
                        "tokens": {"type": "integer", "minimum": 0},
                        "fraction": {"type": ["number", "string"]},
                        "share": {"type": ["number", "string"]},
                        "token_share": {"type": ["number", "string"]},
                        "weight": {"type": "number", "minimum": 0},
                    },
                },
            ],
        }
    ),
]
FractionOfDomain: TypeAlias = Annotated[
    Any,
    BeforeValidator(_check_fraction_of_domain),
    WithJsonSchema({"type": ["number", "string"], "examples": ["1/256", 0.25]}),
]


Weight: TypeAlias = Annotated[
    Any,
    BeforeValidator(_check_weight),
    WithJsonSchema({"type": ["number", "string"], "examples": [2, "1/3"]}),
]


AUTO = "auto"
"""`dmt.k` where `axolotl dmt choose-k` is to choose it."""


def _check_k(value: Any) -> Any:
    return value if value == AUTO else _check_fraction_of_domain(value)


ReplayFraction: TypeAlias = Annotated[
    Any,
    BeforeValidator(_check_k),
    WithJsonSchema({"type": ["number", "string"], "examples": ["1/256", 0.25, AUTO]}),
]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScheduleConfig(_Block):
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


class EverySteps(_Block):
    """Score every so many optimiser steps besides each stage's end."""

    every_steps: int = Field(
        gt=0, description="Optimiser steps between two evaluations.", examples=[500]
    )


class JudgeConfig(_Block):
    """The judge of `dmt_general_mtbench`, behind any OpenAI-compatible server."""

    model: str = Field(description="The judge's name at its server.", examples=["gpt-4o"])
    base_url: str | None = Field(
        None,
        description="The server. The key comes from the environment (DMT_JUDGE_API_KEY, else "
        "OPENAI_API_KEY) and is written nowhere. Default: OpenAI's own.",
        examples=["http://localhost:8000/v1"],
    )


class EvaluateConfig(_Block):
    """How each ability is scored by lm-evaluation-harness: `dmt.evaluate`."""

    tasks: list[str] = Field(
        default_factory=lambda: ["dmt_suite"],
        min_length=1,
        description="lm-eval tasks or groups; `dmt_suite` is math, code and general ability.",
        examples=[["dmt_suite"]],
    )
    when: Annotated[
        Literal["each_stage", "end", "never"] | EverySteps, BeforeValidator(_check_when)
    ] = Field(
        "each_stage",
        description="each_stage, end, never, or {every_steps: n}.",
        examples=["each_stage"],
    )
    before: bool = Field(
        False, description="Also score the model before the first stage.", examples=[True]
    )
    data: dict[str, str] | None = Field(
        None,
        description="Local files in place of the public datasets, by ability: "
        "{math: test.jsonl, code: ..., general: ...}.",
        examples=[{"math": "gsm8k_test.jsonl"}],
    )
    prompt: str | None = Field(
        None,
        description="Prompt of the generative tasks: plain, vicuna, alpaca, or a template that "
        "holds {question}. Use the one you train with.",
        examples=["vicuna"],
    )
    limit: float | None = Field(
        None,
        gt=0,
        description="Items per task (a number), or a fraction of them (below 1).",
        examples=[200],
    )
    num_fewshot: int | None = Field(None, ge=0, description="Examples in the prompt.", examples=[0])
    batch_size: int | Literal["auto"] = Field(
        8,
        description="Items generated at once, or auto. vLLM makes its own batches.",
        examples=[32],
    )
    apply_chat_template: bool = Field(
        False,
        description="Ask through the tokenizer's chat template.",
        examples=[True],
    )
    max_new_tokens: int | None = Field(
        None, gt=0, description="Longest answer, in tokens.", examples=[512]
    )
    gen_kwargs: dict[str, Any] | None = Field(
        None,
        description="Generation settings passed on to lm-eval.",
        examples=[{"temperature": 0.0}],
    )
    include_path: str | None = Field(
        None, description="A folder with lm-eval tasks of your own.", examples=["my_tasks"]
    )
    runner: Literal["in_process", "subprocess"] = Field(
        "in_process",
        description="in_process scores the live model, every rank takes its part; subprocess "
        "scores the saved stage in a process of its own, as ZeRO-3 and FSDP weights need.",
        examples=["subprocess"],
    )
    model: Literal["hf", "vllm"] = Field(
        "hf",
        description="What generates; vllm needs `runner: subprocess`.",
        examples=["hf"],
    )
    model_args: dict[str, Any] | None = Field(
        None,
        description="With `runner: subprocess`: arguments of lm-eval's model, such as how much of "
        "the GPU vLLM may take beside the training.",
        examples=[{"gpu_memory_utilization": 0.4}],
    )
    judge: JudgeConfig | None = Field(
        None,
        description="The judge of dmt_general_mtbench.",
        examples=[{"model": "gpt-4o"}],
    )
    allow_unsafe_code: bool = Field(
        False,
        description="Run generated code even where no namespaces can wall it off.",
        examples=[True],
    )
    samples: int = Field(
        3, ge=0, description="Answers per ability and stage kept for the report.", examples=[3]
    )

    @model_validator(mode="after")
    def _known_abilities(self) -> EvaluateConfig:
        # Tasks of one's own may read data of any name.
        for ability in self.data or {} if self.include_path is None else {}:
            if ability not in SUITE_ABILITIES:
                known = f"known abilities: {', '.join(SUITE_ABILITIES)}"
                raise DMTError(f"data.{ability}", "no task of dmt_suite reads it", known)
        return self

    @model_validator(mode="after")
    def _vllm_needs_a_process(self) -> EvaluateConfig:
        if self.model == "vllm" and self.runner != "subprocess":
            raise DMTError("model", "vllm scores saved stages only", "write runner: subprocess too")
        return self


class ReplayConfig(_Block):
    """Which rows are replayed: `dmt.replay`."""

    select: Literal["random", "hardest", "easiest"] = Field(
        "random",
        description="random, or the rows of the highest (hardest) or the lowest (easiest) loss "
        "first. Only rows that an earlier stage chose are taken, as long as there are any.",
        examples=["hardest"],
    )
    losses: str | None = Field(
        None,
        min_length=1,
        description="For hardest and easiest: the file of each row's loss that `axolotl dmt "
        "row-losses CONFIG --model STAGE_FOLDER` writes. A file of other rows is refused.",
        examples=["outputs/stage-1/dmt/row_losses.parquet"],
    )


class AutoKConfig(_Block):
    """How `axolotl dmt choose-k` chooses k: `dmt.auto_k`."""

    ladder: list[FractionOfDomain] = Field(
        default_factory=lambda: ["1/256", "1/64", "1/16", "1/4"],
        min_length=1,
        description="The values to try, from the smallest up, until one holds.",
        examples=[["1/64", "1/16", "1/4"]],
    )
    loss: float = Field(
        0.05,
        ge=0,
        description="A k holds where no specialised score is more than this below stage 1's, in "
        "the score's own unit (0.05 is 5 points of accuracy).",
        examples=[0.05],
    )
    max_steps: int | None = Field(
        200,
        gt=0,
        description="Length of a trial in optimiser steps; null tries the whole of stage 2. Longer "
        "trials see more of the forgetting.",
        examples=[500],
    )
    abilities: list[str] | None = Field(
        None,
        min_length=1,
        description="The scores that must hold. Default: those named as the specialised domains.",
        examples=[["math", "code"]],
    )


class DMTConfig(_Block):
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
