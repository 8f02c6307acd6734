"""A training run under a `dmt:` block: its checked YAML, its rows and its plan.

`Run.from_raw` checks the raw YAML. Once Axolotl has validated the configuration, `Run.load_pool`
loads the rows and `Run.compile` compiles the plan; `prepare` and `load_run` call them in turn.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from axolotl_dmt.checks.axolotl_keys import check_output_dir
from axolotl_dmt.checks.schedule import check_schedule
from axolotl_dmt.checks.stages import set_required_keys
from axolotl_dmt.checks.unused_keys import unused_keys
from axolotl_dmt.checks.yaml_keys import check_written_keys
from axolotl_dmt.config.keep_args import refuse_unsolved
from axolotl_dmt.config.reading import ResolvedSchedule
from axolotl_dmt.config.replay import domains_by_loss, losses_path
from axolotl_dmt.config.row_needs import remasked_domains, score_columns
from axolotl_dmt.config.run_keys import val_set_size
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTErrors, Problems
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.plan.plan_warnings import check_warmup
from axolotl_dmt.plan.row_losses import RowLosses
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.results.config_file import raw_config
from axolotl_dmt.training.environment import check_axolotl

if TYPE_CHECKING:
    from axolotl_dmt.training.pool import RowPool


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run whose YAML has been checked.

    Attributes:
        schedule: the checked schedule, with its resolved stages.
        tasks: the tasks to score on, or None where nothing is scored.
        raw: the YAML as the user wrote it, without secrets.
    """

    schedule: ResolvedSchedule
    tasks: Tasks | None
    raw: dict[str, Any]

    @classmethod
    def from_raw(cls, cfg: dict[str, Any]) -> Run:
        """Check the raw YAML and prepare it for Axolotl's validation.

        The stages are resolved here, once for the whole run: what they need of Axolotl has to be
        set before Axolotl validates the configuration.

        Args:
            cfg: the raw configuration. It is changed in place: `dmt` takes the domains of the
                datasets, since Axolotl drops them, and keys that the stages need are set.

        Raises:
            DMTError: with every mistake in the YAML.
        """
        check_axolotl()
        schedule, mistakes = check_schedule(cfg)
        problems = Problems(mistakes)
        problems.attempt(refuse_unsolved, cfg.get("dmt"))
        problems.attempt(check_output_dir, cfg)
        mistaken_keys, ignored_keys = check_written_keys(cfg)
        problems += mistaken_keys
        if schedule is None or problems:
            raise DMTErrors(problems)
        _warn([*ignored_keys, *map(str, unused_keys(cfg, schedule))])
        config = schedule.config
        if config.hooks:
            cfg["dmt"]["hooks"] = list(config.hooks)
        raw = raw_config(copy.deepcopy(dict(cfg)))
        for entry in cfg["datasets"]:
            entry.pop("domain", None)
        cfg["dmt"]["dataset_domains"] = list(schedule.dataset_domains)
        set_required_keys(cfg, schedule.stages)
        tasks = Tasks(config.evaluate) if config.evaluate and config.evaluates else None
        return cls(schedule=schedule, tasks=tasks, raw=raw)

    @cached_property
    def row_losses(self) -> RowLosses | None:
        """The losses that the stages select rows by; None where no stage does.

        Raises:
            DMTError: the file of losses does not exist or cannot be read.
        """
        if not domains_by_loss(self.schedule.stages):
            return None
        return RowLosses.load(losses_path(self.schedule.config))

    def load_pool(self, cfg: Any, *, search: bool = False) -> RowPool:
        """Tokenise every dataset, or read it from Axolotl's cache.

        Args:
            cfg: Axolotl's validated configuration.
            search: search the rows for the items of the evaluation files, which
                `dmt.decontaminate` does in any case.

        Raises:
            DMTError: rows are missing, or the row losses were measured on other rows.
        """
        from axolotl_dmt.training.contamination import PoolSearch
        from axolotl_dmt.training.pool import load_pool

        stages, config = self.schedule.stages, self.schedule.config
        leaves_out = bool(config.decontaminate)
        searches = (
            PoolSearch.of(config.evaluate, cfg, leaves_out=leaves_out)
            if (search or leaves_out)
            else None
        )
        pool = load_pool(
            cfg,
            self.schedule.dataset_domains,
            columns=score_columns(stages),
            val_rows=self._val_rows(),
            val_set_size=val_set_size(cfg),
            remasked=remasked_domains(stages),
            search=searches,
            seed=self.schedule.seed,
        )
        if self.row_losses is None:
            return pool
        path = losses_path(self.schedule.config)
        return pool.with_losses(self.row_losses, domains_by_loss(stages), path)

    def compile(self, cfg: Any, domains: Sequence[Domain]) -> TrainingPlan:
        """Compile the plan.

        Args:
            cfg: Axolotl's validated configuration.
            domains: the domains of the pool.

        Raises:
            DMTError: the rows reveal a mistake, such as too few of them or a warm-up longer than
                a stage.
        """
        from axolotl_dmt.training.packing import packing

        plan = self.schedule.compile_plan(
            domains,
            global_batch=cfg.batch_size,
            packing=packing(cfg) if cfg.sample_packing else None,
        )
        check_warmup(plan)
        return plan

    def notes(self, cfg: Any, pool: RowPool) -> list[str]:
        """Return a sentence for each thing about the rows to evaluate that is probably not meant.

        Args:
            cfg: Axolotl's validated configuration.
            pool: the rows, with those to evaluate.
        """
        from axolotl_dmt.training.eval_packing import eval_packing_note

        note = eval_packing_note(cfg, pool, self.raw)
        return [*pool.notes, *filter(None, [note])]

    def settings(self, cfg: Any) -> dict[str, Any]:
        """Return the settings that `results.json` and the report of the run show."""
        settings = {
            name: getattr(cfg[name], "value", cfg[name])
            for name in _REPORTED_KEYS
            if cfg[name] is not None
        }
        if self.row_losses is not None:
            path, losses = losses_path(self.schedule.config), self.row_losses
            settings["row_losses"] = f"{path} of {losses.model}, digest {losses.digest}"
        return settings

    def _val_rows(self) -> dict[str, int]:
        """Return the number of held-out rows by domain."""
        val_rows = self.schedule.config.val_rows or 0
        if isinstance(val_rows, int):
            return dict.fromkeys(self.schedule.domains, val_rows)
        return val_rows


def _warn(remarks: Sequence[str]) -> None:
    """Print each remark on the YAML in a line, on the first process of the run only."""
    if os.environ.get("RANK", "0") == "0":
        for remark in remarks:
            echo(f"warning: {remark}", err=True)


_REPORTED_KEYS = (
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
"""The keys of Axolotl that `results.json` and the report show."""
