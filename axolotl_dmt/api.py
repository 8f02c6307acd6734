"""The public Python interface: for scripts, for other trainers, and for authors of hooks.

From a YAML to rows in training order::

    from axolotl_dmt.api import PlanDataset, load_schedule

    schedule = load_schedule("dmt.yaml")  # a DMTError names each mistake and its line
    plan = schedule.compile({"math": 800, "general": 600})  # rows of each domain
    dataset = PlanDataset(plan, {"math": math_rows, "general": chat_rows})

Batch n of `dataset` is optimiser step n, so it must not be shuffled. `draws(plan)` yields the
stage, the domain and the number of each row. Without a YAML, `read_config`, `resolve_stages` and
`compile_plan` do the same in three calls.

What a run answered, item by item::

    load_items("outputs/run").to_pandas()

The types that hooks receive and return are here too; `axolotl_dmt.hookspecs` describes the hooks::

    from axolotl_dmt import hookimpl
    from axolotl_dmt.api import Strategy


    @hookimpl
    def register_strategies():
        return [Strategy(name="my_strategy", summary="what it does", stages=my_stages)]

Neither Axolotl nor torch nor transformers is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from axolotl_dmt.config.args import DMTConfig, read_config
from axolotl_dmt.config.reading import ResolvedSchedule, read_schedule
from axolotl_dmt.config.resolve import StageDefaults, resolve_stages
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.errors import DMTError, DMTErrors, Problems
from axolotl_dmt.hookspecs import Section, StageContext
from axolotl_dmt.plan.amounts import Amount, parse_amount
from axolotl_dmt.plan.compiler import compile_plan
from axolotl_dmt.plan.draws import Draw, PlanDataset, draws
from axolotl_dmt.plan.inputs import Domain, Lengths, Packing, Rows, Stage
from axolotl_dmt.plan.orders import Epoch, Order
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.items import read_items
from axolotl_dmt.results.results import Results, Score
from axolotl_dmt.strategies import Setting, StageMixes, Strategy

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Amount",
    "DMTConfig",
    "DMTError",
    "Domain",
    "Draw",
    "Epoch",
    "Order",
    "Packing",
    "PlanDataset",
    "Results",
    "Rows",
    "Schedule",
    "Score",
    "Section",
    "Setting",
    "Stage",
    "StageContext",
    "StageDefaults",
    "StageMixes",
    "Strategy",
    "TrainingPlan",
    "compile_plan",
    "draws",
    "load_items",
    "load_schedule",
    "parse_amount",
    "read_config",
    "resolve_stages",
]


@dataclass(frozen=True, kw_only=True)
class Schedule(ResolvedSchedule):
    """The schedule of a YAML, with its batch size: stages that can be compiled into a plan.

    Attributes:
        config: the `dmt:` block.
        stages: in training order, every default filled in.
        domains: the names of the domains, in the order of the YAML's datasets.
        seed: the seed of selection and order.
        global_batch: rows of an optimiser step on one device, from the YAML's batch sizes.
    """

    global_batch: int

    def compile(
        self,
        rows: Mapping[str, int | Sequence[int] | Lengths | Domain],
        *,
        global_batch: int | None = None,
        packing: Packing | None = None,
    ) -> TrainingPlan:
        """Compile the plan.

        Args:
            rows: for each domain its number of rows, or the tokens of each row (if an amount is in
                tokens, or a selection or an order needs lengths), or a whole `Domain`.
            global_batch: rows of an optimiser step over all devices; None takes the YAML's, for
                one device.
            packing: how rows are packed; None makes each row a sequence of its own.

        Raises:
            DMTError: a domain is missing, or a mistake that only the rows show.
        """
        missing = [name for name in self.domains if name not in rows]
        if missing:
            fix = f"pass the rows of {', '.join(self.domains)}"
            raise DMTError("rows", f"there are none of {missing[0]}", fix)
        return self.compile_plan(
            [_domain(name, rows[name]) for name in self.domains],
            global_batch=self.global_batch if global_batch is None else global_batch,
            packing=packing,
        )


def _domain(name: str, rows: int | Sequence[int] | Lengths | Domain) -> Domain:
    if isinstance(rows, Domain):
        return rows
    if isinstance(rows, int):
        return Domain(name=name, rows=rows)
    lengths = np.asarray(rows, np.int32)
    return Domain(name=name, rows=len(lengths), lengths=lengths)


def load_schedule(path: str | Path) -> Schedule:
    """Read the `dmt:` block of a YAML, and the keys of Axolotl that it depends on.

    Args:
        path: the path of the YAML. It has `datasets` with their domains, `dmt`, `learning_rate`,
            `num_epochs`, the batch sizes and the like; all other keys are ignored.

    Raises:
        DMTError: the YAML has mistakes; the error lists all of them, each with its line.
    """
    file = YamlFile.read(path)
    reading = read_schedule(file.data)
    problems = Problems()
    global_batch = problems.attempt(_global_batch, file.data)
    mistakes = reading.mistakes(problems)
    if mistakes or global_batch is None:
        raise DMTErrors(_located(file, mistake) for mistake in mistakes)
    return Schedule(**vars(reading.schedule()), global_batch=global_batch)


def load_items(output_dir: str | Path) -> pa.Table:
    """Read the ledger of a run: each item's verdict at each point.

    Args:
        output_dir: the `output_dir` of the run.

    Returns:
        An Arrow table with the columns of docs/items_parquet.md; `.to_pandas()` makes a DataFrame
        of it.

    Raises:
        DMTError: the run has no ledger, or it cannot be read.
    """
    return read_items(RunFolder(Path(output_dir)).items)


def _global_batch(raw: Mapping[str, Any]) -> int:
    global_batch = 1
    for key in ("micro_batch_size", "gradient_accumulation_steps"):
        size = raw.get(key) or 1
        if not isinstance(size, int) or size < 1:
            raise DMTError(key, f"{size!r} is not a whole number from 1 up", f"write {key}: 4")
        global_batch *= size
    return global_batch


def _located(file: YamlFile, problem: DMTError) -> DMTError:
    line = file.line(problem.key)
    where = f"{file.path}:{line}" if line else file.path
    return DMTError(f"{where}: {problem.key}", problem.problem, problem.fix)
