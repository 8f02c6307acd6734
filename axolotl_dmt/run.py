"""One training run under a `dmt:` block, from the raw YAML to the trainer's callback."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from axolotl_dmt.args import AUTO, DEFAULT_K, DEFAULT_SEED, DMTConfig
from axolotl_dmt.chosen_k import ChosenK, choice_of, trial_stages
from axolotl_dmt.data_files import may_be_gone, missing_files, wrong_columns
from axolotl_dmt.earlier_run import NEXT_PLAN
from axolotl_dmt.environment import check_axolotl, hardware, installed_versions
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.hooks import (
    registered_amounts,
    registered_orders,
    registered_selectors,
)
from axolotl_dmt.inputs import Packing, Stage
from axolotl_dmt.interruption import interruption_message
from axolotl_dmt.kept_config import raw_config
from axolotl_dmt.plan import compile_plan
from axolotl_dmt.raw_checks import (
    ANY_DEFAULTS,
    check_base_model,
    check_output_dir,
    check_start_stage,
    check_val_rows,
    load_named_hooks,
    read_what_can_be,
    refuse_optimizer,
    refuse_unsupported,
    stage_defaults,
    take_domains,
    within,
)
from axolotl_dmt.recorder import Recorder
from axolotl_dmt.replay import check_losses, domains_by_loss, losses_path
from axolotl_dmt.resolve import resolve_stages
from axolotl_dmt.row_losses import RowLosses
from axolotl_dmt.sharding import check_sharding
from axolotl_dmt.stage_checks import check_stages, settle
from axolotl_dmt.tasks import Tasks, check_evaluate
from axolotl_dmt.training_plan import TrainingPlan


class Run:
    """The checked block, and what is made from it in the order Axolotl asks for it."""

    def __init__(self, config: DMTConfig, dataset_domains: tuple[str, ...]) -> None:
        self.config = config
        self.dataset_domains = dataset_domains
        self.plan: TrainingPlan | None = None
        self.pool: Any = None
        self.ranks: Any = None
        self.tasks: Tasks | None = None
        self.recorder: Recorder | None = None
        self.composing = False
        self.raw: dict[str, Any] = {}
        self.reported: dict[str, Any] = {}
        self.choice: tuple[ChosenK, Path] | None = None

    @classmethod
    def from_raw(cls, cfg: dict[str, Any]) -> Run:
        """Check everything that needs only the YAML; strips `domain` from the datasets.

        Args:
            cfg: the raw configuration; changed in place, since Axolotl validates it next.

        Raises:
            DMTError: with every mistake found.
        """
        check_axolotl()
        run, problems = cls.checked(cfg)
        try:
            check_output_dir(cfg)
        except DMTError as error:
            problems.append(error)
        if run is None or problems:
            raise DMTErrors(problems)
        if run.config.evaluate and run.config.evaluates:
            run.tasks = Tasks(run.config.evaluate)
        return run

    @classmethod
    def checked(
        cls, cfg: dict[str, Any], *, files: bool = True
    ) -> tuple[Run | None, list[DMTError]]:
        """Check everything that needs only the YAML, in a second.

        Args:
            cfg: the raw configuration; `domain` is taken off its datasets.
            files: whether to look for the model and the files that it names.

        Returns:
            The run, or None where there is a mistake, and every mistake found.
        """
        problems: list[DMTError] = []

        def collect(check: Any, *args: Any) -> Any:
            try:
                return check(*args)
            except DMTErrors as error:
                problems.extend(error.errors)
            except DMTError as error:
                problems.append(error)
            return None

        collect(load_named_hooks, cfg["dmt"])
        config, wrong = read_what_can_be(cfg["dmt"])
        problems += wrong
        collect(refuse_unsupported, cfg)
        if files:
            collect(check_base_model, cfg)
        choice = None
        if config and config.k == AUTO:
            choice = collect(choice_of, cfg, config) if files else None
            config = config.model_copy(update={"k": choice[0].k if choice else DEFAULT_K})
        given = copy.deepcopy(dict(cfg))
        domains = collect(take_domains, cfg)
        if config and config.evaluate and config.evaluates:
            collect(partial(check_evaluate, config.evaluate, files=files))
        if config and domains:
            names = tuple(dict.fromkeys(domains))
            defaults = collect(stage_defaults, cfg) or ANY_DEFAULTS
            stages = collect(resolve_stages, config, names, defaults)
            collect(check_start_stage, config, stages or ())
            collect(check_stages, cfg, stages or ())
            collect(partial(check_losses, config, stages or (), files=files))
            collect(refuse_optimizer, cfg, stages or ())
            resets = any(stage.reset_optimizer for stage in (stages or ())[1:])
            collect(partial(check_sharding, cfg, config, resets=resets, files=files))
            collect(check_val_rows, config, names)
        if files:
            problems += wrong_columns(cfg)
            if not may_be_gone(cfg):
                problems += missing_files(cfg)
        if problems or config is None:
            keys = [problem.key for problem in wrong]
            found = [p for p in problems if p in wrong or not any(within(p.key, k) for k in keys)]
            return None, found
        settle(cfg, stages)
        cfg["dmt"]["dataset_domains"] = list(domains)
        run = cls(config, tuple(domains))
        run.raw, run.choice = raw_config(given), choice
        return run, []

    def load_pool(self, cfg: Any) -> Any:
        """Tokenise every dataset, or read it from Axolotl's cache."""
        from axolotl_dmt.data import load_pool

        stages = self.stages(cfg)
        pool = load_pool(
            cfg,
            self.dataset_domains,
            columns=score_columns(stages),
            val_rows=self._val_rows(),
            remasked=masked_otherwise(stages),
            seed=self._seed(cfg),
        )
        if by_loss := domains_by_loss(stages):
            path = losses_path(self.config)
            losses = RowLosses.load(path)
            pool = pool.with_losses(losses, by_loss, path)
            self.reported["row_losses"] = f"{path} of {losses.model}, digest {losses.digest}"
        return pool

    def _val_rows(self) -> dict[str, int]:
        names = dict.fromkeys(self.dataset_domains)
        asked = self.config.val_rows or 0
        if isinstance(asked, int):
            return dict.fromkeys(names, asked)
        return asked

    def prepare(self, cfg: Any) -> TrainingPlan:
        """Load the pool and compile the plan; Axolotl then trains one epoch of it.

        The first process of each host compiles and checks the plan and writes it to
        `OUTPUT_DIR/dmt/plan.next`, its place until training starts; the others share its
        memory-mapped rows.

        Raises:
            DMTError: the run would go on from a checkpoint of another plan.
        """
        from axolotl_dmt.ranks import Ranks

        self.ranks = Ranks()
        self.pool = self.load_pool(cfg)
        folder = Path(cfg.output_dir) / "dmt" / NEXT_PLAN

        def write_plan() -> None:
            plan = self.compile(cfg, self.pool.domains)
            if self.choice is not None:
                print(f"axolotl-dmt: {self.choice[0].summary()}", file=sys.stderr)
            self._check_resume(cfg, plan)
            plan.save(folder)

        self.ranks.once_a_host(write_plan)
        self.plan = TrainingPlan.load(folder)
        # All epochs of all stages are in the plan.
        cfg.num_epochs = 1
        if self.config.val_rows and cfg.sample_packing and cfg.eval_sample_packing is None:
            # a domain's few held-out rows would not fill one batch of packs
            cfg.eval_sample_packing = False
        return self.plan

    def _check_resume(self, cfg: Any, plan: TrainingPlan) -> None:
        from axolotl_dmt import resume

        output_dir = Path(cfg.output_dir)
        checkpoint = cfg.resume_from_checkpoint
        if checkpoint is None and cfg.auto_resume_from_checkpoints:
            resume.set_aside_incomplete(output_dir)
            checkpoint = next(reversed(resume.checkpoints(output_dir)), None)
        if checkpoint is not None:
            replan = self.config.on_plan_change == "replan"
            resume.check_plan(Path(checkpoint), plan, replan=replan)

    def compile(self, cfg: Any, domains: Any) -> TrainingPlan:
        """The plan for these domains under this configuration.

        Raises:
            DMTError: k was chosen for another plan.
        """
        stages = self.stages(cfg)
        if self.choice is not None:
            choice, path = self.choice
            trial = self._compiled(cfg, domains, trial_stages(stages, choice.max_steps))
            choice.check(
                stage_1=self._compiled(cfg, domains, stages[:1]).fingerprint,
                trial=trial.starting_at(stages[1].name).fingerprint,
                path=path,
            )
            self.reported["k"] = choice.summary()
        plan = self._compiled(cfg, domains, stages)
        start = self.config.start_stage
        return plan.starting_at(start) if start else plan

    def _compiled(self, cfg: Any, domains: Any, stages: Sequence[Stage]) -> TrainingPlan:
        return compile_plan(
            stages=stages,
            domains=domains,
            seed=self._seed(cfg),
            global_batch=cfg.batch_size,
            packing=_packing(cfg) if cfg.sample_packing else None,
            selectors=registered_selectors(),
            orders=registered_orders(),
            amounts=registered_amounts(),
        )

    def stages(self, cfg: Any) -> tuple[Stage, ...]:
        """The resolved stages."""
        names = tuple(dict.fromkeys(self.dataset_domains))
        return resolve_stages(self.config, names, stage_defaults(cfg))

    def _seed(self, cfg: Any) -> int:
        if self.config.seed is not None:
            return self.config.seed
        return int(cfg.seed) if cfg.seed is not None else DEFAULT_SEED

    def compose_scheduler(self, trainer: Any, optimizer: Any) -> Any:
        """The learning rate of all stages as one scheduler."""
        from axolotl_dmt.learning_rate import composed_scheduler

        assert self.plan is not None
        # Building a stage's curve asks the trainer for a scheduler, which asks the plugins.
        self.composing = True
        try:
            return composed_scheduler(self.plan, trainer, optimizer)
        finally:
            self.composing = False

    def _adapters(self, cfg: Any, trainer: Any) -> Any:
        from axolotl_dmt.adapters import stacked_adapters

        assert self.plan is not None
        left_out = self.stages(cfg)[: -len(self.plan.stages)] if cfg.lora_model_dir else ()
        return stacked_adapters(
            trainer.model,
            self.plan,
            loaded=bool(cfg.lora_model_dir),
            earlier=sum(bool(stage.new_adapter) for stage in left_out[1:]),
            rank=cfg.lora_r,
        )

    def callbacks(self, cfg: Any, trainer: Any, output_dir: Path) -> list[Any]:
        """Make the trainer follow the plan; returns the callback that acts at stage ends."""
        from axolotl_dmt.callback import StageCallback
        from axolotl_dmt.progress import StageProgress
        from axolotl_dmt.trainer import StageTrainerMixin

        if not isinstance(trainer, StageTrainerMixin):
            raise DMTError(
                "plugins",
                f"another plugin chose the trainer {type(trainer).__name__}",
                "list axolotl_dmt.DMTPlugin first",
            )
        assert self.plan is not None
        trainer.follow_plan(self.plan, self.pool.layout, self._adapters(cfg, trainer))
        self.recorder = Recorder(
            output_dir / "dmt",
            self.plan,
            writes=trainer.is_world_process_zero(),  # type: ignore[attr-defined]
            versions=installed_versions(),
            settings=_reported_settings(cfg) | self.reported,
            evaluate=self.config.evaluate,
            config=self.raw,
            domains=self.pool.domains,
            hooks=self.config.hooks,
            hardware=hardware(trainer.args.world_size),  # type: ignore[attr-defined]
        )
        trainer.dmt_recorder = self.recorder
        trainer.dmt_interruption_message = partial(interruption_message, trainer, self.plan)
        return [
            StageProgress(trainer, self.plan),
            StageCallback(
                trainer=trainer,
                plan=self.plan,
                config=self.config,
                recorder=self.recorder,
                tasks=self.tasks,
                ranks=self.ranks,
            ),
        ]


