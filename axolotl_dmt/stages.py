"""The callback that acts where a stage starts or ends: save, score, reset, report."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from axolotl.utils.logging import get_logger
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import SaveStrategy

from axolotl_dmt.args import DMTConfig, EverySteps
from axolotl_dmt.disk import DiskUse, disk_use
from axolotl_dmt.earlier_run import take_next_plan
from axolotl_dmt.errors import one_clear_error
from axolotl_dmt.evaluation import held_out_losses, score_live_model
from axolotl_dmt.freezing import Freezer
from axolotl_dmt.hooks import tell_stage
from axolotl_dmt.hookspecs import StageContext
from axolotl_dmt.optimizers import reset_optimizer
from axolotl_dmt.ranks import Ranks
from axolotl_dmt.record import Recorder
from axolotl_dmt.run_folder import stage_folder
from axolotl_dmt.saved_stage import score_in_subprocess
from axolotl_dmt.scored import Scored, described
from axolotl_dmt.tasks import Tasks
from axolotl_dmt.training import set_weight_decay
from axolotl_dmt.training_plan import StagePlan, TrainingPlan

LOG = get_logger("axolotl_dmt")


class StageCallback(TrainerCallback, ExportableState):
    """Runs a plan's stages inside one training run.

    The trainer keeps `state` inside each checkpoint's own state file, so that the plan's
    fingerprint is there when, and only when, the checkpoint is whole.
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
    ) -> None:
        """Keeps what the stages need.

        Args:
            trainer: the trainer, already following the plan.
            plan: the compiled plan.
            config: the checked `dmt:` block.
            recorder: writes results and the report.
            tasks: what to score on, or None.
            ranks: this process among the run's.
        """
        self.trainer, self.plan, self.config = trainer, plan, config
        self.recorder, self.tasks, self.ranks = recorder, tasks, ranks
        self.entered, self.stage_started = -1, time.monotonic()
        self.freezer: Freezer | None = None
        if any(part.settings.freeze for part in plan.stages):
            self.freezer = Freezer(trainer.model)
            self.freezer.check(plan.stages)
            if trainer.args.gradient_checkpointing:
                # reentrant checkpointing loses all gradients where its first input has none
                trainer.model.enable_input_require_grads()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback."""
        return {"args": {}, "attributes": {"plan_fingerprint": self.plan.fingerprint}}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Say how much disk the run takes; score the untouched model where asked for."""
        use = self._disk_use(args)
        (LOG.info if use.fits else LOG.warning)("disk: %s", use)
        self.recorder.start(resumed=state.global_step > 0, wait=self.ranks.wait)
        if self.ranks.first_on_host:
            take_next_plan(self.recorder.folder)
        evaluate = self.config.evaluate
        if self.tasks and evaluate and evaluate.before and state.global_step == 0:
            self.recorder.baseline(self._evaluate("the starting model"))

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Announce a stage and apply its settings at its first step, or where a run resumes."""
        stage = self.plan.stages[self.plan.stage_at(state.global_step)]
        if stage.index == self.entered:
            return
        self.entered, self.stage_started = stage.index, time.monotonic()
        LOG.info(
            "stage %d/%d %s: steps %d to %d, %s",
            stage.index + 1,
            len(self.plan.stages),
            stage.name,
            stage.start_step + 1,
            stage.end_step,
            ", ".join(f"{name} {draw.rows} rows" for name, draw in stage.domains.items()),
        )
        if stage.settings.weight_decay is not None:
            set_weight_decay(self.trainer, stage.settings.weight_decay)
        if self.freezer is not None:
            self.freezer.apply(stage.settings.freeze)
        self._tell("stage_start", stage, state.global_step)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> TrainerControl:
        """At a stage's last step: save, score, and forget the optimiser's state."""
        step = state.global_step
        stage = self.plan.stages[self.plan.stage_at(step - 1)]
        if step != stage.end_step:
            if self._due_between(step):
                self._held_out_losses()
                self._evaluate(f"step {step}")
            return control
        self.recorder.stage_trained(stage, seconds=time.monotonic() - self.stage_started)
        folder = self._save(stage, Path(args.output_dir))
        losses = self._held_out_losses()
        self._score(stage, folder, losses)
        self._tell("stage_end", stage, step, folder)
        if stage.index + 1 < len(self.plan.stages):
            following = self.plan.stages[stage.index + 1]
            if following.settings.new_adapter:
                left = len(self.plan.stages) - following.index
                self.trainer.dmt_adapters.renew(self.plan.seed, left)
            if following.settings.reset_optimizer:
                reset_optimizer(self.trainer.optimizer)
            # The checkpoint written now holds the state that the next stage starts from.
            control.should_save = args.save_strategy != SaveStrategy.NO
        return control

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Write the report and print the table."""
        self.recorder.finish(state.log_history)

    def _tell(self, hook: str, stage: StagePlan, step: int, folder: Path | None = None) -> None:
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
            tell_stage(hook, context)

    def _disk_use(self, args: TrainingArguments) -> DiskUse:
        model = self.trainer.model
        adapter = hasattr(model, "peft_config")
        parameters = [p for p in model.parameters() if p.requires_grad or not adapter]
        # No limit keeps every checkpoint; the boundaries' are the ones that are sure to come.
        limit = args.save_total_limit or len(self.plan.stages)
        return disk_use(
            Path(args.output_dir),
            saved=sum(_size(p) * p.element_size() for p in parameters),
            trained=sum(_size(p) for p in parameters if p.requires_grad),
            stages=len(self.plan.stages),
            kept=0 if args.save_strategy == SaveStrategy.NO else limit,
        )

    def _save(self, stage: StagePlan, output_dir: Path) -> Path:
        """Save the model under the stage's name; a folder of that name is always whole."""
        final = stage_folder(output_dir, stage.index, stage.name)
        partial = final.with_name(f".{final.name}.partial")
        with _whole_weights(self.trainer.accelerator):
            self.trainer.save_model(str(partial), _internal_call=True)
        self.ranks.wait()
        if self.trainer.args.should_save:
            _name_architecture(partial / "config.json")
            shutil.rmtree(final, ignore_errors=True)
            os.replace(partial, final)
        self.ranks.wait()
        return final

    def _held_out_losses(self) -> dict[str, float]:
        # Logging clears the wish to log, and the loss of this very step would be lost.
        wanted = self.trainer.control.should_log
        losses = held_out_losses(self.trainer)
        self.trainer.control.should_log = wanted
        return losses

    def _score(self, stage: StagePlan, folder: Path, losses: Mapping[str, float]) -> None:
        when = self.config.evaluate.when if self.config.evaluate else "never"
        last = stage.index + 1 == len(self.plan.stages)
        if self.tasks is None or when == "never" or (when == "end" and not last):
            self.recorder.stage_done(stage, None, losses)
            return
        # An earlier run's results may lie where only rank 0 sees them.
        if self.ranks.from_first(self.recorder.is_scored(stage)):
            return
        scored = self._evaluate(f"stage {stage.name}", folder)
        self.recorder.stage_done(stage, scored, losses)

    def _evaluate(self, what: str, folder: Path | None = None) -> Scored:
        scored = self._scored(folder)
        if scored.error:
            LOG.error("%s was not scored, training goes on: %s", what, scored.error)
        if scored.scores:
            values = {name: score.value for name, score in scored.scores.items()}
            LOG.info("%s scored: %s", what, ", ".join(f"{n} {v:.3f}" for n, v in values.items()))
            wanted = self.trainer.control.should_log
            self.trainer.log({f"dmt/{name}": value for name, value in values.items()})
            self.trainer.control.should_log = wanted
        return scored

    def _scored(self, folder: Path | None) -> Scored:
        assert self.tasks is not None
        if folder is None or self.tasks.config.runner == "in_process":
            return score_live_model(self.trainer, self.tasks, self.ranks)
        scored = None
        if self.ranks.index == 0:
            try:
                scored = score_in_subprocess(folder, self.tasks.config)
            except OSError as error:
                scored = Scored(error=described(error))
        result: Scored = self.ranks.from_first(scored)
        return result

    def _due_between(self, step: int) -> bool:
        when = self.config.evaluate.when if self.config.evaluate else None
        return (
            self.tasks is not None and isinstance(when, EverySteps) and step % when.every_steps == 0
        )


def _size(parameter: Any) -> int:
    """Number of values; ZeRO-3 leaves the parameter itself empty and keeps the number aside."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


@contextlib.contextmanager
def _whole_weights(accelerator: Any) -> Iterator[None]:
    """FSDP saves whole weights meanwhile, whatever its checkpoints are made of."""
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    if fsdp is None:
        yield
        return
    kept = fsdp.state_dict_type
    fsdp.set_state_dict_type("FULL_STATE_DICT")
    try:
        yield
    finally:
        fsdp.set_state_dict_type(kept)


def _name_architecture(file: Path) -> None:
    """FSDP renames the class of the model, and vLLM looks the class up by its name."""
    if not file.is_file():  # an adapter
        return
    config = json.loads(file.read_text(encoding="utf-8"))
    names = config.get("architectures") or []
    if any(name.startswith("FSDP") for name in names):
        config["architectures"] = [name.removeprefix("FSDP") for name in names]
        file.write_text(json.dumps(config, indent=2), encoding="utf-8")
