"""Estimates the GPU memory and the GPU hours that a run needs, from the model's shape and the plan.

Nothing is loaded: the model is built without weights. The formulas are in docs/howto/gpus.md, with
published runs that they were compared with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from axolotl_dmt.checks.sharding import zero_stage
from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.plan.training_plan import TrainingPlan

EFFICIENCY: Final = 0.4
"""The assumed fraction of a GPU's peak that training reaches (model FLOP utilisation)."""
LOGIT_BYTES: Final = 12
"""32-bit logits, their softmax and their gradient."""
LAYER_BYTES: Final = 34
"""Bytes of activations per token and hidden unit of a layer, with flash attention.

Source: Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022.
"""
OVERHEAD_BYTES: Final = 1.5e9
"""CUDA's context, buffers of the libraries and fragmentation."""
COUNTS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_OPTIMIZER_BYTES: Final = (
    # (what the optimiser's name contains, bytes of state per parameter; None: twice the weight's)
    ("4bit", 1.1),
    ("8bit", 2.1),
    ("adafactor", 0.1),
    ("sgd", 0.0),
    ("lion", None),
    ("muon", None),
    ("", None),
)
_ONE_MOMENT: Final = ("lion", "muon")


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: its name.
        memory: its memory in bytes.
        flops: its dense peak in 16 bits, in FLOP per second, from the manufacturer's data sheet.
    """

    name: str
    memory: float
    flops: float


GPUS: Final = (
    Gpu("RTX 4090, 24 GB", 24e9, 165e12),
    Gpu("L40S, 48 GB", 48e9, 362e12),
    Gpu("A100, 80 GB", 80e9, 312e12),
    Gpu("H100, 80 GB", 80e9, 989e12),
    Gpu("H200, 141 GB", 141e9, 989e12),
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a model.

    Attributes:
        parameters: number of parameters.
        quantised: those of them that `load_in_4bit` and `load_in_8bit` quantise: linear layers.
        trained: number of trained parameters; the adapter's, where there is one.
        layers: number of layers.
        hidden: width of the hidden states.
        vocabulary: number of tokens.
    """

    parameters: int
    quantised: int
    trained: int
    layers: int
    hidden: int
    vocabulary: int


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a run needs on one kind of GPU.

    Attributes:
        gpu: the GPU.
        count: the smallest number of GPUs that hold the run; None if no number does.
        memory: bytes needed on each of them, or on each of the largest number tried.
        gpu_hours: hours of one GPU for all training, without scoring.
    """

    gpu: Gpu
    count: int | None
    memory: float
    gpu_hours: float


def needs(cfg: Any, shape: Shape, tokens: int) -> list[Need]:
    """Return what a run needs on each kind of GPU.

    Args:
        cfg: Axolotl's validated configuration.
        shape: the shape of its model.
        tokens: the tokens that the run trains on, without padding.
    """
    counts = COUNTS if any(_divided(cfg)) else COUNTS[:1]
    result = []
    for gpu in GPUS:
        memory = {n: memory_per_gpu(cfg, shape, n) for n in counts}
        fitting = [n for n, needed in memory.items() if needed <= gpu.memory]
        hours = training_flops(cfg, shape, tokens) / (gpu.flops * EFFICIENCY) / 3600
        count = fitting[0] if fitting else None
        result.append(
            Need(gpu=gpu, count=count, memory=memory[count or counts[-1]], gpu_hours=hours)
        )
    return result


def training_flops(cfg: Any, shape: Shape, tokens: int) -> float:
    """Return the FLOP of training on some tokens.

    A token costs 2 FLOP per parameter in the forward pass, 2 for the gradients of activations, 2
    for those of the weights that are trained, and 2 to repeat the forward pass with gradient
    checkpointing.
    """
    frozen = shape.parameters if _has_adapter(cfg) else 0
    trained = shape.trained
    repeated = 2 * (frozen + trained) if cfg.gradient_checkpointing else 0
    return float(tokens) * (4 * frozen + 6 * trained + repeated)


def memory_per_gpu(cfg: Any, shape: Shape, gpus: int) -> float:
    """Return the bytes that training needs on each of some GPUs."""
    weight, gradient, state = _bytes_per_trained(cfg)
    holders = [gpus if divided else 1 for divided in _divided(cfg)]
    frozen = _frozen_bytes(cfg, shape) / holders[0]
    per_parameter = weight / holders[0] + gradient / holders[1] + state / holders[2]
    activations = activation_bytes(cfg, shape)
    return frozen + shape.trained * per_parameter + activations + OVERHEAD_BYTES


def activation_bytes(cfg: Any, shape: Shape) -> float:
    """Return the bytes of the activations and the logits of one batch."""
    tokens = int(cfg.sequence_len) * int(cfg.micro_batch_size or 1)
    unit = tokens * shape.hidden
    logits = tokens * shape.vocabulary * LOGIT_BYTES
    if cfg.liger_fused_linear_cross_entropy or cfg.cut_cross_entropy:
        logits = 0
    if cfg.gradient_checkpointing:  # the input of each layer, and one layer's activations
        return unit * 2.0 * shape.layers + max(unit * LAYER_BYTES, logits)
    return unit * LAYER_BYTES * shape.layers + logits


def model_shape(cfg: Any) -> Shape:
    """Return the shape of the model that a configuration trains, built without weights.

    Raises:
        DMTError: the model's configuration cannot be loaded, or the model not be built from it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    name = cfg.base_model_config or cfg.base_model
    trust = bool(cfg.trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    except Exception as error:  # a model's own code may raise anything
        problem = f"the shape of {name} cannot be found: {first_line(error)}"
        raise DMTError("--cost", problem, "leave --cost out") from None
    parameters = sum(p.numel() for p in model.parameters())
    linear = list(_inner_linear_layers(model))
    adapter = _has_adapter(cfg)
    rank = int(cfg.lora_r or 0)
    text = config.get_text_config()
    return Shape(
        parameters=parameters,
        quantised=sum(layer.in_features * layer.out_features for _, layer in linear),
        trained=sum(
            rank * (layer.in_features + layer.out_features)
            for layer_name, layer in linear
            if _is_target(cfg, layer_name)
        )
        if adapter
        else parameters,
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        vocabulary=int(text.vocab_size),
    )


def cost_table(cfg: Any, plan: TrainingPlan) -> Table:
    """Return the table of what a run needs on each kind of GPU.

    Args:
        cfg: Axolotl's validated configuration.
        plan: the plan that it trains.

    Raises:
        DMTError: the shape of the model cannot be found.
    """
    shape = model_shape(cfg)
    tokens = tokens_of(plan)
    table = Table(
        title="Estimated needs", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    table.add_column("GPU")
    for column in ("GPUs", "memory each", "GPU-hours", "hours"):
        table.add_column(column, justify="right")
    for need in needs(cfg, shape, tokens):
        hours = "" if need.count is None else _hours(need.gpu_hours / need.count)
        count = "too large" if need.count is None else f"{need.count}"
        memory = f"{need.memory / 1e9:.3g} GB"
        table.add_row(need.gpu.name, count, memory, _hours(need.gpu_hours), hours)
    trained = shape.trained / (shape.parameters + (shape.trained if _has_adapter(cfg) else 0))
    table.caption = (
        f"{shape.parameters / 1e9:.3g} billion parameters, {trained:.2%} trained, "
        f"{tokens:,} tokens without padding, at {EFFICIENCY:.0%} of the GPU's peak, without scoring"
    )
    table.caption_justify = "left"
    return table


def _hours(hours: float) -> str:
    return f"{hours:.3g}" if hours >= 0.1 else "< 0.1"


def tokens_of(plan: TrainingPlan) -> int:
    """Return the number of tokens that a plan trains on, without padding.

    Raises:
        DMTError: the plan does not know its rows' lengths.
    """
    counts = [stage.tokens for stage in plan.stages]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        problem = "the plan has no token counts, because the rows are tokenised while training"
        raise DMTError("--cost", problem, "leave --cost out")
    return sum(known)


def _inner_linear_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and layers of the linear layers, without the output layer."""
    import torch

    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            yield name, module


def _is_target(cfg: Any, name: str) -> bool:
    targets = cfg.lora_target_modules
    if cfg.lora_target_linear or targets in (None, "all-linear"):
        return True
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _has_adapter(cfg: Any) -> bool:
    return cfg.adapter in ("lora", "qlora")


def _frozen_bytes(cfg: Any, shape: Shape) -> float:
    """Return the bytes of the weights that are not trained."""
    if not _has_adapter(cfg):
        return 0.0
    small = 0.55 if cfg.load_in_4bit else 1.0 if cfg.load_in_8bit else _weight_bytes(cfg)
    return shape.quantised * small + (shape.parameters - shape.quantised) * _weight_bytes(cfg)


def _weight_bytes(cfg: Any) -> int:
    return 2 if cfg.bf16 or cfg.fp16 or cfg.bfloat16 or cfg.float16 else 4


def _bytes_per_trained(cfg: Any) -> tuple[float, float, float]:
    """Return the bytes of the weight, the gradient and the state of each trained parameter.

    FSDP keeps 32-bit weights, gradients and moments, and DeepSpeed 16-bit weights and gradients
    beside a 32-bit copy (16 bytes with Adam). Without them, everything has the model's type. An
    adapter has 32 bits.
    """
    if cfg.fsdp_config or cfg.fsdp:
        weight, gradient, copy = 4.0, 4.0, 0.0
    elif cfg.deepspeed:
        weight, gradient, copy = 2.0, 2.0, 4.0
    else:
        weight = gradient = 4.0 if _has_adapter(cfg) else float(_weight_bytes(cfg))
        copy = 0.0
    name = str(cfg.optimizer or "")
    state = next(state for part, state in _OPTIMIZER_BYTES if part in name)
    if state is None:
        moments = 1 if any(part in name for part in _ONE_MOMENT) else 2
        state = moments * (4.0 if copy else weight)
    return weight, gradient, state + copy


def _divided(cfg: Any) -> tuple[bool, bool, bool]:
    """Return whether weights, gradients and optimiser state are divided among the GPUs."""
    if cfg.fsdp_config or cfg.fsdp:
        return True, True, True
    stage = zero_stage(cfg.deepspeed)
    return stage >= 3, stage >= 2, stage >= 1
