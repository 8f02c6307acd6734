"""Writes every draw of a plan as a Parquet table, which shows what the model sees and when."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.files import replacing
from axolotl_dmt.inputs import Domain
from axolotl_dmt.permutation import chunks
from axolotl_dmt.training_plan import StagePlan, TrainingPlan

_CHUNK = 1 << 20


def write_rows(plan: TrainingPlan, domains: Sequence[Domain], path: str | os.PathLike[str]) -> None:
    """Write every draw in training order to a Parquet file, without blanks.

    Columns: `stage` (name), `epoch` (from 1), `step` (the optimiser step that trains the row, from
    1 and over all stages, as the trainer logs it: checkpoint-n has seen the rows up to step n),
    `domain`, `dataset` (label), `row` (from 0, within the dataset).

    Args:
        plan: the plan.
        domains: the domains that the plan was compiled from, in the same order.
        path: the file, written whole or not at all; its folder must exist.
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
    numbers = _numbers_within_datasets(domains, sizes)
    names = [stage.name for stage in plan.stages]
    domain_names = [domain.name for domain in domains]
    domain_of = np.array([domain_names.index(name) for name, _, _ in datasets], np.int32)
    labels = [label for _, label, _ in datasets]

    def coded(codes: Any, values: list[str]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), values)

    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for stage in plan.stages:
            for rows, epoch, step in _draws(plan, stage):
                dataset = (np.searchsorted(starts, rows, side="right") - 1).astype(np.int32)
                columns = [
                    coded(np.full(len(rows), stage.index), names),
                    pa.array(epoch, pa.int32()),
                    pa.array(step, pa.int32()),
                    coded(domain_of[dataset], domain_names),
                    coded(dataset, labels),
                    pa.array(
                        rows - starts[dataset] if numbers is None else numbers[rows], pa.int64()
                    ),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _numbers_within_datasets(
    domains: Sequence[Domain], sizes: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the number of each row within its dataset, by global row id.

    None stands for the place within the dataset, which needs no memory.
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
        if plan.pack_offsets is None or plan.packs_per_step is None:
            step = (first + position) // plan.global_batch
        else:
            packs = np.searchsorted(plan.pack_offsets, first + position, side="right") - 1
            step = packs // plan.packs_per_step
        real = rows >= 0  # blanks follow all rows of a stage, so the position gives the epoch
        yield rows[real], (position // stage.epoch_draws + 1)[real], (step + 1)[real]
