"""The compiled plan: which rows are trained at each optimiser step, in memory and on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json, replacing, write_json
from axolotl_dmt.plan.inputs import Rows, Stage
from axolotl_dmt.plan.pool_record import PoolRecord, digest_array, hash_parts
from axolotl_dmt.plan.row_counts import RowCounts

SCHEMA: Final = 1
BLANK: Final = -1
"""The row id of a blank: a row with every label masked, which adds nothing to the loss."""
_LEARNING = ("learning_rate", "lr_scheduler", "weight_decay", "reset_optimizer", "freeze")
_LEARNING_IF_SET = ("new_adapter", "train_on_inputs")
"""Settings that the fingerprint depends on only if a stage sets them."""


@dataclass(frozen=True, kw_only=True)
class DomainDraw:
    """The rows and tokens that a stage takes from one domain.

    Args:
        available: rows of the domain.
        rows: distinct rows that are trained on.
        draws: rows that are trained on over all epochs of the stage, repeats included.
        tokens: tokens of all draws; None if lengths are unknown.
        trained_tokens: tokens of all draws that count in the loss; None if unknown.
        max_repeats: how often the most frequent row is trained on over all epochs of the stage.
        share: expected share of the stage's loss, from 0 to 1: the domain's share of the trained
            tokens, or of the draws if trained tokens are unknown.
    """

    available: int
    rows: int
    draws: int
    tokens: int | None
    trained_tokens: int | None
    max_repeats: int
    share: float


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage of a plan: optimiser steps start_step .. end_step-1, counted from 0.

    Args:
        index: 0-based number of the stage.
        name: the name of the stage.
        start_step: the first step of the stage.
        end_step: the step after its last one.
        warmup_steps: how many of these steps are warm-up.
        epoch_draws: rows of one whole epoch.
        settings: the resolved settings from which the stage was compiled.
        domains: what the stage takes from each domain that it uses.
    """

    index: int
    name: str
    start_step: int
    end_step: int
    warmup_steps: int
    epoch_draws: int
    settings: Stage
    domains: Mapping[str, DomainDraw]

    @property
    def steps(self) -> int:
        """Optimiser steps of the stage."""
        return self.end_step - self.start_step

    @property
    def draws(self) -> int:
        """Rows that the stage trains on, without blanks."""
        return sum(draw.draws for draw in self.domains.values())

    @property
    def tokens(self) -> int | None:
        """Tokens of these rows, without padding; None where a domain's are unknown."""
        counts = [draw.tokens for draw in self.domains.values()]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A compiled schedule.

    Rows have global ids: the pools are numbered one after another, in the order of `pools`. The id
    -1 is a blank.

    Args:
        stages: in training order.
        seed: the plan's seed.
        global_batch: rows of an optimiser step, over all ranks and micro batches.
        packs_per_step: packs of an optimiser step if rows are packed, else None.
        pools: records of the domains' pools.
        order: row ids in training order. Without packing, step s trains
            order[s * global_batch : (s + 1) * global_batch].
        pack_offsets: with packing, pack p is order[pack_offsets[p] : pack_offsets[p + 1]], and
            step s trains packs s * packs_per_step .. (s + 1) * packs_per_step - 1. int64.
        data: what became of the rows of each dataset; empty if unknown.
    """

    stages: tuple[StagePlan, ...]
    seed: int
    global_batch: int
    packs_per_step: int | None = None
    pools: tuple[PoolRecord, ...]
    order: Rows
    pack_offsets: NDArray[np.int64] | None = None
    data: tuple[RowCounts, ...] = ()

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all stages."""
        return self.stages[-1].end_step

    def stage_at(self, step: int) -> int:
        """Return the index of the stage that trains a step, counted from 0.

        Steps after the end of the plan belong to the last stage.
        """
        ends = [stage.end_step for stage in self.stages]
        return min(int(np.searchsorted(ends, step, side="right")), len(ends) - 1)

    def step_bounds(self, stage: StagePlan) -> tuple[int, int]:
        """Return where the stage's rows start and end in `order`, blanks included."""
        if self.pack_offsets is None or self.packs_per_step is None:
            return stage.start_step * self.global_batch, stage.end_step * self.global_batch
        start, end = stage.start_step * self.packs_per_step, stage.end_step * self.packs_per_step
        return int(self.pack_offsets[start]), int(self.pack_offsets[end])

    def starting_at(self, name: str) -> TrainingPlan:
        """Return the plan of the named stage and those after it.

        It is the plan of a run that starts from the weights that the earlier stages produced. Its
        rows and their order are the same as in the whole plan.

        Raises:
            KeyError: the plan has no stage of that name.
        """
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise KeyError(name)
        first = self.stages[names.index(name)]
        start, end = self.step_bounds(first)[0], len(self.order)
        offsets = self.pack_offsets
        if offsets is not None and self.packs_per_step is not None:
            offsets = offsets[first.start_step * self.packs_per_step :] - start
        return replace(
            self,
            stages=tuple(
                replace(
                    stage,
                    index=stage.index - first.index,
                    start_step=stage.start_step - first.start_step,
                    end_step=stage.end_step - first.start_step,
                )
                for stage in self.stages[first.index :]
            ),
            order=self.order[start:end],
            pack_offsets=offsets,
        )

    @cached_property
    def fingerprint(self) -> str:
        """A hex digest that changes when, and only when, what is trained changes.

        It depends on the seed, the global batch and the rows of every step and pack in order. It
        depends on the step at which each stage ends, its learning rate, schedule, warm-up steps,
        weight decay, optimiser reset, frozen parameters, fresh adapter and masking of inputs. And
        it depends on the number of rows of each domain that is used, the labels and sizes of its
        datasets, and the lengths and trained lengths of its rows.

        It does not depend on the names of stages, on how an amount or a warm-up was written (1/4 of
        400 rows is {rows: 100}), or on domains and columns that no stage uses.
        """
        stages = [
            {"end": s.end_step, "warmup": s.warmup_steps}
            | {name: getattr(s.settings, name) for name in _LEARNING}
            | {n: value for n in _LEARNING_IF_SET if (value := getattr(s.settings, n)) is not None}
            for s in self.stages
        ]
        used = self._used_domains()
        pools = [[p.rows, p.datasets, p.digest] for p in self.pools if p.name in used]
        packs = None if self.pack_offsets is None else digest_array(self.pack_offsets)
        parts = [self.seed, self.global_batch, self.packs_per_step, stages, pools]
        return hash_parts([SCHEMA, *parts, self._order_digest(used), packs])

    def to_json(self) -> dict[str, Any]:
        """Return the plan's documented summary, schema 1: counts and settings, no rows."""
        stages = [
            {
                "name": stage.name,
                "steps": stage.steps,
                "epochs": stage.settings.epochs,
                "learning_rate": stage.settings.learning_rate,
                "domains": {name: asdict(draw) for name, draw in stage.domains.items()},
            }
            for stage in self.stages
        ]
        return {
            "schema": SCHEMA,
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "global_batch": self.global_batch,
            "total_steps": self.total_steps,
            "stages": stages,
        } | ({"data": [asdict(counts) for counts in self.data]} if self.data else {})

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write plan.json, order.npy and, with packing, pack_offsets.npy into a folder.

        Each file is replaced atomically, plan.json last. After a crash the folder therefore holds
        the old plan, the new plan, or files that `load` refuses.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _replace_array(folder / "order.npy", self.order)
        if self.pack_offsets is not None:
            _replace_array(folder / "pack_offsets.npy", self.pack_offsets)
        plain = self.to_json()
        plain["packs_per_step"] = self.packs_per_step
        plain["pools"] = [pool.to_plain() for pool in self.pools]
        for summary, stage in zip(plain["stages"], self.stages, strict=True):
            summary["settings"] = stage.settings.to_plain()
            for name in ("start_step", "end_step", "warmup_steps", "epoch_draws"):
                summary[name] = getattr(stage, name)
        write_json(folder / "plan.json", plain)
        if self.pack_offsets is None:
            (folder / "pack_offsets.npy").unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> TrainingPlan:
        """Read a saved plan.

        Its arrays are memory-mapped, so that the processes of a machine share them.

        Raises:
            DMTError: the folder holds no complete plan, or files of different plans.
        """
        folder, fix = Path(folder), "compile the plan again"
        try:
            plain = read_json(folder / "plan.json")
            if plain.get("schema") != SCHEMA:
                raise DMTError(str(folder), f"the plan has schema {plain.get('schema')!r}", fix)
            packed = plain["packs_per_step"] is not None
            plan = cls(
                stages=tuple(
                    _stage_from_plain(index, stage) for index, stage in enumerate(plain["stages"])
                ),
                seed=plain["seed"],
                global_batch=plain["global_batch"],
                packs_per_step=plain["packs_per_step"],
                pools=tuple(map(PoolRecord.from_plain, plain["pools"])),
                order=np.load(folder / "order.npy", mmap_mode="r"),
                pack_offsets=np.load(folder / "pack_offsets.npy", mmap_mode="r")
                if packed
                else None,
                data=tuple(map(RowCounts.from_json, plain.get("data") or ())),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, DMTError):
                raise
            problem = f"holds no complete plan ({type(error).__name__}: {error})"
            raise DMTError(str(folder), problem, fix) from error
        if plan.fingerprint != plain.get("fingerprint"):
            raise DMTError(str(folder), "the plan's files do not belong together", fix)
        return plan

    def changes(self, former: TrainingPlan) -> list[str]:
        """Return one line for each change since a former plan; an empty list if nothing changed."""
        if self.fingerprint == former.fingerprint:
            return []
        lines = _differences("", self, former, ("seed", "global_batch", "packs_per_step"))
        used = self._used_domains() | former._used_domains()
        pools = {pool.name: pool for pool in former.pools}
        for pool in self.pools:
            before = pools.get(pool.name)
            if before is None or pool.name not in used:
                continue
            lines += _differences(f"domain {pool.name}: ", pool, before, ("rows", "datasets"))
            if pool.digest != before.digest and pool.rows == before.rows:
                lines.append(f"domain {pool.name}: the lengths of its rows changed")
        if len(self.stages) != len(former.stages):
            lines.append(f"stages: was {len(former.stages)}, is {len(self.stages)}")
        for now, then in zip(self.stages, former.stages, strict=False):
            prefix = f"stage {now.index + 1} ({now.name}): "
            lines += _differences(prefix, now, then, ("steps", "warmup_steps"))
            lines += _differences(prefix, now.settings, then.settings, _LEARNING + _LEARNING_IF_SET)
            for name in {**then.domains, **now.domains}:
                counts = [s.domains[name].draws if name in s.domains else 0 for s in (now, then)]
                if counts[0] != counts[1]:
                    lines.append(f"{prefix}draws of {name}: was {counts[1]:,}, is {counts[0]:,}")
        return lines or ["the selection or the order of the rows"]

    def _used_domains(self) -> set[str]:
        """Return the names of the domains that some stage uses."""
        return {name for stage in self.stages for name in stage.domains}

    def _order_digest(self, used: set[str]) -> str:
        """Return the digest of the order, with row ids that count only the pools in use."""
        sizes = np.array([pool.rows for pool in self.pools], np.int64)
        unused = np.array([pool.name not in used for pool in self.pools])
        starts = np.cumsum(sizes) - sizes
        shifts = np.cumsum(np.where(unused, sizes, 0))
        if not shifts.any():
            return digest_array(self.order)
        dtype = row_dtype(int(sizes[~unused].sum()))

        def compact(rows: Rows) -> Rows:
            shift = shifts[np.searchsorted(starts, rows, side="right") - 1]
            return np.where(rows < 0, rows, rows - shift).astype(dtype)

        return digest_array(self.order, compact)


def row_dtype(rows: int) -> type[np.int32] | type[np.int64]:
    """Return the integer type of row ids below `rows`: 32 bits if they fit."""
    return np.int32 if rows < 2**31 else np.int64


def _replace_array(path: Path, array: NDArray[Any]) -> None:
    # np.save would add .npy to the temporary path, but not to a file.
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _stage_from_plain(index: int, plain: Mapping[str, Any]) -> StagePlan:
    names = ("name", "start_step", "end_step", "warmup_steps", "epoch_draws")
    return StagePlan(
        index=index,
        settings=Stage.from_plain(plain["settings"]),
        domains={name: DomainDraw(**draw) for name, draw in plain["domains"].items()},
        **{name: plain[name] for name in names},
    )


def _differences(prefix: str, now: Any, then: Any, names: Sequence[str]) -> list[str]:
    """Return a line for each named attribute whose value changed."""
    pairs = [(name, getattr(then, name), getattr(now, name)) for name in names]
    return [f"{prefix}{name}: was {a}, is {b}" for name, a, b in pairs if a != b]