def score_columns(stages: Sequence[Stage]) -> dict[str, tuple[str, ...]]:
    """The columns that `select: score:<column>` names, by the domain that they are needed of."""
    found: dict[str, dict[str, None]] = {}
    for stage in stages:
        for domain in stage.mix:
            select = stage.select
            method = select if isinstance(select, str) else select.get(domain, "random")
            if method.startswith("score:"):
                found.setdefault(domain, {})[method.removeprefix("score:")] = None
    return {domain: tuple(columns) for domain, columns in found.items()}


def masked_otherwise(stages: Sequence[Stage]) -> dict[str, str]:
    """The domains of which a stage wants the inputs masked otherwise, and that stage's name."""
    found: dict[str, str] = {}
    for stage in stages:
        if stage.train_on_inputs is not None:
            taken = (name for name, amount in stage.mix.items() if amount.value)
            found = {**dict.fromkeys(taken, stage.name), **found}
    return found


def _packing(cfg: Any) -> Packing:
    from axolotl_dmt.packing import packing

    return packing(cfg)


def _reported_settings(cfg: Any) -> dict[str, Any]:
    names = (
        "base_model",
        "adapter",
        "sequence_len",
        "sample_packing",
        "micro_batch_size",
        "gradient_accumulation_steps",
        "batch_size",
        "optimizer",
        "learning_rate",
        "lr_scheduler",
        "weight_decay",
        "bf16",
        "seed",
    )
    return {name: getattr(cfg[name], "value", cfg[name]) for name in names if cfg[name] is not None}
