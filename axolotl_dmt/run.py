"""One training run under a `dmt:` block, from the raw YAML to the trainer's callback."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt import versions
from axolotl_dmt.args import DEFAULT_SEED, DMTConfig, read_config
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.hooks import (
    load_hooks,
    registered_amounts,
    registered_orders,
    registered_selectors,
)
from axolotl_dmt.inputs import Packing, Stage
from axolotl_dmt.kept_config import raw_config
from axolotl_dmt.plan import compile_plan
from axolotl_dmt.record import Recorder
from axolotl_dmt.resolve import StageDefaults, resolve_stages
from axolotl_dmt.stage_checks import check_stages
from axolotl_dmt.tasks import Tasks
from axolotl_dmt.training_plan import TrainingPlan

UNSUPPORTED = {
    "streaming": "a plan needs all rows before training starts; remove it",
    "pretraining_dataset": "dmt mixes instruction data; list it under datasets",
    "rl": "dmt schedules supervised fine-tuning; remove rl, or run it as a second YAML",
    "reward_model": "dmt schedules supervised fine-tuning",
    "process_reward_model": "dmt schedules supervised fine-tuning",
    "max_steps": "the plan gives the steps; set max_steps on a stage (dmt.stages, dmt.overrides)",
    "group_by_length": "write dmt.order: length_grouped",
    "curriculum_sampling": "the plan orders the rows already; remove it",
    "skip_prepare_dataset": "a plan needs tokenised rows; remove it",
    "auto_find_batch_size": "the plan is made for one batch size; set micro_batch_size",
    "relora": "it resets weights on a schedule of its own; remove it",
    "jagged_restart_steps": "the plan composes the learning rate; remove it",
    "lisa_step_interval": "it freezes layers on a schedule of its own; write freeze on a stage",
    "early_stopping_patience": "it would end the run inside a stage, and later stages would not "
    "run; set epochs or max_steps on the stage",
    "load_best_model_at_end": "the best checkpoint may lie in an earlier stage; remove it, every "
    "stage's end is kept under stages/",
}
"""Axolotl keys that cannot stand beside `dmt:`, and what to do instead."""


class Run:
    """The checked block, and what is made from it in the order Axolotl asks for it."""

    def __init__(self, config: DMTConfig, dataset_domains: tuple[str, ...]) -> None:
        self.config = config
        self.dataset_domains = dataset_domains
        self.plan: TrainingPlan | None = None
        self.pool: Any = None
        self.tasks: Tasks | None = None
        self.recorder: Recorder | None = None
        self.composing = False
        self.raw: dict[str, Any] = {}

    @classmethod
    def from_raw(cls, cfg: dict[str, Any]) -> Run:
        """Check everything that needs only the YAML; strips `domain` from the datasets.

        Args:
            cfg: the raw configuration; changed in place, since Axolotl validates it next.

        Raises:
            DMTError: with every mistake found.
        """
        versions.check_axolotl()
        problems: list[DMTError] = []

        def collect(check: Any, *args: Any) -> Any:
            try:
                return check(*args)
            except DMTErrors as error:
                problems.extend(error.errors)
            except DMTError as error:
                problems.append(error)
            return None

        collect(_load_hooks, cfg["dmt"])
        config = collect(read_config, cfg["dmt"])
        collect(_refuse_unsupported, cfg)
        collect(_check_output_dir, cfg)
        given = copy.deepcopy(dict(cfg))
        domains = collect(_take_domains, cfg)
        if config and domains:
            names = tuple(dict.fromkeys(domains))
            stages = collect(lambda: resolve_stages(config, names, _defaults(cfg)))
            collect(_check_start_stage, config, stages or ())
            collect(check_stages, cfg, stages or ())
            collect(_refuse_optimizer, cfg, config)
        if problems:
            raise DMTErrors(problems)
        cfg["dmt"]["dataset_domains"] = list(domains)
        run = cls(config, tuple(domains))
        run.raw = raw_config(given)
        run._check_evaluation()
        run._val_rows()
        return run

    def _check_evaluation(self) -> None:
        if self.config.evaluate is None or self.config.evaluate.when == "never":
            return
        self.tasks = Tasks(self.config.evaluate)

    def load_pool(self, cfg: Any) -> Any:
        """Tokenise every dataset, or read it from Axolotl's cache."""
        from axolotl_dmt.data import load_pool

        return load_pool(
            cfg,
            self.dataset_domains,
            columns=score_columns(self.stages(cfg)),
            val_rows=self._val_rows(),
            seed=self._seed(cfg),
        )

    def _val_rows(self) -> dict[str, int]:
        names = dict.fromkeys(self.dataset_domains)
        asked = self.config.val_rows or 0
        if isinstance(asked, int):
            return dict.fromkeys(names, asked)
        for name in asked:
            if name not in names:
                known = f"known domains: {', '.join(names)}"
                raise DMTError(f"dmt.val_rows.{name}", "no dataset has this domain", known)
        return asked

    def prepare(self, cfg: Any) -> TrainingPlan:
        """Load the pool and compile the plan; Axolotl then trains one epoch of it.

        The first process of each host compiles and checks the plan and writes it to
        `OUTPUT_DIR/dmt/plan`; the others share its memory-mapped rows.

        Raises:
            DMTError: the run would go on from a checkpoint of another plan.
        """
        from axolotl_dmt.data import first_on_host

        self.pool = self.load_pool(cfg)
        folder = Path(cfg.output_dir) / "dmt" / "plan"
        with first_on_host() as first:
            if first:
                plan = self.compile(cfg, self.pool.domains)
                self._check_resume(cfg, plan)
                plan.save(folder)
            self.plan = TrainingPlan.load(folder)
        # All epochs of all stages are in the plan.
        cfg.num_epochs = 1
        if cfg.ddp_find_unused_parameters is None and any(s.stage.freeze for s in self.plan.stages):
            # else several processes would wait for the gradients of frozen parameters
            cfg.ddp_find_unused_parameters = True
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
        """The plan for these domains under this configuration."""
        plan = compile_plan(
            stages=self.stages(cfg),
            domains=domains,
            seed=self._seed(cfg),
            global_batch=cfg.batch_size,
            packing=_packing(cfg) if cfg.sample_packing else None,
            selectors=registered_selectors(),
            orders=registered_orders(),
            amounts=registered_amounts(),
        )
        start = self.config.start_stage
        return plan.starting_at(start) if start else plan

    def stages(self, cfg: Any) -> tuple[Stage, ...]:
        """The resolved stages."""
        names = tuple(dict.fromkeys(self.dataset_domains))
        return resolve_stages(self.config, names, _defaults(cfg))

    def _seed(self, cfg: Any) -> int:
        if self.config.seed is not None:
            return self.config.seed
        return int(cfg.seed) if cfg.seed is not None else DEFAULT_SEED

    def compose_scheduler(self, trainer: Any, optimizer: Any) -> Any:
        """The learning rate of all stages as one scheduler."""
        from axolotl_dmt.training import composed_scheduler

        assert self.plan is not None
        # Building a stage's curve asks the trainer for a scheduler, which asks the plugins.
        self.composing = True
        try:
            return composed_scheduler(self.plan, trainer, optimizer)
        finally:
            self.composing = False

    def callbacks(self, cfg: Any, trainer: Any, output_dir: Path) -> list[Any]:
        """Make the trainer follow the plan; returns the callback that acts at stage ends."""
        from axolotl_dmt.stages import StageCallback
        from axolotl_dmt.training import StageTrainerMixin

        if not isinstance(trainer, StageTrainerMixin):
            raise DMTError(
                "plugins",
                f"another plugin chose the trainer {type(trainer).__name__}",
                "list axolotl_dmt.DMTPlugin first",
            )
        assert self.plan is not None
        trainer.follow_plan(self.plan, self.pool.blank)
        self.recorder = Recorder(
            output_dir / "dmt",
            self.plan,
            writes=trainer.is_world_process_zero(),  # type: ignore[attr-defined]
            versions=versions.installed_versions(),
            settings=_reported_settings(cfg),
            evaluate=self.config.evaluate,
            config=self.raw,
            domains=self.pool.domains,
            hooks=self.config.hooks,
        )
        return [
            StageCallback(
                trainer=trainer,
                plan=self.plan,
                config=self.config,
                recorder=self.recorder,
                tasks=self.tasks,
            )
        ]


