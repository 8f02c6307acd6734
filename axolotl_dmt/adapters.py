"""A fresh LoRA adapter at a stage, on top of the frozen ones of the stages before it.

The adapter that is trained keeps its parameters, so that the optimiser, DDP and the checkpoints
never see another one; what it learned so far is copied, added to each layer's output, and the
adapter starts anew. On disk the earlier adapters and the present one are one adapter whose rank is
the sum of theirs, which is the same function of the untouched base: it loads anywhere, can be
merged by `axolotl merge-lora`, and holds all that is needed to go on from it.
"""

from __future__ import annotations

import copy
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import Tensor, nn

from axolotl_dmt.errors import DMTError
from axolotl_dmt.permutation import derive_key
from axolotl_dmt.training_plan import TrainingPlan

NAME = "default"
"""PEFT's name of the one adapter that Axolotl trains."""


class StackedAdapters:
    """The LoRA layers of a model, and what earlier adapters left in each."""

    def __init__(self, model: Any) -> None:
        """Get ready to keep earlier adapters.

        Args:
            model: a PEFT model with one LoRA adapter, without any wrapper. Its `save_pretrained`
                is replaced by one that saves the earlier adapters too.

        Raises:
            DMTError: a LoRA layer is not on a linear one.
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
                    "take it out of lora_target_modules, or let one adapter go through all stages",
                )
            layer.dmt_earlier_A = layer.dmt_earlier_B = None
            layer.register_forward_hook(_add_earlier)
        config = model.peft_config[NAME]
        if config.use_dora or config.use_rslora:
            kind = "DoRA" if config.use_dora else "rsLoRA"
            problem = f"holds {kind}, on which no fresh adapter can be stacked"
            raise DMTError("lora_model_dir", problem, "merge it into the base model first")
        self._save_plain = model.save_pretrained
        model.save_pretrained = self.save

    @property
    def earlier(self) -> int:
        """Number of earlier adapters."""
        layer = next(iter(self.layers.values()))
        return 0 if layer.dmt_earlier_A is None else len(layer.dmt_earlier_A) // layer.r[NAME]

    def split(self, earlier: int) -> None:
        """Part an adapter that was saved with earlier ones, before the optimiser is made.

        Args:
            earlier: how many of these it holds before the present one.
        """
        for layer in self.layers.values():
            rank = layer.r[NAME] // (earlier + 1)
            low, high = layer.lora_A[NAME], layer.lora_B[NAME]
            a, b = low.weight.detach(), high.weight.detach()
            _keep(layer, a[:-rank], b[:, :-rank])
            low.weight = nn.Parameter(a[-rank:].clone())
            high.weight = nn.Parameter(b[:, -rank:].clone())
            low.out_features = high.in_features = layer.r[NAME] = rank
            layer.lora_alpha[NAME] /= earlier + 1
        configs = self.model.peft_config
        configs[NAME] = _resized(configs[NAME], Fraction(1, earlier + 1))

    def renew(self, seed: int, left: int) -> None:
        """Keep what the adapter has learned, and start a fresh one.

        Args:
            seed: the plan's.
            left: stages from here to the plan's end; with the seed it gives the same fresh adapter
                on every rank, and in a run that starts at this stage.
        """
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(derive_key(seed, "adapter", left) % 2**63)
            for layer in self.layers.values():
                _keep(layer, *_joined(layer))
                layer.reset_lora_parameters(NAME, True)

    def save(self, save_directory: str | os.PathLike[str], **options: Any) -> None:
        """Save earlier and present adapters as one, as `PeftModel.save_pretrained` does."""
        if not self.earlier:
            self._save_plain(save_directory, **options)
            return
        options["state_dict"] = {
            f"{name}.lora_{part}.{NAME}.weight": tensor.detach().contiguous()
            for name, layer in self.layers.items()
            for part, tensor in zip("AB", _joined(layer), strict=True)
        }
        configs = self.model.peft_config
        present = configs[NAME]
        try:
            configs[NAME] = _resized(present, Fraction(self.earlier + 1))
            self._save_plain(save_directory, **options)
        finally:
            configs[NAME] = present

    def load(self, folder: Path) -> None:
        """Take earlier and present adapters from a folder that `save` wrote."""
        saved = load_file(folder / "adapter_model.safetensors")
        with torch.no_grad():
            for name, layer in self.layers.items():
                a, b = (saved[f"{name}.lora_{part}.weight"] for part in "AB")
                present_a, present_b = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
                earlier = len(a) - layer.r[NAME]
                present_a.copy_(a[earlier:])
                present_b.copy_(b[:, earlier:])
                if earlier:
                    _keep(layer, a[:earlier].to(present_a), b[:, :earlier].to(present_b))


def stacked_adapters(
    model: Any, plan: TrainingPlan, *, loaded: bool, earlier: int, rank: int | None
) -> StackedAdapters | None:
    """What the stages need to start fresh adapters, or None where none does.

    Args:
        model: as Axolotl made it.
        plan: the plan.
        loaded: whether its adapter comes from `lora_model_dir`.
        earlier: how many earlier adapters that one must hold, for the stages that are left out.
        rank: of one adapter, where the YAML says it.

    Raises:
        DMTError: the loaded adapter does not hold these.
    """
    if not earlier and not any(stage.settings.new_adapter for stage in plan.stages):
        return None
    adapters = StackedAdapters(model)
    found = model.peft_config[NAME].r
    if found % (earlier + 1) or (earlier and rank and found != rank * (earlier + 1)):
        problem = f"holds rank {found}, and the stages before leave {earlier + 1} adapters in one"
        raise DMTError("lora_model_dir", problem, "name the folder that the stage before left")
    if earlier:
        adapters.split(earlier)
    if loaded and plan.stages[0].settings.new_adapter:
        adapters.renew(plan.seed, len(plan.stages))
    return adapters


def is_stacked(folder: Path, model: Any) -> bool:
    """Whether a folder holds more than the adapter of this model, by its rank."""
    try:
        saved = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except OSError:
        return False
    return bool(saved["r"] > model.peft_config[NAME].r)


def _joined(layer: Any) -> tuple[Tensor, Tensor]:
    """A, shape (sum of ranks, in), and B, shape (out, sum of ranks), of all its adapters."""
    a, b = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
    if layer.dmt_earlier_A is None:
        return a, b
    return torch.cat([layer.dmt_earlier_A, a]), torch.cat([layer.dmt_earlier_B, b], dim=1)


def _keep(layer: Any, a: Tensor, b: Tensor) -> None:
    # Buffers move with the model, and these are in no state dict.
    for name, tensor in (("dmt_earlier_A", a), ("dmt_earlier_B", b)):
        delattr(layer, name)
        layer.register_buffer(name, tensor.detach().clone(), persistent=False)


def _add_earlier(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    """The forward hook of a LoRA layer."""
    a, b = layer.dmt_earlier_A, layer.dmt_earlier_B
    if a is None:
        return None
    low = nn.functional.linear(inputs[0].to(a.dtype), a)
    added = nn.functional.linear(low, b) * layer.scaling[NAME]
    total: Tensor = output + added.to(output.dtype)
    return total


def _resized(config: Any, times: Fraction) -> Any:
    """The configuration of that many times the rank; alpha / r, the scaling, stays."""
    other = copy.deepcopy(config)
    other.r, other.lora_alpha = int(times * config.r), int(times * config.lora_alpha)
    for name in ("rank_pattern", "alpha_pattern"):
        pattern = getattr(config, name) or {}
        setattr(other, name, {key: int(times * value) for key, value in pattern.items()})
    return other
