"""The `dmt.evaluate` block: how each ability is scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from axolotl_dmt.errors import DMTError

SUITE_ABILITIES = ("math", "math_hard", "code", "code_mbpp", "general", "mtbench")
"""The keys of `evaluate.data`: a task of ours reads each of them, as `dmt_<ability>_data`."""


class Block(BaseModel):
    """A block of the YAML; it refuses keys that it does not have."""

    model_config = ConfigDict(extra="forbid")


def _check_when(value: Any) -> Any:
    # pydantic would report a mistake in the mapping once for each form that `when` takes.
    if isinstance(value, Mapping):
        steps = value.get("every_steps")
        is_positive = isinstance(steps, int) and not isinstance(steps, bool) and steps > 0
        if set(value) != {"every_steps"} or not is_positive:
            fix = "write each_stage, end, never, or {every_steps: n} with n from 1 up"
            raise DMTError("", f"{dict(value)!r} is not accepted", fix)
    return value


class EverySteps(Block):
    """Score at an interval of optimiser steps, and at the end of each stage."""

    every_steps: int = Field(
        gt=0, description="Optimiser steps between two evaluations.", examples=[500]
    )


class JudgeConfig(Block):
    """The judge model of `dmt_general_mtbench`, on any OpenAI-compatible server."""

    model: str = Field(description="Name of the judge model on its server.", examples=["gpt-4o"])
    base_url: str | None = Field(
        None,
        description="Address of the server. The API key is read from the environment "
        "(DMT_JUDGE_API_KEY, else OPENAI_API_KEY) and is never written to a file. Default: "
        "OpenAI's server.",
        examples=["http://localhost:8000/v1"],
    )
    request: dict[str, Any] | None = Field(
        None,
        description="Fields of each request, for a server that refuses the usual "
        "`temperature: 0` or `max_tokens: 2048`: null leaves a field out, and other fields are "
        "added.",
        examples=[{"temperature": None, "max_tokens": None, "max_completion_tokens": 2048}],
    )


SERVED = "local-chat-completions"
"""The `model` that is asked through a server."""


class EvaluateConfig(Block):
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
    before: bool | None = Field(
        None,
        description="Whether to score the model before the first stage too. Reports then show the "
        "change since the start, and a gate counts it among the earlier points; retention and "
        "forgetting do not. Default: true, but false if its weights are random (`reinit_weights`, "
        "or a folder with the file UNTRAINED.txt) or if `start_stage` begins with a model of an "
        "earlier run.",
        examples=[False],
    )
    data: dict[str, str] | None = Field(
        None,
        description="Local files to use instead of the public datasets, by ability: "
        "{math: test.jsonl, code: ..., general: ...}.",
        examples=[{"math": "gsm8k_test.jsonl"}],
    )
    prompt: str = Field(
        "as_trained",
        description="Prompt of the generative tasks: as_trained, which asks each ability in the "
        "format of its domain's training rows, or plain, vicuna, alpaca, or a template that "
        "contains {question}.",
        examples=["as_trained"],
    )
    domains: dict[str, str] | None = Field(
        None,
        description="The domain in whose format a task is asked, for tasks that are not named "
        "after one: {ifeval: general}. lm-eval's own tasks keep their own prompt unless they are "
        "named here or after a domain.",
        examples=[{"ifeval": "general"}],
    )
    limit: float | None = Field(
        None,
        gt=0,
        description="Items per task (a number), or a fraction of them (below 1).",
        examples=[200],
    )
    num_fewshot: int | None = Field(
        None, ge=0, description="Number of examples in the prompt.", examples=[0]
    )
    batch_size: int | Literal["auto"] = Field(
        8,
        description="Number of items in a static batch, or auto. Continuous batching and vLLM take "
        "as many at once as the memory allows.",
        examples=[32],
    )
    batching: Literal["auto", "static"] = Field(
        "auto",
        description="auto generates by continuous batching, where a finished answer makes room for "
        "the next, if the model allows it; the log says which. static always waits for the longest "
        "answer of each batch.",
        examples=["static"],
    )
    cache_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="With continuous batching: share of the device's free memory, beside the model "
        "and the optimiser state, that the keys and values of the answers may take.",
        examples=[0.3],
    )
    stop_early: bool = Field(
        False,
        description="With continuous batching: end an answer to dmt_math after a complete line "
        "`#### N`, and one to dmt_code after a closed code fence. This saves time, but a model "
        "that corrects itself afterwards is scored by its first answer.",
        examples=[True],
    )
    apply_chat_template: bool = Field(
        False,
        description="Format prompts with the tokenizer's chat template, in place of `prompt`.",
        examples=[True],
    )
    enable_thinking: bool | None = Field(
        None,
        description="For chat templates with a switch for reasoning: whether the model reasons "
        "before it answers. Default: as the training rows do.",
        examples=[False],
    )
    think_end_token: str | int | None = Field(
        None,
        description="The text, or the number of the token, that ends the reasoning; lm-eval then "
        "scores only what follows. The tasks of dmt_suite remove `<think>...</think>` without it.",
        examples=["</think>"],
    )
    chat_template_args: dict[str, Any] | None = Field(
        None,
        description="Further arguments of the tokenizer's chat template.",
        examples=[{"reasoning_effort": "low"}],
    )
    max_new_tokens: int | None = Field(
        None, gt=0, description="Maximum length of an answer in tokens.", examples=[512]
    )
    gen_kwargs: dict[str, Any] | None = Field(
        None,
        description="Generation settings that are passed to lm-eval.",
        examples=[{"temperature": 0.0}],
    )
    include_path: str | None = Field(
        None, description="A folder with your own lm-eval tasks.", examples=["my_tasks"]
    )
    runner: Literal["in_process", "subprocess", "background"] = Field(
        "in_process",
        description="in_process scores the live model, with the items divided among the ranks; "
        "subprocess scores the saved stage in a separate process, which ZeRO-3 and FSDP require; "
        "background does so while the next stage trains.",
        examples=["subprocess"],
    )
    devices: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=1,
        description="With `runner: subprocess` or `background`: the GPUs that the separate process "
        "may use, which the training should not use.",
        examples=[[7]],
    )
    model: Literal["hf", "vllm", "local-chat-completions"] = Field(
        "hf",
        description="Backend that generates the answers; all but hf need `runner: subprocess` or "
        "`background`. local-chat-completions asks the server at `model_args.base_url`, which "
        "applies the chat template, for the model called after the stage's folder, or "
        "`model_args.model`.",
        examples=["hf"],
    )
    model_args: dict[str, Any] | None = Field(
        None,
        description="With `runner: subprocess` or `background`: arguments of lm-eval's model, such "
        "as the share of the GPU's memory that vLLM may use beside the training, or the address "
        "of a server.",
        examples=[{"gpu_memory_utilization": 0.4}, {"base_url": "http://localhost:8000/v1"}],
    )
    judge: JudgeConfig | None = Field(
        None,
        description="The judge model of dmt_general_mtbench.",
        examples=[{"model": "gpt-4o"}],
    )
    allow_unsafe_code: bool = Field(
        False,
        description="Run generated code even where namespaces cannot isolate it.",
        examples=[True],
    )
    samples: int = Field(
        3,
        ge=0,
        description="Number of answers per ability and stage that the report shows.",
        examples=[3],
    )

    items: Literal["full", "scores", "none"] = Field(
        "full",
        description="What `dmt/items.parquet` keeps of each item at each point: full is scores, "
        "prompt and answer; scores leaves the texts out; none writes no such file.",
        examples=["scores"],
    )

    @model_validator(mode="after")
    def _known_abilities(self) -> EvaluateConfig:
        # A user's own tasks may read data of any name.
        for ability in self.data or {} if self.include_path is None else {}:
            if ability not in SUITE_ABILITIES:
                fix = f"known abilities: {', '.join(SUITE_ABILITIES)}"
                raise DMTError(f"data.{ability}", "no task of dmt_suite reads it", fix)
        return self

    @model_validator(mode="after")
    def _other_models_need_a_process(self) -> EvaluateConfig:
        if self.model != "hf" and self.runner == "in_process":
            problem = f"{self.model} scores only saved stages"
            raise DMTError("model", problem, "write runner: subprocess too")
        return self

    @model_validator(mode="after")
    def _a_server_has_an_address(self) -> EvaluateConfig:
        if self.model == SERVED:
            if not (self.model_args or {}).get("base_url"):
                fix = "write model_args: {base_url: http://localhost:8000/v1}"
                raise DMTError("model_args.base_url", f"is missing beside model: {SERVED}", fix)
            self.apply_chat_template = True  # by the server
        return self