def _load_hooks(block: Any) -> None:
    named = (isinstance(block, Mapping) and block.get("hooks")) or []
    if isinstance(named, list) and all(isinstance(name, str) for name in named):
        loaded = load_hooks(named)  # also forgets those of an earlier YAML
        if named:
            block["hooks"] = loaded  # a Ray worker starts in another folder


def _check_output_dir(cfg: Mapping[str, Any]) -> None:
    folder = Path(str(cfg.get("output_dir") or "model-out"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{folder} cannot be made ({error.strerror})"
        raise DMTError("output_dir", problem, "name a folder that you may write to") from None


def _check_start_stage(config: DMTConfig, stages: Sequence[Stage]) -> None:
    names = [stage.name for stage in stages]
    if config.start_stage and names and config.start_stage not in names:
        raise DMTError(
            "dmt.start_stage", f"no stage {config.start_stage!r}", f"stages: {', '.join(names)}"
        )


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


def _refuse_unsupported(cfg: Mapping[str, Any]) -> None:
    problems = [
        DMTError(key, "is not supported with dmt", advice)
        for key, advice in UNSUPPORTED.items()
        if cfg.get(key)
    ]
    if cfg.get("val_set_size"):
        problems.append(
            DMTError(
                "val_set_size",
                "is not supported with dmt: it would take rows out of the plan",
                "write dmt.val_rows, or name held-out files under test_datasets",
            )
        )
    if problems:
        raise DMTErrors(problems)


def _refuse_optimizer(cfg: Mapping[str, Any], config: DMTConfig) -> None:
    from axolotl_dmt.optimizers import RESETTABLE

    name = cfg.get("optimizer") or "adamw_torch_fused"
    if name in RESETTABLE:
        return
    if config.stages is not None:
        later = config.stages[1:]
        resets = any(
            config.reset_optimizer if stage.reset_optimizer is None else stage.reset_optimizer
            for stage in later
        )
    else:
        resets = config.reset_optimizer
    if resets:
        raise DMTError(
            "optimizer",
            f"the state of {name} cannot be reset between stages",
            f"use one of {', '.join(sorted(RESETTABLE))}, or set dmt.reset_optimizer: false",
        )


def _take_domains(cfg: dict[str, Any]) -> list[str]:
    """The domain of each dataset, taken off the raw entries."""
    entries = cfg.get("datasets") or []
    if not entries:
        raise DMTError("datasets", "is empty", "list your datasets, each with a domain")
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        fix = "list entries such as - {path: math.jsonl, type: alpaca, domain: math}"
        raise DMTError("datasets", "is no list of entries", fix)
    # A configuration that was checked before (on a Ray worker) has them here already.
    block = cfg["dmt"]
    known = block.get("dataset_domains") if isinstance(block, Mapping) else None
    if known and len(known) == len(entries):
        return list(known)
    problems: list[DMTError] = []
    domains: list[str] = []
    for index, entry in enumerate(entries):
        domain = entry.pop("domain", None)
        if not isinstance(domain, str) or not domain:
            what = "has no domain" if domain is None else f"domain {domain!r} is no name"
            problems.append(
                DMTError(
                    f"datasets[{index}].domain",
                    f"{entry.get('path', 'the entry')} {what}",
                    "add one, for example domain: math",
                )
            )
        else:
            domains.append(domain)
    if problems:
        raise DMTErrors(problems)
    return domains


def _defaults(cfg: Mapping[str, Any]) -> StageDefaults:
    """Axolotl's own settings, with Axolotl's own defaults where the raw YAML is silent."""

    def number(key: str, default: Any) -> Any:
        value = cfg.get(key)
        if value is None:
            return default
        try:
            return float(value)
        except (TypeError, ValueError):
            raise DMTError(key, f"{value!r} is no number", "write one, e.g. 2e-5") from None

    rate = number("learning_rate", None)
    if rate is None:
        raise DMTError("learning_rate", "is missing", "write learning_rate: 2e-5")
    warmup = number("warmup_steps", None)
    scheduler = cfg.get("lr_scheduler") or "cosine"
    epochs = number("num_epochs", 1.0)
    if not epochs > 0:
        raise DMTError("num_epochs", f"{epochs:g} is not above zero", "write num_epochs: 3")
    if number("micro_batch_size", 1) < 1:
        raise DMTError("micro_batch_size", "is below 1", "write micro_batch_size: 1")
    return StageDefaults(
        epochs=epochs,
        learning_rate=rate,
        lr_scheduler=str(getattr(scheduler, "value", scheduler)),
        warmup_steps=None if warmup is None else int(warmup),
        warmup_ratio=number("warmup_ratio", None),
        weight_decay=number("weight_decay", None),
    )


def _packing(cfg: Any) -> Packing:
    from axolotl_dmt.data import packing

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
