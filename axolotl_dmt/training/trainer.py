"""The trainer that follows a plan.

`stage_trainer` extends Axolotl's trainer, or another plugin's, with a sampler that yields the rows
of the plan in order and a loss to which blank rows add nothing. `callback.StageCallback` acts where
a stage starts or ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from accelerate.utils.other import is_compiled_module
from axolotl.utils.dict import DictDefault
from transformers import PreTrainedModel, Trainer

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.report.model_card import update_card
from axolotl_dmt.training.adapters import StackedAdapters, is_stacked
from axolotl_dmt.training.blank_steps import BlankStep, steps_with_blanks
from axolotl_dmt.training.domain_loss import DomainLosses, PlannedDomains
from axolotl_dmt.training.interruption import MakeMessage, line_on_signal
from axolotl_dmt.training.optimizer import (
    copy_of_options,
    groups_with_decay,
    trust_projectors,
)
from axolotl_dmt.training.pool_layout import PoolLayout
from axolotl_dmt.training.raw_rows import BLANK, RawRowCollator
from axolotl_dmt.training.recorder import Recorder
from axolotl_dmt.training.renamed_weights import has_renamed_weights, load_renamed_weights
from axolotl_dmt.training.samplers import PlanPackSampler, PlanSampler
from axolotl_dmt.training.tokenised_rows import IGNORED


class StageTrainerMixin:
    """What `stage_trainer` adds to a trainer class; it changes nothing before `follow_plan`.

    Attributes:
        dmt_plan: the plan to train by.
        dmt_layout: where the plan's rows lie in the training dataset.
        dmt_adapters: the adapters of earlier stages, where a stage starts a fresh one.
        dmt_recorder: holds the results that the model card shows.
        dmt_interruption_message: makes the line that an interrupted training prints.
        dmt_blank_steps: the steps that hold blank micro batches.
        dmt_losses: adds up the training loss of each domain; None where it cannot.
        dmt_decaying: for each of the optimiser's parameter groups, whether weight decay applies.
    """

    dmt_plan: TrainingPlan | None = None
    dmt_layout: PoolLayout
    dmt_adapters: StackedAdapters | None = None
    dmt_recorder: Recorder | None = None
    dmt_interruption_message: MakeMessage | None = None
    dmt_blank_steps: Mapping[int, BlankStep]
    dmt_losses: DomainLosses | None = None
    dmt_decaying: Sequence[bool] = ()

    def follow_plan(
        self: Any, plan: TrainingPlan, layout: PoolLayout, adapters: StackedAdapters | None = None
    ) -> None:
        """Train by a plan from now on.

        Args:
            plan: the plan.
            layout: where its rows lie in the training dataset.
            adapters: the adapters of earlier stages, where a stage starts a fresh one.
        """
        self.dmt_plan, self.dmt_layout, self.dmt_adapters = plan, layout, adapters
        if BLANK in (self.train_dataset.column_names or ()):
            self.data_collator = RawRowCollator(self.data_collator)
            self.eval_data_collator = RawRowCollator(self.eval_data_collator)
        self.dmt_blank_steps = steps_with_blanks(
            plan, self.args.gradient_accumulation_steps, self.args.world_size
        )

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Train as the base class does; rank 0 prints a line where a signal ends the training."""
        message = self.dmt_interruption_message if self.is_world_process_zero() else None
        with line_on_signal(message):
            return super().train(*args, **kwargs)  # type: ignore[misc]

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        plain = self.model if model is None else model
        if isinstance(plain, PreTrainedModel) and has_renamed_weights(folder, plain):
            load_renamed_weights(folder, plain)
        elif self.dmt_adapters is None or not is_stacked(folder, self.model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        else:
            self.dmt_adapters.load(folder)

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        if self.dmt_plan is None:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        if self.dmt_plan.pack_offsets is None:
            return PlanSampler(self.dmt_plan, self.dmt_layout)
        micro_batches = self.args.gradient_accumulation_steps * self.args.world_size
        packs = self.dmt_plan.packs_per_step // micro_batches
        return PlanPackSampler(self.dmt_plan, self.dmt_layout, packs)

    def create_optimizer(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Create the base class's optimiser and record which of its groups have weight decay.

        This must happen here: DeepSpeed and FSDP replace the parameters in the groups later.
        """
        options = self.optimizer_cls_and_kwargs
        self.optimizer_cls_and_kwargs = copy_of_options(options)
        optimizer = super().create_optimizer(*args, **kwargs)  # type: ignore[misc]
        self.optimizer_cls_and_kwargs = options
        trust_projectors()
        self.dmt_decaying = groups_with_decay(self, optimizer)
        return optimizer

    def _save(self: Any, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save as the base class does, under the names that the model has before it is compiled."""
        if state_dict is None and is_compiled_module(self.model):
            state_dict = self.model.state_dict()
        if state_dict is not None:
            state_dict = {name.replace("_orig_mod.", ""): t for name, t in state_dict.items()}
        super()._save(output_dir, state_dict=state_dict)  # type: ignore[misc]

    def create_model_card(self: Any, *args: Any, **kwargs: Any) -> None:
        """Write the base class's model card and add a section on the stages and their scores."""
        super().create_model_card(*args, **kwargs)  # type: ignore[misc]
        if self.dmt_recorder is not None and self.is_world_process_zero():
            update_card(self.dmt_recorder.view(), Path(self.args.output_dir))

    def log_loss_by_domain(self: Any, domains: Sequence[Domain]) -> str | None:
        """Log the training loss of each domain from now on, after `follow_plan`.

        Args:
            domains: the domains of the plan's rows.

        Returns:
            Why it cannot be logged, or None.
        """
        planned = PlannedDomains(
            self.dmt_plan,
            domains,
            accumulation=self.args.gradient_accumulation_steps,
            ranks=self.args.world_size,
            rank=self.args.process_index,
            pads_left=getattr(self.processing_class, "padding_side", "right") == "left",
        )
        if self.args.torch_compile:
            return "the model is compiled"
        self.dmt_losses = DomainLosses.attach(self.model, planned)
        return None if self.dmt_losses else "the model has a loss function of its own"

    def log(self: Any, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log as the base class does, with the loss of each domain beside the training loss."""
        if self.dmt_losses is not None and "loss" in logs:
            logs |= self.dmt_losses.take(self.accelerator)
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss, and take note of the losses of its tokens in training."""
        if self.dmt_losses is None or not model.training:
            return self._loss(model, inputs, *args, **kwargs)
        step, labels = self.state.global_step, inputs.get("labels")
        if step in self.dmt_blank_steps and bool((labels == IGNORED).all()):
            labels = None
        with self.dmt_losses.watching(step, labels):
            return self._loss(model, inputs, *args, **kwargs)

    def _loss(
        self: Any, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Compute the base class's loss; a micro batch that holds only blank rows adds nothing.

        The mean over no tokens is NaN, so the loss of such a micro batch is computed on its
        inputs and multiplied by zero. The step's other micro batches get a larger weight, so that
        the gradient is the mean over the micro batches with real rows.
        """
        step = None
        if self.dmt_plan is not None and model.training:
            step = self.dmt_blank_steps.get(self.state.global_step)
        if step is None:
            return super().compute_loss(  # type: ignore[misc]
                model, inputs, return_outputs=return_outputs, **kwargs
            )
        by_tokens = kwargs.get("num_items_in_batch") is not None
        weight = step.rank_weight if by_tokens else step.micro_batch_weight
        if bool((inputs["labels"] == IGNORED).all()):
            weight = 0.0
            inputs = {**inputs, "labels": inputs["input_ids"]}
            kwargs["num_items_in_batch"] = None
        loss, outputs = super().compute_loss(  # type: ignore[misc]
            model, inputs, return_outputs=True, **kwargs
        )
        return (loss * weight, outputs) if return_outputs else loss * weight


def axolotls_trainer(cfg: Any) -> type[Trainer]:
    """Return the trainer class that Axolotl would take without plugins, such as `trainer_cls`.

    Args:
        cfg: Axolotl's validated configuration.

    Raises:
        DMTError: `trainer_cls` cannot be imported.
    """
    from axolotl.core.builders import HFCausalTrainerBuilder

    # The method reads only the configuration, and there is no public way to ask.
    builder: Any = SimpleNamespace(cfg=DictDefault({**cfg, "plugins": None}))
    try:
        return HFCausalTrainerBuilder._get_trainer_cls(builder)
    except ValueError as error:
        fix = "write the module and the class, as in my_package.my_module.MyTrainer"
        raise DMTError("trainer_cls", str(error), fix) from error


def stage_trainer(base: type[Trainer]) -> type[Trainer]:
    """Return a trainer class that can follow a plan.

    Args:
        base: the class to extend, such as Axolotl's or another plugin's.
    """
    return type(f"Stage{base.__name__}", (StageTrainerMixin, base), {})
