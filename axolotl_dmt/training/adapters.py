"""Starts a fresh LoRA adapter at a stage, on top of the frozen adapters of earlier stages.

The trained adapter keeps its parameter tensors, so that the optimiser, DDP and the checkpoints
always see the same ones. At the start of a stage its values are copied to a frozen adapter, which
adds to each layer's output, and the trained adapter is initialised again.

On disk, the earlier adapters and the current one form a single adapter whose rank is the sum of
theirs. It computes the same function of the unchanged base model, loads wherever a LoRA adapter
does, can be merged by `axolotl merge-lora`, and is sufficient to continue training.
"""

from __future__ import annotations

import copy
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import Tensor, nn

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json
from axolotl_dmt.plan.permutation import derive_key
from axolotl_dmt.plan.training_plan import TrainingPlan

NAME = "default"
"""PEFT's name for the one adapter that Axolotl trains."""


class StackedAdapters:
    """The LoRA layers of a model, each with the frozen adapters of earlier stages."""

    def __init__(self, model: Any) -> None:
        """Prepare each LoRA layer to hold earlier adapters.

        Args:
            model: an unwrapped PEFT model with one LoRA adapter. Its `save_pretrained` is replaced
                by a method that also saves the earlier adapters.

        Raises:
            DMTError: a LoRA layer does not wrap a linear layer, or the adapter uses DoRA or rsLoRA.
        """
        self.model = model
        self.layers: dict[str, Any] = {
            name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)
        }
        for name, layer in self.layers.items():
            if not isinstance(layer.get_base_layer(), nn.Linear) or NAME not in layer.lora_A:
                kind = type(layer.get_base_layer()).__name__
                raise DMTError(
                    "adapter: new",
                    f"needs LoRA on linear layers only, and {name} is {kind}",
                    "remove it from lora_target_modules, or train one adapter in all stages",
                )
            layer.dmt_earlier_A = layer.dmt_earlier_B = None
            layer.register_forward_hook(_add_earlier)
        config = model.peft_config[NAME]
        if config.use_dora or config.use_rslora:
            kind = "DoRA" if config.use_dora else "rsLoRA"
            problem = f"holds a {kind} adapter, on which no fresh adapter can be stacked"
            raise DMTError("lora_model_dir", problem, "merge it into the base model first")
        self._save_plain = model.save_pretrained
        model.save_pretrained = self.save

    @property
    def earlier(self) -> int:
        """The number of earlier adapters."""
        layer = next(iter(self.layers.values()))
        return 0 if layer.dmt_earlier_A is None else len(layer.dmt_earlier_A) // layer.r[NAME]

    def split(self, earlier: int) -> None:
        """Split the loaded adapter into the earlier adapters that it holds and the current one.

        This must happen before the optimiser is created.

        Args:
            earlier: number of earlier adapters that the loaded one holds.
        """
        for layer in self.layers.values():
            rank = layer.r[NAME] // (earlier + 1)
            down, up = layer.lora_A[NAME], layer.lora_B[NAME]
            a, b = down.weight.detach(), up.weight.detach()
            _set_earlier(layer, a[:-rank], b[:, :-rank])
            down.weight = nn.Parameter(a[-rank:].clone())
            up.weight = nn.Parameter(b[:, -rank:].clone())
            down.out_features = up.in_features = layer.r[NAME] = rank
            layer.lora_alpha[NAME] /= earlier + 1
        configs = self.model.peft_config
        configs[NAME] = _resized(configs[NAME], Fraction(1, earlier + 1))

    def renew(self, seed: int, left: int) -> None:
        """Freeze a copy of the current adapter and initialise the current one again.

        Args:
            seed: the plan's seed.
            left: number of stages from this one to the plan's end. With the seed it determines the
                fresh adapter, which is the same on every rank and in a run that starts at this
                stage.
        """
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(derive_key(seed, "adapter", left) % 2**63)
            for layer in self.layers.values():
                _set_earlier(layer, *_joined(layer))
                layer.reset_lora_parameters(NAME, True)

    def save(self, save_directory: str | os.PathLike[str], **options: Any) -> None:
        """Save the earlier and current adapters as one, as `PeftModel.save_pretrained` does."""
        if not self.earlier:
            self._save_plain(save_directory, **options)
            return
        options["state_dict"] = {
            f"{name}.lora_{part}.{NAME}.weight": tensor.detach().contiguous()
            for name, layer in self.layers.items()
            for part, tensor in zip("AB", _joined(layer), strict=True)
        }
        configs = self.model.peft_config
        current = configs[NAME]
        try:
            configs[NAME] = _resized(current, Fraction(self.earlier + 1))
            self._save_plain(save_directory, **options)
        finally:
            configs[NAME] = current

    def load(self, folder: Path) -> None:
        """Load the earlier and current adapters from a folder that `save` wrote."""
        saved = load_file(folder / "adapter_model.safetensors")
        with torch.no_grad():
            for name, layer in self.layers.items():
                a, b = (saved[f"{name}.lora_{part}.weight"] for part in "AB")
                current_a, current_b = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
                earlier = len(a) - layer.r[NAME]
                current_a.copy_(a[earlier:])
                current_b.copy_(b[:, earlier:])
                if earlier:
                    _set_earlier(layer, a[:earlier].to(current_a), b[:, :earlier].to(current_b))


