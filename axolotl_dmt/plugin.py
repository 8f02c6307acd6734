"""The Axolotl plugin: translates Axolotl's calls into ours. No logic of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axolotl.common.datasets import TrainDatasetMeta
from axolotl.integrations.base import BasePlugin, PluginManager

from axolotl_dmt.args import DEFAULT_SEED
from axolotl_dmt.errors import one_clear_error
from axolotl_dmt.run import Run


class DMTPlugin(BasePlugin):
    """Dual-stage Mixed Fine-tuning; without a `dmt:` block it does nothing at all."""

    def __init__(self) -> None:
        super().__init__()
        self.run: Run | None = None

    def register(self, cfg: dict[str, Any]) -> None:
        """Check the raw YAML and keep `datasets[*].domain`, which Axolotl drops later."""
        self.run = None
        if "dmt" not in cfg:
            return
        with one_clear_error():
            self.run = Run.from_raw(cfg)

    def get_input_args(self) -> str:
        """The pydantic model of the `dmt:` key."""
        return "axolotl_dmt.args.DMTArgs"

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> TrainDatasetMeta | None:
        """Tokenise, compile the plan and hand over the pool of rows."""
        if self.run is None:
            return None
        with one_clear_error():
            if preprocess:
                return TrainDatasetMeta(train_dataset=self.run.load_pool(cfg).dataset)
            plan = self.run.prepare(cfg)
        return TrainDatasetMeta(
            train_dataset=self.run.pool.dataset,
            eval_dataset=dict(self.run.pool.held_out) or None,
            total_num_steps=plan.total_steps,
        )

    def pre_model_load(self, cfg: Any) -> None:
        """Seed what is drawn while the model loads, such as a LoRA's first weights."""
        if self.run is not None and self.run.plan is not None:
            from transformers import set_seed

            set_seed(DEFAULT_SEED if cfg.seed is None else cfg.seed)

    def get_trainer_cls(self, cfg: Any) -> Any:
        """Axolotl's trainer, or the one another plugin asks for, able to follow a plan."""
        if self.run is None:
            return None
        from axolotl_dmt.trainer import stage_trainer

        others = list(PluginManager.get_instance().plugins.values())
        answers = (plugin.get_trainer_cls(cfg) for plugin in others if plugin is not self)
        return stage_trainer(next((answer for answer in answers if answer), None))

    def create_lr_scheduler(
        self, cfg: Any, trainer: Any, optimizer: Any, num_training_steps: int
    ) -> Any:
        """The stages' curves, one after another."""
        plan = getattr(trainer, "dmt_plan", None)
        if plan is None or self.run is None or self.run.composing:
            return None
        with one_clear_error():
            return self.run.compose_scheduler(trainer, optimizer)

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        """Make the trainer follow the plan, and act at each stage's start and end."""
        if self.run is None or self.run.plan is None:
            return []
        with one_clear_error():
            return self.run.callbacks(cfg, trainer, Path(cfg.output_dir))

    def post_train_unload(self, cfg: Any) -> None:
        """Print the table last, below all that Axolotl prints."""
        if self.run is not None and self.run.recorder is not None:
            self.run.recorder.show()
