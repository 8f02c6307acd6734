"""The Axolotl plugin: passes Axolotl's calls on, and holds the state of a run between them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from axolotl.common.datasets import TrainDatasetMeta
from axolotl.integrations.base import BasePlugin, PluginManager
from pydantic import ValidationError

from axolotl_dmt.checks.yaml_check import refused_by_axolotl
from axolotl_dmt.config.args import DEFAULT_SEED
from axolotl_dmt.config.pydantic_errors import explain_axolotl
from axolotl_dmt.errors import DMTErrors, one_clear_error
from axolotl_dmt.training.log import mask_logged_secrets, quieten_terminal
from axolotl_dmt.training.run import Run
from axolotl_dmt.training.telemetry import limit_wait_at_exit

if TYPE_CHECKING:
    from axolotl_dmt.training.prepare import PreparedRun
    from axolotl_dmt.training.recorder import Recorder


class DMTPlugin(BasePlugin):
    """Dual-stage Mixed Fine-tuning; the plugin does nothing if the YAML has no `dmt:` block.

    Attributes:
        run: the checked run; None before `register` and without a `dmt:` block.
        prepared: the run with its rows and its plan; None before `load_datasets`.
        recorder: the writer of the run's results; None before `add_callbacks_post_trainer`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.run: Run | None = None
        self.prepared: PreparedRun | None = None
        self.recorder: Recorder | None = None
        self._composes_scheduler = False

    def register(self, cfg: dict[str, Any]) -> None:
        """Check the raw YAML and keep `datasets[*].domain`, which Axolotl drops later.

        Raises:
            SystemExit: the YAML has mistakes, which are then printed.
        """
        self.run = self.prepared = self.recorder = None
        if "dmt" not in cfg:
            return
        mask_logged_secrets()
        quieten_terminal()
        limit_wait_at_exit()
        with one_clear_error():
            self.run = Run.from_raw(cfg)

    def on_config_validation_error(self, cfg: Any) -> None:
        """Print each mistake that Axolotl's own validation finds in one line.

        Axolotl calls this while it handles the error, and would print a traceback.

        Raises:
            SystemExit: the error is one of validation.
        """
        error = sys.exc_info()[1]
        if self.run is None:
            return
        with one_clear_error():
            if isinstance(error, ValidationError):
                raise DMTErrors(explain_axolotl(error, cfg.to_dict()))
            # One of Axolotl's checks failed on a value of an unexpected type.
            if problems := list(refused_by_axolotl(cfg.to_dict())):
                raise DMTErrors(problems)

    def get_input_args(self) -> str:
        """Return the path of the pydantic model that holds the `dmt` key."""
        return "axolotl_dmt.config.args.DMTArgs"

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> TrainDatasetMeta | None:
        """Tokenise the rows, compile the plan and return the pool of rows."""
        if self.run is None:
            return None
        with one_clear_error():
            if preprocess:
                return TrainDatasetMeta(train_dataset=self.run.load_pool(cfg, search=True).dataset)
            from axolotl_dmt.training.prepare import prepare

            self.prepared = prepare(self.run, cfg)
        return TrainDatasetMeta(
            train_dataset=self.prepared.pool.dataset,
            eval_dataset=dict(self.prepared.pool.held_out) or None,
            total_num_steps=self.prepared.plan.total_steps,
        )

    def pre_model_load(self, cfg: Any) -> None:
        """Seed the numbers drawn while the model loads, such as the initial weights of a LoRA."""
        if self.prepared is not None:
            from transformers import set_seed

            set_seed(DEFAULT_SEED if cfg.seed is None else cfg.seed)

    def get_trainer_cls(self, cfg: Any) -> Any:
        """Return a trainer class that follows a plan.

        It extends the class of another plugin, or else the one that Axolotl would take.
        """
        if self.run is None:
            return None
        from axolotl_dmt.training.trainer import axolotls_trainer, stage_trainer

        plugins = list(PluginManager.get_instance().plugins.values())
        answers = (plugin.get_trainer_cls(cfg) for plugin in plugins if plugin is not self)
        with one_clear_error():
            base = next((answer for answer in answers if answer), None) or axolotls_trainer(cfg)
        return stage_trainer(base)

    def create_lr_scheduler(
        self, cfg: Any, trainer: Any, optimizer: Any, num_training_steps: int
    ) -> Any:
        """Return one scheduler that runs through the learning-rate curves of the stages in turn."""
        plan = getattr(trainer, "dmt_plan", None)
        if plan is None or self._composes_scheduler:
            return None
        from axolotl_dmt.training.learning_rate import composed_scheduler

        # The trainer creates the curve of each stage, and calls this hook again while it does so.
        self._composes_scheduler = True
        try:
            with one_clear_error():
                return composed_scheduler(plan, trainer, optimizer)
        finally:
            self._composes_scheduler = False

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        """Make the trainer follow the plan, and return the callbacks for the stage boundaries."""
        if self.prepared is None:
            return []
        from axolotl_dmt.training.prepare import follow_plan

        with one_clear_error():
            callbacks, self.recorder = follow_plan(self.prepared, cfg, trainer)
        return list(callbacks)

    def post_train_unload(self, cfg: Any) -> None:
        """Print the table of results below everything that Axolotl prints, and check the gate.

        Raises:
            SystemExit: the run does not pass `dmt.gate`, or the floors of `dmt.solved`; everything
                has been saved by then.
        """
        if self.recorder is None:
            return
        self.recorder.show()
        config = self.run.schedule.config if self.run else None
        if config is None:
            return
        # With start_stage, the stages that a floor compares with belong to another run.
        solved = None if config.start_stage else config.solved
        if (config.gate or solved) and (status := self.recorder.pass_gate(config.gate, solved)):
            raise SystemExit(status)
