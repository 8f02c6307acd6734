"""Compare the packing efficiency of a two-stage plan with plain Axolotl on the same rows.

    python benchmarks/packing.py

Plain Axolotl is its `MultipackBatchSampler` on each stage's rows in random order, one epoch at a
time, as two separate trainings would pack them; it drops the rows that do not fill its last batch.
The plan packs with the same first-fit function, epoch by epoch. It fills the last step of a stage
with blanks and drops nothing; blanks count as unused capacity. Row lengths are log-normal, and the
domains have a tenth of the paper's sizes (math 11,014, code 2,002, general 8,606).
"""

from __future__ import annotations

import numpy as np
import torch
from axolotl.utils.samplers.multipack import MultipackBatchSampler, pack_parallel
from torch.utils.data import RandomSampler

from axolotl_dmt.api import Domain, Packing, Stage, TrainingPlan, compile_plan, parse_amount

CAPACITY, PACKS_PER_STEP, EPOCHS = 2048, 16, 3
SIZES = {"math": (11_014, 180), "code": (2_002, 120), "general": (8_606, 700)}


def pools() -> list[Domain]:
    random = np.random.default_rng(0)
    made = []
    for name, (rows, middle) in SIZES.items():
        lengths = np.exp(random.normal(np.log(middle), 0.7, rows)).astype(np.int32)
        made.append(Domain(name=name, rows=rows, lengths=np.clip(lengths, 16, CAPACITY)))
    return made


def pack(lengths: np.ndarray) -> list[list[int]]:
    return pack_parallel(
        lengths, bin_capacity=CAPACITY, group_size=100_000, bin_size=CAPACITY, num_processes=1
    )


def plan_efficiency(plan: TrainingPlan, index: int) -> float:
    stage = plan.stages[index]
    tokens = sum(draw.tokens or 0 for draw in stage.domains.values())
    return tokens / (stage.steps * PACKS_PER_STEP * CAPACITY)


def plain_efficiency(lengths: np.ndarray) -> float:
    torch.manual_seed(0)
    sampler = MultipackBatchSampler(
        RandomSampler(range(len(lengths))),
        batch_size=PACKS_PER_STEP,
        batch_max_len=CAPACITY,
        lengths=lengths,
        bin_size=CAPACITY,
        num_processes=1,
    )
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        sampler.generate_batches(set_stats=True)
    return sampler.efficiency()


def main() -> None:
    domains = pools()
    lengths = np.concatenate([domain.lengths for domain in domains if domain.lengths is not None])
    mixes = {
        "specialise": {"math": "all", "code": "all"},
        "generalise": {"general": "all", "math": "1/256", "code": "1/256"},
    }
    stages = [
        Stage(
            name=name,
            mix={domain: parse_amount(amount, "") for domain, amount in mix.items()},
            epochs=EPOCHS,
            learning_rate=1e-5,
        )
        for name, mix in mixes.items()
    ]
    packing = Packing(CAPACITY, PACKS_PER_STEP, pack)
    plan = compile_plan(stages=stages, domains=domains, seed=1, global_batch=16, packing=packing)
    print("| stage | rows an epoch | plan | plain Axolotl | difference |")
    print("|---|---|---|---|---|")
    for stage in plan.stages:
        start, _ = plan.step_bounds(stage)
        rows = np.asarray(plan.order[start : start + stage.epoch_draws])
        ours, plain = plan_efficiency(plan, stage.index), plain_efficiency(lengths[rows])
        print(
            f"| {stage.name} | {stage.epoch_draws:,} | {ours:.2%} | {plain:.2%} "
            f"| {100 * (ours - plain):+.2f} points |"
        )


if __name__ == "__main__":
    main()
