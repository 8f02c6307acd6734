"""The schedule for other trainers: from a YAML to rows in training order.

Neither Axolotl nor torch nor transformers is imported:

    schedule = load_schedule("dmt.yaml")
    plan = schedule.compile({"math": 800, "general": 600})
    dataset = PlanDataset(plan, {"math": math_rows, "general": chat_rows})
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from axolotl_dmt.args import DEFAULT_SEED, DMTConfig
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.hooks import registered_amounts, registered_orders, registered_selectors
from axolotl_dmt.inputs import Domain, Lengths, Packing, Stage
from axolotl_dmt.plan import compile_plan
from axolotl_dmt.raw_checks import (
    check_start_stage,
    load_named_hooks,
    read_what_can_be,
    stage_defaults,
    take_domains,
)
from axolotl_dmt.resolve import resolve_stages
from axolotl_dmt.training_plan import BLANK, TrainingPlan
from axolotl_dmt.yaml_file import YamlFile

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What a YAML says of the training, checked.

    Attributes:
        config: the `dmt:` block.
        stages: in training order, every default filled in.
        domains: names, in the order of the YAML's datasets.
        seed: of selection and order.
        global_batch: rows of an optimiser step on one device, as the YAML has it.
    """

    config: DMTConfig
    stages: tuple[Stage, ...]
    domains: tuple[str, ...]
    seed: int
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
            rows: of each domain its number of rows, or the tokens of each row where amounts are in
                tokens or the order goes by length, or a whole `Domain`.
            global_batch: rows of an optimiser step over all devices; None: the YAML's, on one.
            packing: deal packs of rows.

        Raises:
            DMTError: a domain is missing, or a mistake that only the number of rows shows.
        """
        missing = [name for name in self.domains if name not in rows]
        if missing:
            known = f"give rows of {', '.join(self.domains)}"
            raise DMTError("rows", f"there are none of {missing[0]}", known)
        plan = compile_plan(
            stages=self.stages,
            domains=[_domain(name, rows[name]) for name in self.domains],
            seed=self.seed,
            global_batch=self.global_batch if global_batch is None else global_batch,
            packing=packing,
            selectors=registered_selectors(),
            orders=registered_orders(),
            amounts=registered_amounts(),
        )
        start = self.config.start_stage
        return plan.starting_at(start) if start else plan


def _domain(name: str, rows: int | Sequence[int] | Lengths | Domain) -> Domain:
    if isinstance(rows, Domain):
        return rows
    if isinstance(rows, int):
        return Domain(name=name, rows=rows)
    lengths = np.asarray(rows, np.int32)
    return Domain(name=name, rows=len(lengths), lengths=lengths)


def load_schedule(path: str | Path) -> Schedule:
    """Read a YAML's `dmt:` block and what it takes from Axolotl's own keys.

    Args:
        path: of the YAML: `datasets` with their domains, `dmt`, `learning_rate`, `num_epochs`,
            batch sizes and the like. Nothing else of it is looked at.

    Raises:
        DMTError: with every mistake found, each with its line.
    """
    file = YamlFile.read(path)
    raw = copy.deepcopy(file.data)
    problems: list[DMTError] = []

    def collect(check: Callable[..., T], *args: Any) -> T | None:
        try:
            return check(*args)
        except DMTErrors as error:
            problems.extend(error.errors)
        except DMTError as error:
            problems.append(error)
        return None

    if "dmt" not in raw:
        problems.append(DMTError("dmt", "there is no block", "write dmt: {strategy: dmt}"))
    collect(load_named_hooks, raw.get("dmt"))
    config, wrong = read_what_can_be(raw["dmt"]) if "dmt" in raw else (None, [])
    problems += wrong
    domains = tuple(dict.fromkeys(collect(take_domains, raw) or ())) if "dmt" in raw else ()
    defaults = collect(stage_defaults, raw)
    stages = None
    if config and domains and defaults:
        stages = collect(resolve_stages, config, domains, defaults)
        collect(check_start_stage, config, stages or ())
    batch = [raw.get(key) or 1 for key in ("micro_batch_size", "gradient_accumulation_steps")]
    if not all(isinstance(size, int) and size > 0 for size in batch):
        problems.append(DMTError("micro_batch_size", "the batch sizes are no numbers", "correct"))
    if problems or config is None or stages is None:
        raise DMTErrors(_located(file, problem) for problem in problems)
    seed = config.seed if config.seed is not None else raw.get("seed")
    return Schedule(
        config=config,
        stages=stages,
        domains=domains,
        seed=DEFAULT_SEED if seed is None else int(seed),
        global_batch=batch[0] * batch[1],
    )


def _located(file: YamlFile, problem: DMTError) -> DMTError:
    line = file.line(problem.key)
    where = f"{file.path}:{line}" if line else file.path
    return DMTError(f"{where}: {problem.key}", problem.problem, problem.fix)


class Draw(NamedTuple):
    """One row in training order.

    Attributes:
        step: the optimiser step that trains it, from 0 and over all stages.
        stage: name of the stage.
        domain: its domain; None for a blank, which fills the last step of a stage.
        row: its number within the domain, from 0; -1 for a blank.
    """

    step: int
    stage: str
    domain: str | None
    row: int


def draws(plan: TrainingPlan) -> Iterator[Draw]:
    """Every row of a plan in training order, blanks included."""
    names, starts = _pools(plan)
    for stage in plan.stages:
        first, last = plan.step_bounds(stage)
        for position in range(first, last):
            yield Draw(_step(plan, position), stage.name, *_place(plan, position, names, starts))


def _pools(plan: TrainingPlan) -> tuple[list[str], Any]:
    sizes = np.array([pool.rows for pool in plan.pools], np.int64)
    return [pool.name for pool in plan.pools], np.cumsum(sizes) - sizes


def _place(
    plan: TrainingPlan, position: int, names: Sequence[str], starts: Any
) -> tuple[str | None, int]:
    row = int(plan.order[position])
    if row == BLANK:
        return None, BLANK
    # An empty pool starts where the next one does: the last of equal starts holds the row.
    index = int(np.searchsorted(starts, row, side="right")) - 1
    return names[index], row - int(starts[index])


def _step(plan: TrainingPlan, position: int) -> int:
    if plan.pack_offsets is None or plan.packs_per_step is None:
        return position // plan.global_batch
    pack = int(np.searchsorted(plan.pack_offsets, position, side="right")) - 1
    return pack // plan.packs_per_step


class PlanDataset(Sequence[Any]):
    """The rows of all domains in training order, as one sequence.

    Anything that takes rows by number can read it, `torch.utils.data.DataLoader(dataset,
    batch_size=plan.global_batch)` for one: with `shuffle=False` every batch is an optimiser step.
    """

    def __init__(
        self, plan: TrainingPlan, pools: Mapping[str, Sequence[Any]], *, blank: Any = None
    ) -> None:
        """Lay the plan over the rows.

        Args:
            plan: compiled from the same rows.
            pools: the rows of each domain, by name.
            blank: what to give for a blank, which the loss must leave out.

        Raises:
            DMTError: a domain has another number of rows than the plan was compiled for.
        """
        for pool in plan.pools:
            have = len(pools[pool.name]) if pool.name in pools else 0
            if have != pool.rows:
                problem = f"{have:,} rows, and the plan was compiled for {pool.rows:,}"
                raise DMTError(f"pools[{pool.name!r}]", problem, "compile the plan for these rows")
        self.plan, self.pools, self.blank = plan, pools, blank
        self._names, self._starts = _pools(plan)

    def __len__(self) -> int:
        return len(self.plan.order)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        domain, row = _place(self.plan, position, self._names, self._starts)
        return self.blank if domain is None else self.pools[domain][row]
