"""The steps from a checked run to a trainer that follows its plan.

`prepare` loads the rows and compiles the plan, before the model is loaded. `follow_plan` connects
the plan with the trainer, once Axolotl has built it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from axolotl_dmt.checks.services import check_services
from axolotl_dmt.config.reading import stage_defaults
from axolotl_dmt.config.starting_model import scores_before
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.plan_warnings import plan_warnings
from axolotl_dmt.plan.row_counts import notes_on_rows
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.ranks import Ranks
from axolotl_dmt.results.contamination import CONTAMINATION_FILE, write_contamination
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.training import resume
from axolotl_dmt.training.adapters import StackedAdapters, stacked_adapters
from axolotl_dmt.training.asking import ask_as_trained
from axolotl_dmt.training.callback import StageCallback
from axolotl_dmt.training.environment import check_offloading, hardware, installed_versions
from axolotl_dmt.training.eval_packing import choose_eval_packing
from axolotl_dmt.training.interruption import interruption_message
from axolotl_dmt.training.log import LOG
from axolotl_dmt.training.pool import RowPool
from axolotl_dmt.training.prepared_inputs import keep_inputs
from axolotl_dmt.training.progress import StageProgress, leave_out_losses
from axolotl_dmt.training.recorder import Recorder
from axolotl_dmt.training.run import Run
from axolotl_dmt.training.trainer import StageTrainerMixin


@dataclass(frozen=True, kw_only=True)
class PreparedRun:
    """A run whose rows are loaded and whose plan is compiled.

    Attributes:
        run: the checked run.
        pool: the tokenised rows.
        plan: the plan, with its rows memory-mapped from `OUTPUT_DIR/dmt/plan.next`.
        ranks: this process among the processes of the run.
    """

    run: Run
    pool: RowPool
    plan: TrainingPlan
    ranks: Ranks


def prepare(run: Run, cfg: Any) -> PreparedRun:
    """Load the pool and compile the plan; Axolotl then trains one epoch of it.

    The first process of each host compiles and checks the plan and writes it to
    `OUTPUT_DIR/dmt/plan.next`, where it stays until training starts; the others share its
    memory-mapped rows.

    Args:
        run: the checked run.
        cfg: Axolotl's validated configuration; changed in place.

    Raises:
        DMTError: the rows reveal a mistake, a setting needs a GPU, or the run would resume from a
            checkpoint of another plan.
    """
    _check_defaults(run, cfg)
    ranks = Ranks()
    if not cfg.is_preprocess:
        check_offloading(cfg)
        ranks.once_a_host(lambda: check_services(cfg))
    pool = run.load_pool(cfg, search=ranks.first_on_host)
    prompts = ask_as_trained(run, cfg, ranks)
    folder = RunFolder.of_config(cfg).next_plan

    def write_plan() -> None:
        plan = run.compile(cfg, pool.domains)
        notes = [*notes_on_rows(plan.data), *run.notes(cfg, pool), *plan_warnings(plan)]
        if pool.contamination is not None:
            notes += pool.contamination.warnings()
        for note in notes:
            LOG.warning(note)
        contents = pool.contents()
        records = (replace(record, content=contents[record.name]) for record in plan.pools)
        plan = _check_resume(run, cfg, replace(plan, pools=tuple(records)))
        plan.save(folder)
        if pool.contamination is None:
            (folder / CONTAMINATION_FILE).unlink(missing_ok=True)
        else:
            write_contamination(folder, pool.contamination.record())
        keep_inputs(run, cfg, pool, prompts)

    ranks.once_a_host(write_plan)
    cfg.resume_from_checkpoint = _checkpoint(cfg)
    if cfg.resume_from_checkpoint is None:
        cfg.auto_resume_from_checkpoints = False  # Axolotl would also take a file for a checkpoint
    # All epochs of all stages are in the plan, with their steps and their order.
    cfg.num_epochs = 1
    cfg.max_steps = cfg.group_by_length = cfg.curriculum_sampling = None
    choose_eval_packing(cfg, pool, run.raw)
    return PreparedRun(run=run, pool=pool, plan=TrainingPlan.load(folder), ranks=ranks)


def _check_defaults(run: Run, cfg: Any) -> None:
    """Refuse a setting that changed between the raw YAML and the validated configuration.

    The stages were resolved with its former value.
    """
    validated = stage_defaults(cfg)
    for name, value in vars(run.schedule.defaults).items():
        if getattr(validated, name) != value:
            key = {"epochs": "num_epochs", "order": "group_by_length"}.get(name, name)
            problem = f"{value} became {getattr(validated, name)} after the stages were resolved"
            raise DMTError(key, problem, "list axolotl_dmt.DMTPlugin after the plugin that does it")


def _check_resume(run: Run, cfg: Any, plan: TrainingPlan) -> TrainingPlan:
    """Refuse to resume from a checkpoint of another plan; set incomplete checkpoints aside.

    Returns:
        The plan to follow.
    """
    if cfg.resume_from_checkpoint is None and cfg.auto_resume_from_checkpoints:
        resume.set_aside_incomplete(Path(cfg.output_dir))
    checkpoint = _checkpoint(cfg)
    if checkpoint is None:
        return plan
    replan = run.schedule.config.on_plan_change == "replan"
    return resume.check_plan(Path(checkpoint), plan, replan=replan)


def _checkpoint(cfg: Any) -> str | None:
    """Return the checkpoint that the run resumes from."""
    named: str | None = cfg.resume_from_checkpoint
    if named is not None or not cfg.auto_resume_from_checkpoints:
        return named
    checkpoints = RunFolder(Path(cfg.output_dir)).checkpoints()
    return str(checkpoints[-1]) if checkpoints else None


def follow_plan(
    prepared: PreparedRun, cfg: Any, trainer: Any
) -> tuple[list[TrainerCallback], Recorder]:
    """Make a trainer follow the plan.

    Args:
        prepared: the prepared run.
        cfg: Axolotl's validated configuration.
        trainer: the trainer that Axolotl built.

    Returns:
        The callbacks that act at the starts and ends of stages, and the recorder of the results.

    Raises:
        DMTError: the trainer cannot follow a plan, or its model does not fit the stages.
    """
    if not isinstance(trainer, StageTrainerMixin):
        raise DMTError(
            "plugins",
            f"another plugin chose the trainer {type(trainer).__name__}",
            "list axolotl_dmt.DMTPlugin first",
        )
    run, plan, pool = prepared.run, prepared.plan, prepared.pool
    leave_out_losses(trainer)
    trainer.follow_plan(plan, pool.layout, _adapters(prepared, cfg, trainer))
    _log_loss_by_domain(prepared, cfg, trainer)
    recorder = Recorder(
        Path(cfg.output_dir),
        plan,
        writes=trainer.is_world_process_zero(),  # type: ignore[attr-defined]
        versions=installed_versions(),
        settings=run.settings(cfg),
        evaluate=run.schedule.config.evaluate,
        config=run.raw,
        domains=pool.domains,
        hooks=run.schedule.config.hooks,
        hardware=hardware(trainer.args.world_size),  # type: ignore[attr-defined]
    )
    trainer.dmt_recorder = recorder
    trainer.dmt_interruption_message = partial(interruption_message, trainer, plan)
    callbacks = [
        StageProgress(trainer, plan),
        StageCallback(
            trainer=trainer,
            plan=plan,
            config=run.schedule.config,
            recorder=recorder,
            tasks=run.tasks,
            ranks=prepared.ranks,
            scores_before=scores_before(run.raw, run.schedule.config),
        ),
    ]
    return callbacks, recorder


def _log_loss_by_domain(prepared: PreparedRun, cfg: Any, trainer: StageTrainerMixin) -> None:
    """Let the trainer log the loss of each domain, or log in one line why it cannot."""
    domains = prepared.pool.domains
    if not prepared.run.schedule.config.loss_by_domain or len(domains) < 2:
        return
    if max(cfg.context_parallel_size or 1, cfg.tensor_parallel_size or 1) > 1:
        reason: str | None = "several ranks share a sequence"
    else:
        reason = trainer.log_loss_by_domain(domains)
    if reason:
        LOG.info("the training loss is not logged by domain: %s", reason)


def _adapters(prepared: PreparedRun, cfg: Any, trainer: Any) -> StackedAdapters | None:
    """Return the stacked adapters of the trainer's model, or None where it has none to stack."""
    plan, stages = prepared.plan, prepared.run.schedule.stages
    skipped = stages[: -len(plan.stages)] if cfg.lora_model_dir else ()
    return stacked_adapters(
        trainer.model,
        plan,
        loaded=bool(cfg.lora_model_dir),
        earlier=sum(bool(stage.new_adapter) for stage in skipped[1:]),
        rank=cfg.lora_r,
    )
