"""The callback that saves, scores and resets where a stage starts or ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import SaveStrategy

from axolotl_dmt.config.args import DMTConfig, EverySteps
from axolotl_dmt.errors import one_clear_error
from axolotl_dmt.evaluation.background import BackgroundScoring
from axolotl_dmt.evaluation.live import held_out_losses, score_live_model
from axolotl_dmt.evaluation.saved import score_in_subprocess
from axolotl_dmt.evaluation.scores import Evaluation, error_text
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.files import read_json
from axolotl_dmt.hooks.calls import call_stage_hook
from axolotl_dmt.hookspecs import StageContext
from axolotl_dmt.plan.training_plan import StagePlan, TrainingPlan
from axolotl_dmt.ranks import Ranks
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.training.disk import DiskUse, disk_use
from axolotl_dmt.training.earlier_run import take_next_plan
from axolotl_dmt.training.freezing import Freezer
from axolotl_dmt.training.log import LOG
from axolotl_dmt.training.optimizer import (
    reset_optimizer,
    set_stage_constants,
    set_weight_decay,
    use_averaged_weights,
)
from axolotl_dmt.training.raw_rows import RawRowCollator
from axolotl_dmt.training.recorder import Recorder
from axolotl_dmt.training.resume import SECONDS, seconds_before


class StageCallback(TrainerCallback, ExportableState):
    """Runs a plan's stages inside one training run.

    The trainer saves `state` inside each checkpoint's own state file, which it writes last. The
    plan's fingerprint is therefore there if, and only if, the checkpoint is complete.
    """

    def __init__(
        self,
        *,
        trainer: Any,
        plan: TrainingPlan,
        config: DMTConfig,
        recorder: Recorder,
        tasks: Tasks | None,
        ranks: Ranks,
        scores_before: bool = False,
    ) -> None:
        """Check the plan's `freeze` patterns against the model.

        Args:
            trainer: the trainer, already following the plan.
            plan: the compiled plan.
            config: the checked `dmt:` block.
            recorder: writes results and the report.
            tasks: the tasks to score on, or None.
            ranks: the processes of the run.
            scores_before: whether to score the model before the first stage.

        Raises:
            DMTError: a `freeze` pattern matches no trainable parameter, or all are frozen.
        """
        self.trainer, self.plan, self.config = trainer, plan, config
        self.recorder, self.tasks, self.ranks = recorder, tasks, ranks
        self.scores_before = scores_before
        self.entered = -1
        self.stage_started: float | None = None
        self.background: BackgroundScoring | None = None
        if tasks is not None and tasks.config.runner == "background" and ranks.index == 0:
            self.background = BackgroundScoring(tasks.config)
        self.freezer: Freezer | None = None
        if any(part.settings.freeze for part in plan.stages):
            self.freezer = Freezer(trainer.model)
            self.freezer.check(plan.stages)
            if trainer.args.gradient_checkpointing:
                # Reentrant checkpointing loses all gradients if its first input requires none.
                trainer.model.enable_input_require_grads()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint saves of this callback."""
        attributes = {"plan_fingerprint": self.plan.fingerprint, SECONDS: self._stage_seconds()}
        return {"args": {}, "attributes": attributes}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Log the disk space that the run needs; score the untrained model if requested."""
        use = self._disk_use(args)
        (LOG.info if use.fits else LOG.warning)("disk: %s", use)
        self.recorder.start(resumed=state.global_step > 0, wait=self.ranks.wait)
        if self.ranks.first_on_host:
            take_next_plan(self.recorder.folder.output_dir)
        if self.tasks and self.scores_before and state.global_step == 0:
            self._score_start(self.tasks, self.recorder.folder)
        self._score_unscored(state.global_step)

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Apply a stage's settings at its first step, and where a run resumes."""
        stage = self.plan.stages[self.plan.stage_at(state.global_step)]
        if stage.index == self.entered:
            return
        self.entered = stage.index
        self.stage_started = time.monotonic() - seconds_before(state, stage)
        if stage.index == 0 or stage.settings.reset_optimizer:
            set_stage_constants(self.trainer, stage)
        if stage.settings.weight_decay is not None:
            set_weight_decay(self.trainer, stage.settings.weight_decay)
        if self.freezer is not None:
            self.freezer.apply(stage.settings.freeze)
        self._call_stage_hook("stage_start", stage, state.global_step)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> TrainerControl:
        """At a stage's last step, save and score the model, then prepare the next stage.

        Where the next stage asks for it, the optimiser state is reset and a fresh adapter started.
        """
        self._join()
        step = state.global_step
        stage = self.plan.stages[self.plan.stage_at(step - 1)]
        if step != stage.end_step:
            if self._due_between(step):
                with self._not_training():
                    use_averaged_weights(self.trainer.optimizer)
                    self._held_out_losses()
                    self.recorder.step_scored(step, self._evaluate(f"step {step}"))
            return control
        self.recorder.stage_trained(stage, seconds=self._stage_seconds())
        self.stage_started = None
        use_averaged_weights(self.trainer.optimizer)
        folder = self._save(stage, Path(args.output_dir))
        losses = self._held_out_losses()
        self._score(stage, folder, losses)
        self._call_stage_hook("stage_end", stage, step, folder)
        if stage.index + 1 < len(self.plan.stages):
            following = self.plan.stages[stage.index + 1]
            if following.settings.new_adapter:
                left = len(self.plan.stages) - following.index
                self.trainer.dmt_adapters.renew(self.plan.seed, left)
            if following.settings.reset_optimizer:
                reset_optimizer(self.trainer)
            # This checkpoint then holds the state that the next stage starts from.
            control.should_save = args.save_strategy != SaveStrategy.NO
        return control

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Wait for stages that are scored in the background, and write the results and report."""
        if self.tasks is not None and self.tasks.config.runner == "background":
            self._join(wait=True)
            self.ranks.wait()
        self.recorder.finish(state.log_history)

    def _stage_seconds(self) -> float:
        """Return how long the current stage has trained; 0 between stages."""
        return 0.0 if self.stage_started is None else time.monotonic() - self.stage_started

    @contextlib.contextmanager
    def _not_training(self) -> Iterator[None]:
        """On exit, leave the time of the block out of the stage's training time."""
        started = time.monotonic()
        yield
        if self.stage_started is not None:
            self.stage_started += time.monotonic() - started

    def _call_stage_hook(
        self, hook: str, stage: StagePlan, step: int, folder: Path | None = None
    ) -> None:
        context = StageContext(
            stage=stage,
            plan=self.plan,
            step=step,
            trainer=self.trainer,
            is_main=self.trainer.is_world_process_zero(),
            output_dir=Path(self.trainer.args.output_dir),
            folder=folder,
            scores=self.recorder.scores(stage) if folder else {},
        )
        with one_clear_error():
            call_stage_hook(hook, context)

    def _disk_use(self, args: TrainingArguments) -> DiskUse:
        model = self.trainer.model
        adapter = hasattr(model, "peft_config")
        parameters = [p for p in model.parameters() if p.requires_grad or not adapter]
        # Without a limit all checkpoints are kept, of which there is at least one for each stage.
        limit = args.save_total_limit or len(self.plan.stages)
        return disk_use(
            Path(args.output_dir),
            saved=sum(_size(p) * p.element_size() for p in parameters),
            trained=sum(_size(p) for p in parameters if p.requires_grad),
            stages=len(self.plan.stages),
            kept=0 if args.save_strategy == SaveStrategy.NO else limit,
        )

    def _save(self, stage: StagePlan, output_dir: Path) -> Path:
        """Save the model in the stage's folder, which never exists in an incomplete state."""
        return self._save_model(RunFolder(output_dir).stage(stage.index, stage.name))

    def _save_model(self, final: Path) -> Path:
        partial = final.with_name(f".{final.name}.partial")
        with _whole_weights(self.trainer.accelerator):
            self.trainer.save_model(str(partial), _internal_call=True)
        self.ranks.wait()
        if self.trainer.args.should_save:
            _name_architecture(partial / "config.json")
            if isinstance(collator := self.trainer.data_collator, RawRowCollator):
                collator.processor.save_pretrained(partial)  # the trainer saves its tokenizer only
            if self.tasks is not None and self.tasks.prompts is not None:
                self.tasks.prompts.save(partial)  # for lm-eval by hand, and other processes
            shutil.rmtree(final, ignore_errors=True)
            os.replace(partial, final)
        self.ranks.wait()
        return final

    def _held_out_losses(self) -> dict[str, float]:
        """Return the losses on held-out rows, without losing the trainer's log of this step."""
        with self._log_still_due():
            return held_out_losses(self.trainer)

    @contextlib.contextmanager
    def _log_still_due(self) -> Iterator[None]:
        """On exit, restore `should_log`, which logging clears.

        The trainer would otherwise not log the loss of the current step.
        """
        should_log = self.trainer.control.should_log
        yield
        self.trainer.control.should_log = should_log

    def _score(self, stage: StagePlan, folder: Path, losses: Mapping[str, float]) -> None:
        """Record the end of a stage, with scores where `dmt.evaluate.when` asks for them."""
        if not self._is_due(stage):
            self.recorder.stage_done(stage, None, losses)
            return
        # Only rank 0 may have access to the results of the run that is resumed.
        if self.ranks.from_first(self.recorder.is_scored(stage)):
            return
        assert self.tasks is not None
        if self.tasks.config.runner == "background":
            self.recorder.stage_done(stage, None, losses)
            if self.background is not None:
                self.background.start(stage.name, folder)
            return
        evaluation = self._evaluate(f"stage {stage.name}", folder)
        self.recorder.stage_done(stage, evaluation, losses)

    def _is_due(self, stage: StagePlan) -> bool:
        """Whether a stage is scored at its end."""
        when = self.config.evaluate.when if self.config.evaluate else "never"
        last = stage.index + 1 == len(self.plan.stages)
        return not (self.tasks is None or when == "never" or (when == "end" and not last))

    def _score_unscored(self, step: int) -> None:
        """Score in the background what a run did not come to before it was interrupted."""
        if self.background is None:
            return
        recorded = {result.name for result in self.recorder.results.stages}
        for stage in self.plan.stages:
            folder = self.recorder.folder.stage(stage.index, stage.name)
            is_open = self._is_due(stage) and not self.recorder.is_scored(stage)
            if stage.end_step <= step and stage.name in recorded and is_open and folder.is_dir():
                self.background.start(stage.name, folder)

    def _join(self, *, wait: bool = False) -> None:
        """Record the stages that were scored in the background since the last call."""
        if self.background is None:
            return
        for name, evaluation in self.background.finished(wait=wait):
            self._log_scores(f"stage {name}", evaluation)
            self.recorder.stage_scored(name, evaluation)

    def _score_start(self, tasks: Tasks, run: RunFolder) -> None:
        """Score the model before its first step; a separate process reads a copy that is saved."""
        losses, folder = self._held_out_losses(), None
        if tasks.config.runner != "in_process":
            folder = self._save_model(run.starting_model)
        self.recorder.baseline(self._evaluate("the starting model", folder), losses)
        if folder is not None and self.trainer.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)
        self.ranks.wait()

    def _evaluate(self, label: str, folder: Path | None = None) -> Evaluation:
        """Score the model and log the scores; `label` names the model in the log."""
        evaluation = self._score_model(folder)
        self._log_scores(label, evaluation)
        return evaluation

    def _log_scores(self, label: str, evaluation: Evaluation) -> None:
        if evaluation.error:
            LOG.error("%s was not scored, training continues: %s", label, evaluation.error)
        if evaluation.scores:
            values = {name: score.value for name, score in evaluation.scores.items()}
            LOG.info("%s scored: %s", label, ", ".join(f"{n} {v:.3f}" for n, v in values.items()))
            if self.background is None or self.trainer.args.world_size == 1:  # all ranks must log
                with self._log_still_due():
                    self.trainer.log({f"dmt/{name}": value for name, value in values.items()})

    def _score_model(self, folder: Path | None) -> Evaluation:
        """Score the live model, or with another runner than `in_process` that in `folder`."""
        assert self.tasks is not None
        if folder is None or self.tasks.config.runner == "in_process":
            return score_live_model(self.trainer, self.tasks, self.ranks)
        evaluation = None
        if self.ranks.index == 0:
            try:
                evaluation = score_in_subprocess(folder, self.tasks.config)
            except OSError as error:
                evaluation = Evaluation(error=error_text(error))
        items = evaluation.items if evaluation else ()
        shared: Evaluation = self.ranks.from_first(evaluation and replace(evaluation, items=()))
        return replace(shared, items=items)

    def _due_between(self, step: int) -> bool:
        """Whether `when: {every_steps: n}` asks for an evaluation after this step."""
        when = self.config.evaluate.when if self.config.evaluate else None
        return (
            self.tasks is not None and isinstance(when, EverySteps) and step % when.every_steps == 0
        )


def _size(parameter: Any) -> int:
    """Return the number of values; under ZeRO-3 the tensor is empty and `ds_numel` holds it."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


@contextlib.contextmanager
def _whole_weights(accelerator: Any) -> Iterator[None]:
    """On entry, let FSDP save full weights; on exit, restore the type of its checkpoints."""
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    if fsdp is None:
        yield
        return
    checkpoint_type = fsdp.state_dict_type
    fsdp.set_state_dict_type("FULL_STATE_DICT")
    try:
        yield
    finally:
        fsdp.set_state_dict_type(checkpoint_type)


def _name_architecture(file: Path) -> None:
    """Restore the model's class name in `config.json`: FSDP changes it, and vLLM looks it up."""
    if not file.is_file():  # an adapter
        return
    config = read_json(file)
    names = config.get("architectures") or []
    if any(name.startswith("FSDP") for name in names):
        config["architectures"] = [name.removeprefix("FSDP") for name in names]
        file.write_text(json.dumps(config, indent=2), encoding="utf-8")