def stacked_adapters(
    model: Any, plan: TrainingPlan, *, loaded: bool, earlier: int, rank: int | None
) -> StackedAdapters | None:
    """Return the stacked adapters of a model, or None where no stage starts a fresh adapter.

    Args:
        model: the model as Axolotl loaded it.
        plan: the plan.
        loaded: whether the model's adapter comes from `lora_model_dir`.
        earlier: number of earlier adapters that the loaded adapter must hold, one for each fresh
            adapter of the stages before the plan's first one.
        rank: the rank of one adapter, if the YAML sets it.

    Raises:
        DMTError: the loaded adapter does not hold that number of adapters, or adapters cannot be
            stacked on the model.
    """
    if not earlier and not any(stage.settings.new_adapter for stage in plan.stages):
        return None
    adapters = StackedAdapters(model)
    loaded_rank = model.peft_config[NAME].r
    count = earlier + 1
    if loaded_rank % count or (earlier and rank and loaded_rank != rank * count):
        problem = f"holds rank {loaded_rank}, and the previous stages stack {count} adapters"
        raise DMTError("lora_model_dir", problem, "name the folder of the previous stage")
    if earlier:
        adapters.split(earlier)
    if loaded and plan.stages[0].settings.new_adapter:
        adapters.renew(plan.seed, len(plan.stages))
    return adapters


def is_stacked(folder: Path, model: Any) -> bool:
    """Whether the adapter in a folder has a larger rank than this model's current adapter."""
    try:
        saved = read_json(folder / "adapter_config.json")
    except OSError:
        return False
    return bool(saved["r"] > model.peft_config[NAME].r)


def _joined(layer: Any) -> tuple[Tensor, Tensor]:
    """Return A, shape (sum of ranks, in), and B, shape (out, sum of ranks), of all adapters."""
    a, b = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
    if layer.dmt_earlier_A is None:
        return a, b
    return torch.cat([layer.dmt_earlier_A, a]), torch.cat([layer.dmt_earlier_B, b], dim=1)


def _set_earlier(layer: Any, a: Tensor, b: Tensor) -> None:
    """Store copies of these matrices as the earlier adapters of the layer."""
    # Buffers move with the model; those that are not persistent are left out of the state dict.
    for name, tensor in (("dmt_earlier_A", a), ("dmt_earlier_B", b)):
        delattr(layer, name)
        layer.register_buffer(name, tensor.detach().clone(), persistent=False)


def _add_earlier(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    """Add the earlier adapters to the output of a LoRA layer, as its forward hook."""
    a, b = layer.dmt_earlier_A, layer.dmt_earlier_B
    if a is None:
        return None
    projected = nn.functional.linear(inputs[0].to(a.dtype), a)
    added = nn.functional.linear(projected, b) * layer.scaling[NAME]
    total: Tensor = output + added.to(output.dtype)
    return total


def _resized(config: Any, times: Fraction) -> Any:
    """Return the configuration with a multiple of the rank and the same scaling, alpha / r."""
    resized = copy.deepcopy(config)
    resized.r, resized.lora_alpha = int(times * config.r), int(times * config.lora_alpha)
    for name in ("rank_pattern", "alpha_pattern"):
        pattern = getattr(config, name) or {}
        setattr(resized, name, {key: int(times * value) for key, value in pattern.items()})
    return resized
