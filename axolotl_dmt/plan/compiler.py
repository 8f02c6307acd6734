"""Compile stages and domains into a training plan.

`compile_plan` is a pure function: the same stages, pools, seed and global batch give the same plan
in every process, whatever the number of devices. Each optimiser step trains `global_batch` rows (or
`packs_per_step` packs). If the rows of a stage do not fill its last step, blanks fill it: rows with
every label masked, which add nothing to the loss or the gradient. So no row is dropped, no row is
trained twice, and no step and no pack holds rows of two stages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.plan.inputs import Domain, Lengths, Packing, Rows, Stage
from axolotl_dmt.plan.orders import ORDERS, Epoch, Order, find_order
from axolotl_dmt.plan.permutation import derive_key
from axolotl_dmt.plan.plan_size import check_size
from axolotl_dmt.plan.pool_record import PoolRecord
from axolotl_dmt.plan.ranking import BY_LOSS, Ranking, Selector
from axolotl_dmt.plan.solve import AmountRows, solve_counts
from axolotl_dmt.plan.totals import domain_draws
from axolotl_dmt.plan.training_plan import BLANK, StagePlan, TrainingPlan, row_dtype


def compile_plan(
    *,
    stages: Sequence[Stage],
    domains: Sequence[Domain],
    seed: int,
    global_batch: int,
    packing: Packing | None = None,
    selectors: Mapping[str, Selector] | None = None,
    orders: Mapping[str, Order] | None = None,
    amounts: Mapping[str, AmountRows] | None = None,
) -> TrainingPlan:
    """Compile a plan.

    Args:
        stages: the stages, in training order.
        domains: the pools, in the order in which their rows are numbered.
        seed: seed of the selection and the order.
        global_batch: rows of an optimiser step, over all ranks and micro batches.
        packing: how rows are packed; None trains single rows.
        selectors: further values of `select`, by name.
        orders: further values of `order`, by name.
        amounts: further units of amounts, by name.

    Returns:
        The plan.

    Raises:
        DMTError: a stage has a mistake; the key is `dmt.stages[i]...`. If several stages have
            mistakes, the error lists one for each of them.
    """
    _check_names(stages, domains)
    compiler = _Compiler(
        domains, seed, global_batch, packing, selectors or {}, orders or {}, amounts or {}
    )
    errors: list[DMTError] = []
    for index, stage in enumerate(stages):
        try:
            compiler.solved.append(compiler.solve(index, stage))
        except DMTError as error:
            errors.append(error)
    if errors:
        raise DMTErrors(errors)
    return compiler.lay_out(compiler.solved)


class _Solved:
    """A stage with its draws: of each domain in one epoch, and in total."""

    def __init__(
        self,
        index: int,
        stage: Stage,
        key: str,
        rankings: Mapping[str, Ranking],
        order: Order,
        amounts: Mapping[str, AmountRows],
    ) -> None:
        self.index, self.settings, self.key = index, stage, key
        self.rankings, self.order = rankings, order
        self.counts = solve_counts(stage, rankings, key, amounts)
        self.epoch_draws = sum(self.counts.values())
        # Exact, as typed: three epochs of 0.1 are 0.3.
        self.draws = max(
            1, math.floor(Fraction(str(stage.epochs)) * self.epoch_draws + Fraction(1, 2))
        )

    def chosen(self, name: str) -> NDArray[Any]:
        """Return the rows of a domain that the stage takes, as local numbers in any order."""
        count = self.counts[name]
        if self.settings.redraw:
            count *= -(-self.draws // self.epoch_draws)
        ranking = self.rankings[name]
        return ranking.rows(0, min(count, ranking.size))


class _Compiler:
    """The compilation of one plan: `solve` each stage in turn, then `lay_out` all of them."""

    def __init__(
        self,
        domains: Sequence[Domain],
        seed: int,
        global_batch: int,
        packing: Packing | None,
        selectors: Mapping[str, Selector],
        orders: Mapping[str, Order],
        amounts: Mapping[str, AmountRows],
    ) -> None:
        self.domains = {domain.name: domain for domain in domains}
        self.seed, self.global_batch, self.packing = seed, global_batch, packing
        self.selectors, self.orders, self.amounts = selectors, orders, amounts
        sizes = [domain.rows for domain in domains]
        self.offsets = dict(zip(self.domains, np.cumsum([0, *sizes]).tolist(), strict=False))
        self.dtype = row_dtype(sum(sizes))
        self.solved: list[_Solved] = []

    def solve(self, index: int, stage: Stage) -> _Solved:
        """Check a stage and count its rows."""
        key = f"dmt.stages[{index}]"
        for name in stage.mix:
            if name not in self.domains:
                fix = f"known domains: {', '.join(self.domains)}"
                raise DMTError(f"{key}.mix.{name}", "no dataset has this domain", fix)
        taken = [name for name in self.domains if name in stage.mix and stage.mix[name].value]
        if not taken:
            raise DMTError(f"{key}.mix", "the stage has no rows", "take more than 0 of a domain")
        for name in taken:
            if not self.domains[name].rows:
                raise DMTError(f"{key}.mix.{name}", "the domain has no rows", "check its datasets")
        if not (isinstance(stage.epochs, int | float) and 0 < stage.epochs < math.inf):
            raise DMTError(f"{key}.epochs", f"{stage.epochs!r} is not above zero", "write e.g. 3")
        for name in ("max_steps", "max_repeats"):
            value = getattr(stage, name)
            if value is not None and value < 1:
                raise DMTError(f"{key}.{name}", f"{value!r} is below 1", "write 1 or more")
        select = f"{key}.select"
        rankings = {
            name: Ranking(
                self.domains[name],
                stage.method(name),
                self.seed,
                select if isinstance(stage.select, str) else f"{select}.{name}",
                self.selectors,
                self._learned(name) if stage.method(name) == BY_LOSS else None,
            )
            for name in taken
        }
        order = find_order(stage.order, f"{key}.order", self.orders)
        if stage.order == "length_grouped" and self.lengths is None:
            raise DMTError(f"{key}.order", "the rows' lengths are unknown", "use shuffle")
        solved = _Solved(index, stage, key, rankings, order, self.amounts)
        if self.packing is None or stage.max_steps is None:  # packs are laid out step by step
            limit = (stage.max_steps or solved.draws) * self.global_batch
            check_size(f"{key}.epochs", min(solved.draws, limit), np.dtype(self.dtype).itemsize)
        return solved

    def _learned(self, name: str) -> NDArray[np.bool_]:
        """Return whether an earlier stage chose each row of a domain, shape (rows,)."""
        learned = np.zeros(self.domains[name].rows, bool)
        for earlier in self.solved:
            if name in earlier.counts:
                learned[earlier.chosen(name)] = True
        return learned

    def lay_out(self, solved: Sequence[_Solved]) -> TrainingPlan:
        """Order the rows of all stages, and count the rows and tokens of each domain."""
        offsets: NDArray[np.int64] | None = None
        if self.packing is None:
            order, steps = self._rows(solved)
            bounds = [self.global_batch * step for step in np.cumsum([0, *steps]).tolist()]
        else:
            order, offsets, steps = self._packs(solved, self.packing)
            packs = self.packing.packs_per_step * np.cumsum([0, *steps])
            bounds = offsets[packs].tolist()
        ends = np.cumsum(steps).tolist()
        stages = tuple(
            StagePlan(
                index=stage.index,
                name=stage.settings.name,
                start_step=end - count,
                end_step=end,
                warmup_steps=stage.settings.warmup(count),
                epoch_draws=stage.epoch_draws,
                settings=stage.settings,
                domains=domain_draws(
                    order[start:stop],
                    stage.counts,
                    self._masked_for(stage.settings),
                    self.offsets,
                    stage.settings.redraw,
                ),
            )
            for stage, count, end, start, stop in zip(
                solved, steps, ends, bounds, bounds[1:], strict=False
            )
        )
        return TrainingPlan(
            stages=stages,
            seed=self.seed,
            global_batch=self.global_batch,
            packs_per_step=self.packing.packs_per_step if self.packing else None,
            pools=tuple(PoolRecord.of(domain) for domain in self.domains.values()),
            order=order,
            pack_offsets=offsets,
            data=tuple(counts for domain in self.domains.values() for counts in domain.counts),
        )

    def _masked_for(self, stage: Stage) -> Mapping[str, Domain]:
        """Return the domains with the trained tokens under this stage's masking of inputs."""
        if stage.train_on_inputs is None:
            return self.domains
        return {
            name: replace(domain, trained=domain.trained_when_remasked)
            for name, domain in self.domains.items()
        }

    def _rows(self, solved: Sequence[_Solved]) -> tuple[Rows, list[int]]:
        """Return the order and the steps of each stage, without packing.

        The whole order is allocated once, and every epoch is written to its place in it.
        """
        batch, steps = self.global_batch, []
        for stage in solved:
            needed = -(-stage.draws // batch)
            steps.append(min(needed, stage.settings.max_steps or needed))
        order = np.empty(sum(steps) * batch, self.dtype)
        start = 0
        for stage, count in zip(solved, steps, strict=True):
            size = count * batch
            part = order[start : start + size]
            draws = min(stage.draws, size)
            for _ in self._epochs(stage, draws, part):
                pass
            part[draws:] = BLANK
            start += size
        return order, steps

    def _packs(
        self, solved: Sequence[_Solved], packing: Packing
    ) -> tuple[Rows, NDArray[np.int64], list[int]]:
        """Return the order, the pack offsets and the steps of each stage, with packing.

        Each epoch is ordered and packed on its own; every blank is a pack of its own.
        """
        if self.lengths is None:
            raise DMTError(
                "sample_packing", "the rows' lengths are unknown", "prepare the data again"
            )
        rows: list[Rows] = []
        sizes: list[NDArray[np.int64]] = []
        steps: list[int] = []
        for stage in solved:
            limit = (stage.settings.max_steps or 2**62) * packing.packs_per_step
            count = 0
            for epoch in self._epochs(stage, stage.draws, None):
                packed, widths = self._pack(epoch, packing)
                widths = widths[: limit - count]
                rows.append(packed[: widths.sum()])
                sizes.append(widths)
                count += len(widths)
                if count == limit:
                    break
            blanks = -count % packing.packs_per_step
            rows.append(np.full(blanks, BLANK, self.dtype))
            sizes.append(np.ones(blanks, np.int64))
            steps.append((count + blanks) // packing.packs_per_step)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
        return np.concatenate(rows), offsets, steps

    def _pack(self, rows: Rows, packing: Packing) -> tuple[Rows, NDArray[np.int64]]:
        """Return the rows pack by pack, and the number of rows of each pack."""
        lengths = self._lengths_of(rows)
        longest = int(lengths.max())
        if longest > packing.capacity:
            raise DMTError(
                "sequence_len",
                f"a row has {longest:,} tokens and a pack holds {packing.capacity:,}",
                "raise sequence_len or drop longer rows",
            )
        packs = packing.pack(lengths)
        sizes = np.fromiter(map(len, packs), np.int64, len(packs))
        positions = np.fromiter(chain.from_iterable(packs), np.int64, int(sizes.sum()))
        starts = np.cumsum(sizes) - sizes
        if not sizes.all() or not np.array_equal(np.sort(positions), np.arange(len(rows))):
            raise ValueError("the packer must place each row in one pack, and no pack empty")
        if np.add.reduceat(lengths[positions], starts, dtype=np.int64).max() > packing.capacity:
            raise ValueError(f"the packer made a pack of more than {packing.capacity} tokens")
        return rows[positions], sizes

    def _epochs(self, solved: _Solved, draws: int, out: Rows | None) -> Iterator[Rows]:
        """Yield the rows of each epoch in training order, and stop after `draws` rows in all.

        Args:
            solved: the stage.
            draws: total number of rows.
            out: the array to which the epochs are written one after another; None allocates an
                array for each epoch.
        """
        size, written = solved.epoch_draws, 0
        rows = np.empty(size, self.dtype)
        names = list(solved.counts)
        if solved.settings.order == "blocks":
            names = [name for name in solved.settings.mix if name in solved.counts]
        counts = np.array([solved.counts[name] for name in names], np.int64)
        for epoch in range(-(-draws // size)):
            if epoch == 0 or solved.settings.redraw:
                self._select(solved, names, epoch, rows)
            take = min(size, draws - written)
            place = out[written : written + take] if out is not None else np.empty(take, self.dtype)
            scratch = place if take == size else np.empty(size, self.dtype)
            unordered = Epoch(
                rows=rows,
                counts=counts,
                domains=tuple(names),
                key=derive_key(self.seed, "order", solved.index, epoch),
                global_batch=self.global_batch,
                offset=written % self.global_batch,
                lengths=self._lengths_of,
                out=scratch,
            )
            ordered = solved.order(unordered)
            if solved.settings.order not in ORDERS and not _same_rows(ordered, rows):
                raise DMTError(
                    f"{solved.key}.order",
                    f"order {solved.settings.order!r} must return the rows that it was given",
                    "repair the hook that registers it",
                )
            if ordered is not place:
                place[:] = ordered[:take]
            written += take
            yield place

    def _select(self, solved: _Solved, names: Sequence[str], epoch: int, rows: Rows) -> None:
        """Write the rows of an epoch into `rows`, one domain after another."""
        start = 0
        for name in names:
            count = solved.counts[name]
            first = epoch * count if solved.settings.redraw else 0
            solved.rankings[name].fill(rows[start : start + count], first, self.offsets[name])
            start += count

    @cached_property
    def lengths(self) -> Lengths | None:
        """Lengths by global row id, or None if some are unknown."""
        lengths = [domain.lengths for domain in self.domains.values() if domain.rows]
        known_lengths = [part for part in lengths if part is not None]
        if not known_lengths or len(known_lengths) < len(lengths):
            return None
        return np.concatenate(known_lengths)

    def _lengths_of(self, rows: Rows) -> Lengths:
        if self.lengths is None:
            raise ValueError("the rows' lengths are unknown")
        lengths: Lengths = self.lengths[rows]
        return lengths


def _check_names(stages: Sequence[Stage], domains: Sequence[Domain]) -> None:
    """Raise DMTError if there is no stage, or if two stages or two domains share a name."""
    if not stages:
        raise DMTError("dmt.stages", "there are no stages", "write at least one")
    for kind, names in (("domain", [d.name for d in domains]), ("stage", [s.name for s in stages])):
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate is not None:
            key = (
                "datasets"
                if kind == "domain"
                else f"dmt.stages[{len(names) - 1 - names[::-1].index(duplicate)}].name"
            )
            raise DMTError(key, f"two {kind}s are called {duplicate!r}", "give each its own name")


def _same_rows(ordered: Any, rows: Rows) -> bool:
    return np.array_equal(np.sort(np.asarray(ordered)), np.sort(rows))
