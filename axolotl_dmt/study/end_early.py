"""Ends domains of the stage before the last where their losses on held-out rows begin to rise.

A small domain that is trained for as many epochs as a large one overfits before the stage is over.
The stage is trained once as it is written and evaluated on its way. A domain whose loss rises
after its lowest point is given only the rows that were trained until then, and the stage is trained
again. The idea is that of mSFT (arXiv 2603.21606), which drops such a domain during the training;
here the answer is a plan that is fixed before the real run, so the order of its rows stays exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.draws import draws_until
from axolotl_dmt.plan.training_plan import StagePlan, TrainingPlan
from axolotl_dmt.results.results import Results, losses_by_domain
from axolotl_dmt.study.solvable import Solvable
from axolotl_dmt.study.solving import Probing

_KEY = "dmt.solve.end_early"
_MIX = ("mix", "weights", "temperature", "epochs", "max_repeats")


def end_early(probing: Probing, plan: TrainingPlan) -> Solvable:
    """Train the stage before the last and, if a domain's loss rises in it, a shorter one.

    Args:
        probing: how runs are trained.
        plan: the plan of all stages.

    Returns:
        The stages, the one before the last shortened if that lowered the losses of the domains
        that were ended early and raised no other loss by more than `dmt.solve.end_early`.

    Raises:
        DMTError: a run failed, or the stage cannot be shortened domain by domain.
    """
    solvable, console = probing.solvable, probing.console
    rise, name, stage = solvable.settings.end_early, solvable.before, plan.stages[-2]
    assert rise is not None
    check_stage(stage)
    whole = probing.stage_before()
    ends = {
        domain: step
        for domain, losses in _curves(whole, stage).items()
        if (step := turn(losses, rise)) is not None
    }
    if not ends:
        console.print(f"no loss rises in {name} by more than {rise:g}: no domain ends early")
        return solvable
    mix = shorter_mix(plan, stage, ends)
    notes = [
        f"{domain} ends early in {name}, after {mix[domain]:,} of {stage.domains[domain].draws:,} "
        f"rows: its loss on held-out rows rises from there on"
        for domain in ends
    ]
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)
    shorter = shortened(solvable, stage, mix, notes)
    losses = probing.of(shorter).stage_before().stages[-1].held_out_losses()
    before = whole.stages[-1].held_out_losses()
    changes = {domain: losses[domain] - before[domain] for domain in stage.domains}
    text = ", ".join(f"{domain} {change:+.4f}" for domain, change in changes.items())
    if is_better(changes, ends, rise):
        console.print(f"losses after the shorter {name}: {text}", highlight=False, soft_wrap=True)
        return shorter
    reason = f"{name} stays as it is written, since ending early changes its losses by {text}"
    console.print(reason, highlight=False, soft_wrap=True)
    return solvable


def check_stage(stage: StagePlan) -> None:
    """Refuse a stage whose domains cannot be given fewer rows each.

    Raises:
        DMTError: the stage ends by a number of steps, keeps an optimiser state, or repeats a part
            of a domain.
    """
    if stage.index > 0 and not stage.settings.reset_optimizer:
        problem = f"{stage.name} continues the optimiser state of the stage before it"
        raise DMTError(_KEY, problem, "remove end_early, or reset_optimizer: false")
    if stage.settings.max_steps is not None:
        problem = f"{stage.name} ends after max_steps, not after its rows"
        raise DMTError(_KEY, problem, "write epochs instead of max_steps")
    for name, draw in stage.domains.items():
        if draw.rows < draw.available and draw.draws > draw.rows:
            problem = f"{stage.name} trains {draw.rows:,} rows of {name} more than once"
            raise DMTError(_KEY, problem, f"let it take all rows of {name}, or remove end_early")


def turn(losses: Mapping[int, float], rise: float) -> int | None:
    """Return the step of the lowest loss if the last one is more than `rise` above it, else None.

    Args:
        losses: {step: loss}, with finite losses.
        rise: the rise in nats per token that counts.
    """
    if not losses:
        return None
    lowest = min(losses, key=lambda step: (losses[step], step))
    return lowest if losses[max(losses)] - losses[lowest] > rise else None


def shorter_mix(plan: TrainingPlan, stage: StagePlan, ends: Mapping[str, int]) -> dict[str, int]:
    """Return the rows of each domain if some end early.

    Args:
        plan: the plan.
        stage: one of its stages.
        ends: {domain: the step of the stage, from 1, after which it ends}.
    """
    rows = {name: draw.draws for name, draw in stage.domains.items()}
    for name, step in ends.items():
        rows[name] = max(1, draws_until(plan, stage, step)[name])
    return rows


def shortened(
    solvable: Solvable, stage: StagePlan, mix: Mapping[str, int], notes: Sequence[str]
) -> Solvable:
    """Return the stages with these rows of each domain in the one before the last.

    Rows that were repeated in several epochs are repeated within one.
    """
    written = {key: value for key, value in solvable.stages[-2].items() if key not in _MIX}
    repeats = max(math.ceil(rows / stage.domains[name].available) for name, rows in mix.items())
    entry: dict[str, Any] = {
        **written,
        "mix": {name: {"rows": rows} for name, rows in mix.items()},
        "epochs": 1,
        **({"max_repeats": repeats} if repeats > 1 else {}),
    }
    return replace(
        solvable, stages=(*solvable.stages[:-2], entry, solvable.stages[-1]), notes=tuple(notes)
    )


def is_better(changes: Mapping[str, float], ended: Mapping[str, int], rise: float) -> bool:
    """Whether the losses of the domains that ended early fell, and no other rose much."""
    return all(change < 0 if name in ended else change <= rise for name, change in changes.items())


def _curves(results: Results, stage: StagePlan) -> dict[str, dict[int, float]]:
    """Return {domain: {step of the stage: loss}} of the domains that the stage trains.

    Raises:
        DMTError: a domain of the stage has no held-out rows.
    """
    curves: dict[str, dict[int, float]] = {name: {} for name in stage.domains}
    for point in results.held_out_curve:
        for domain, loss in losses_by_domain(point["losses"]).items():
            if domain in curves and math.isfinite(loss):
                curves[domain][int(point["step"])] = loss
    for name, curve in curves.items():
        if not curve:
            problem = f"{name} has no losses on held-out rows"
            raise DMTError(_KEY, problem, "write dmt.val_rows, or remove end_early")
    return curves
