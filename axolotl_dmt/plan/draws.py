"""The draws of a plan: which row is trained at which optimiser step.

`draws` yields them one by one, `write_rows` writes them as a table, and `PlanDataset` gives the
rows themselves to any trainer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import replacing
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.plan.permutation import chunks
from axolotl_dmt.plan.training_plan import BLANK, StagePlan, TrainingPlan

_CHUNK = 1 << 20


def write_rows(plan: TrainingPlan, domains: Sequence[Domain], path: str | os.PathLike[str]) -> None:
    """Write every draw in training order to a Parquet file, without blanks.

    Columns: `stage` (name), `epoch` (from 1), `step` (the optimiser step that trains the row, from
    1 and over all stages, as the trainer logs it: checkpoint-n has seen the rows up to step n),
    `domain`, `dataset` (label), `row` (from 0, within the dataset).

    Args:
        plan: the plan.
        domains: the domains that the plan was compiled from, in the same order.
        path: the file, which is written completely or not at all; its folder must exist.
    """
    import pyarrow as pa
    from pyarrow import parquet

    datasets = [(domain.name, *dataset) for domain in domains for dataset in domain.datasets]
    text = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            ("stage", text),
            ("epoch", pa.int32()),
            ("step", pa.int32()),
            ("domain", text),
            ("dataset", text),
            ("row", pa.int64()),
        ]
    )
    sizes = np.array([rows for _, _, rows in datasets], np.int64)
    starts = np.cumsum(sizes) - sizes
    numbers = numbers_within_datasets(domains, sizes)
    names = [stage.name for stage in plan.stages]
    domain_names = [domain.name for domain in domains]
    domain_of = np.array([domain_names.index(name) for name, _, _ in datasets], np.int32)
    labels = [label for _, label, _ in datasets]

    def text_column(codes: Any, values: list[str]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), values)

    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for stage in plan.stages:
            for rows, epoch, step in _draws(plan, stage):
                dataset = (np.searchsorted(starts, rows, side="right") - 1).astype(np.int32)
                columns = [
                    text_column(np.full(len(rows), stage.index), names),
                    pa.array(epoch, pa.int32()),
                    pa.array(step, pa.int32()),
                    text_column(domain_of[dataset], domain_names),
                    text_column(dataset, labels),
                    pa.array(
                        rows - starts[dataset] if numbers is None else numbers[rows], pa.int64()
                    ),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def numbers_within_datasets(
    domains: Sequence[Domain], sizes: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the number of each row within its dataset, by global row id.

    None if every number is the position within the dataset, which then needs no memory.
    """
    if all(domain.numbers is None for domain in domains):
        return None
    numbers = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = 0
    for domain in domains:
        if domain.numbers is not None:
            numbers[first : first + domain.rows] = domain.numbers
        first += domain.rows
    return numbers


def _draws(plan: TrainingPlan, stage: StagePlan) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the row ids, epochs and steps of a stage's draws, up to `_CHUNK` draws at a time."""
    first, last = plan.step_bounds(stage)
    for start, stop in chunks(last - first, _CHUNK):
        position = np.arange(start, stop)
        rows = np.asarray(plan.order[first + start : first + stop])
        step = _step(plan, first + position)
        real = rows >= 0  # blanks follow all rows of a stage, so the position gives the epoch
        yield rows[real], (position // stage.epoch_draws + 1)[real], (step + 1)[real]


def draws_until(plan: TrainingPlan, stage: StagePlan, step: int) -> dict[str, int]:
    """Return how many rows of each domain the first steps of a stage train, repeats included.

    Args:
        plan: the plan.
        stage: one of its stages.
        step: the number of steps.
    """
    names, starts = _pools(plan)
    counts = np.zeros(len(names), np.int64)
    for rows, _, steps in _draws(plan, stage):
        trained = rows[steps <= stage.start_step + step]
        pools = np.searchsorted(starts, trained, side="right") - 1
        counts += np.bincount(pools, minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


class Draw(NamedTuple):
    """One row in training order.

    Attributes:
        step: the optimiser step that trains the row, from 0 and over all stages.
        stage: the name of the stage.
        domain: the domain of the row; None for a blank, which fills the last step of a stage.
        row: the number of the row within its domain, from 0; -1 for a blank.
    """

    step: int
    stage: str
    domain: str | None
    row: int


def draws(plan: TrainingPlan) -> Iterator[Draw]:
    """Yield every row of a plan in training order, blanks included."""
    names, starts = _pools(plan)
    for stage in plan.stages:
        first, last = plan.step_bounds(stage)
        for position in range(first, last):
            domain, row = _domain_and_row(plan, position, names, starts)
            yield Draw(int(_step(plan, position)), stage.name, domain, row)


def _pools(plan: TrainingPlan) -> tuple[list[str], NDArray[np.int64]]:
    """Return the name of each pool, and its first global row id."""
    sizes = np.array([pool.rows for pool in plan.pools], np.int64)
    return [pool.name for pool in plan.pools], np.cumsum(sizes) - sizes


def _domain_and_row(
    plan: TrainingPlan, position: int, names: Sequence[str], starts: NDArray[np.int64]
) -> tuple[str | None, int]:
    row = int(plan.order[position])
    if row == BLANK:
        return None, BLANK
    # An empty pool starts where the next one does: the last of equal starts holds the row.
    index = int(np.searchsorted(starts, row, side="right")) - 1
    return names[index], row - int(starts[index])


def _step(plan: TrainingPlan, position: Any) -> Any:
    """Return the step that trains the row at a position of `plan.order`, or at each of several."""
    if plan.pack_offsets is None or plan.packs_per_step is None:
        return position // plan.global_batch
    packs = np.searchsorted(plan.pack_offsets, position, side="right") - 1
    return packs // plan.packs_per_step


class PlanDataset(Sequence[Any]):
    """The rows of all domains in training order, as one sequence.

    Any consumer of a sequence can read it, such as `torch.utils.data.DataLoader(dataset,
    batch_size=plan.global_batch)`: with `shuffle=False`, each batch is one optimiser step.
    """

    def __init__(
        self, plan: TrainingPlan, pools: Mapping[str, Sequence[Any]], *, blank: Any = None
    ) -> None:
        """Combine a plan with the rows for which it was compiled.

        Args:
            plan: the plan.
            pools: the rows of each domain, by name.
            blank: the item in place of a blank row; the loss must leave it out.

        Raises:
            DMTError: a domain does not have the number of rows for which the plan was compiled.
        """
        for pool in plan.pools:
            rows = len(pools[pool.name]) if pool.name in pools else 0
            if rows != pool.rows:
                problem = f"has {rows:,} rows, but the plan was compiled for {pool.rows:,}"
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
        domain, row = _domain_and_row(self.plan, position, self._names, self._starts)
        return self.blank if domain is None else self.pools[domain][row]
