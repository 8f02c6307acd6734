"""Warnings on a plan that can be trained, but is probably not what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.plan.amounts import Amount
from axolotl_dmt.plan.training_plan import StagePlan, TrainingPlan

FEWEST_REPLAYED = 64
"""A stage that replays fewer rows than this of a domain gets a warning."""
PEAK_AT_LAST_STEP = ("rex", "cosine_warmup_with_min_lr")
"""Schedulers that reach their peak at the last step if the warm-up is as long as the stage."""
ENDS_IN_STAGE = ("one_cycle", "rex")
"""Schedulers that have no curve if the warm-up is too long."""


def plan_warnings(plan: TrainingPlan) -> list[str]:
    """Return a sentence for each probable mistake.

    These are stages that `max_steps` ends within their first epoch, replays of a handful of rows,
    and warm-ups that are too long.
    """
    cut_short = [stage for stage in plan.stages if _ends_within_first_epoch(stage)]
    warnings = [
        f"stage {stage.name} ends at max_steps {stage.settings.max_steps}: it trains on "
        f"{stage.draws:,} of the {_number(stage.epoch_draws, 'row')} of its mix"
        for stage in cut_short
    ]
    names = {stage.name for stage in cut_short}
    available = {pool.name: pool.rows for pool in plan.pools}
    mixes = [(stage.name, stage.settings.mix) for stage in plan.stages]
    for name, domain, fraction in replayed_fractions(mixes):
        warning = handful(name, domain, fraction, available[domain])
        if warning and name not in names:  # a stage cut short replays fewer rows than its fraction
            warnings.append(warning)
    return warnings + [
        f"stage {stage.name} has {_number(stage.steps, 'step')}, warm-up {stage.warmup_steps}: its "
        f"learning rate does not reach the peak of {stage.settings.learning_rate:g}; set "
        "warmup_steps or warmup_ratio"
        for stage in plan.stages
        if _warmup_is_too_long(stage) and stage.settings.lr_scheduler != "constant"
    ]


def check_warmup(plan: TrainingPlan) -> None:
    """Refuse a warm-up for which a stage's scheduler has no curve.

    Raises:
        DMTError: the warm-up is not shorter than the stage, and the scheduler requires that.
    """
    errors = [
        DMTError(
            "warmup_steps",
            f"stage {stage.name} has {_number(stage.steps, 'step')}, warm-up {stage.warmup_steps}: "
            f"{stage.settings.lr_scheduler} needs a warm-up within the stage",
            f"set it to less than {stage.steps}, in the stage or beside dmt",
        )
        for stage in plan.stages
        if _warmup_is_too_long(stage) and stage.settings.lr_scheduler in ENDS_IN_STAGE
    ]
    if errors:
        raise DMTErrors(errors)


def _ends_within_first_epoch(stage: StagePlan) -> bool:
    epochs = min(1, stage.settings.epochs)
    return stage.steps == stage.settings.max_steps and stage.draws < int(stage.epoch_draws * epochs)


def _warmup_is_too_long(stage: StagePlan) -> bool:
    extra = int(stage.settings.lr_scheduler in PEAK_AT_LAST_STEP)
    return stage.warmup_steps >= stage.steps + extra


def handful(stage: str, domain: str, k: Fraction, rows: int) -> str | None:
    """Return a warning if a fraction of a domain is a handful of rows, else None.

    Args:
        stage: the name of the stage that replays them.
        domain: the name of the domain.
        k: the fraction.
        rows: the rows of the domain.
    """
    replayed = max(1, int(k * rows + Fraction(1, 2)))
    if replayed >= FEWEST_REPLAYED or not k or k == 1 or not rows:
        return None
    start = f"stage {stage} replays {_number(replayed, 'row')} of {domain}: {Amount('fraction', k)}"
    if rows <= FEWEST_REPLAYED:
        return f"{start} of its {rows}"
    enough = Fraction(1, rows // FEWEST_REPLAYED)
    return f"{start} of its {rows:,}; write {enough} to replay {FEWEST_REPLAYED} or more"


def replayed_fractions(
    mixes: Sequence[tuple[str, Mapping[str, Amount]]],
) -> Iterator[tuple[str, str, Fraction]]:
    """Yield (stage, domain, fraction) for each domain of which a stage replays a fraction.

    Args:
        mixes: the name and the mix of each stage, in training order.
    """
    learned: set[str] = set()
    for stage, mix in mixes:
        used = [name for name, amount in mix.items() if amount.value]
        for name in used:
            if name in learned and mix[name].unit == "fraction":
                yield stage, name, mix[name].value
        learned.update(used)


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s'[: count != 1]}"
