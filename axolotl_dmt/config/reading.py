"""Reads the schedule out of a raw YAML: the `dmt:` block, the domains, the stages and the seed.

`read_schedule` is the one way from a YAML to resolved stages. It reads the raw YAML and not the
configuration that Axolotl validates later, because the keys that the stages need must be set before
that validation. It changes nothing and imports neither Axolotl nor torch.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axolotl_dmt.config.advice import in_quotes, misread, shown
from axolotl_dmt.config.args import AUTO, DEFAULT_K, DEFAULT_SEED, DMTConfig, read_config
from axolotl_dmt.config.axolotl_numbers import read_number, wrong_numbers
from axolotl_dmt.config.resolve import StageDefaults, resolve_stages
from axolotl_dmt.config.run_keys import default_max_steps, default_order, flag
from axolotl_dmt.errors import DMTError, DMTErrors, Problems, closest
from axolotl_dmt.hooks.calls import (
    load_hooks,
    registered_amounts,
    registered_orders,
    registered_selectors,
)
from axolotl_dmt.plan.compiler import compile_plan
from axolotl_dmt.plan.inputs import Domain, Packing, Stage
from axolotl_dmt.plan.training_plan import TrainingPlan

DOMAIN_NAME = re.compile(r"\w(?:[\w .+-]{0,62}[\w+])?")
"""A valid name of a domain, which appears in tables, in keys of metrics and in file names."""

_EXAMPLE = "add one, for example domain: math"

NO_MODEL = "your-model"
"""The `base_model` of a recipe whose run started from a local model."""


@dataclass(frozen=True, kw_only=True)
class ScheduleParts:
    """The parts that a schedule and an incomplete reading of one have in common.

    Attributes:
        dataset_domains: the domain of each entry of `datasets`, in the YAML's order.
        defaults: the settings that the stages inherit from Axolotl's own keys.
        stages: in training order, every default filled in and adjusted by the hooks.
        seed: the seed of selection and order.
    """

    dataset_domains: tuple[str, ...]
    defaults: StageDefaults
    stages: tuple[Stage, ...]
    seed: int

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of the domains, each once, in the order of the YAML's datasets."""
        return tuple(dict.fromkeys(self.dataset_domains))


@dataclass(frozen=True, kw_only=True)
class ResolvedSchedule(ScheduleParts):
    """A schedule that was read without a mistake; see `ScheduleParts` for its other attributes.

    Attributes:
        config: the `dmt:` block; `hooks` holds absolute paths, and `k` is the default k if the YAML
            says `k: auto`.
    """

    config: DMTConfig

    def compile_plan(
        self, domains: Sequence[Domain], *, global_batch: int, packing: Packing | None = None
    ) -> TrainingPlan:
        """Compile the plan.

        Args:
            domains: the rows of every domain, in the order of `self.domains`.
            global_batch: rows of an optimiser step over all devices.
            packing: how rows are packed; None makes each row a sequence of its own.

        Raises:
            DMTError: a mistake that only the rows show.
        """
        plan = compile_plan(
            stages=self.stages,
            domains=domains,
            seed=self.seed,
            global_batch=global_batch,
            packing=packing,
            selectors=registered_selectors(),
            orders=registered_orders(),
            amounts=registered_amounts(),
        )
        start = self.config.start_stage
        return plan.starting_at(start) if start else plan


@dataclass(frozen=True, kw_only=True)
class Reading(ScheduleParts):
    """As much of a schedule as could be read, so that later checks can report their mistakes too.

    `dataset_domains` is empty if a dataset has no valid domain, and `stages` if they could not be
    resolved. `defaults` are placeholders if one of Axolotl's own keys holds a mistake.

    Attributes:
        config: the `dmt:` block without its unreadable parts; None if nothing is left of it.
        block_problems: the mistakes that made parts of the `dmt:` block unreadable.
        problems: all other mistakes.
    """

    config: DMTConfig | None
    block_problems: tuple[DMTError, ...]
    problems: tuple[DMTError, ...]

    def mistakes(self, others: Iterable[DMTError] = ()) -> list[DMTError]:
        """Return every mistake once.

        Args:
            others: the mistakes that later checks of the same YAML reported.

        Returns:
            The mistakes, without those that only follow from an unreadable part of the block.
        """
        unreadable = [problem.key for problem in self.block_problems]
        return [
            *self.block_problems,
            *(
                problem
                for problem in (*self.problems, *others)
                if not any(within(problem.key, key) for key in unreadable)
            ),
        ]

    def schedule(self) -> ResolvedSchedule:
        """Return the schedule.

        Raises:
            DMTError: the YAML has mistakes; the error lists all of them.
        """
        if mistakes := self.mistakes():
            raise DMTErrors(mistakes)
        assert self.config is not None, "a block that cannot be read is a mistake"
        return ResolvedSchedule(
            config=self.config,
            dataset_domains=self.dataset_domains,
            defaults=self.defaults,
            stages=self.stages,
            seed=self.seed,
        )


def read_schedule(raw: Mapping[str, Any], *, weight_decay: float | None = None) -> Reading:
    """Read the schedule of a YAML, and collect every mistake in it.

    Nothing else calls the `adjust_stages` hook, so it is called once for each reading.

    Args:
        raw: the YAML as a mapping; it is not changed.
        weight_decay: the trainer's weight decay if the YAML sets none; None leaves it to the
            trainer.

    Returns:
        What could be read, with the mistakes. This function raises no `DMTError`.
    """
    problems = Problems()
    hooks = problems.attempt(load_named_hooks, raw.get("dmt"))
    config, block_problems = _read_block(raw)
    if config is not None:
        config = config.model_copy(update={"hooks": hooks or []})
        if config.k == AUTO:
            config = config.model_copy(update={"k": DEFAULT_K})
    domains = tuple(problems.attempt(dataset_domains, raw) or ())
    defaults = problems.attempt(stage_defaults, raw, weight_decay) or PLACEHOLDER_DEFAULTS
    seed = problems.attempt(_seed, raw, config)
    stages = None
    if config is not None and domains:
        stages = problems.attempt(resolve_stages, config, tuple(dict.fromkeys(domains)), defaults)
        problems.attempt(check_start_stage, config, stages or ())
    return Reading(
        config=config,
        dataset_domains=domains,
        defaults=defaults,
        stages=stages or (),
        seed=DEFAULT_SEED if seed is None else seed,
        block_problems=tuple(block_problems),
        problems=tuple(problems),
    )


def load_named_hooks(block: Any) -> list[str]:
    """Load the hooks that `dmt.hooks` names, in place of those that an earlier YAML named.

    Returns:
        The names, with each file's path absolute: a Ray worker starts in another folder.

    Raises:
        DMTError: a hook cannot be loaded.
    """
    names = (isinstance(block, Mapping) and block.get("hooks")) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []  # reading the block reports it
    return load_hooks(names)


def _read_block(raw: Mapping[str, Any]) -> tuple[DMTConfig | None, list[DMTError]]:
    if "dmt" not in raw:
        return None, [DMTError("dmt", "there is no dmt block", "write dmt: {strategy: dmt}")]
    return read_valid_part(raw["dmt"])


def read_valid_part(block: Any) -> tuple[DMTConfig | None, list[DMTError]]:
    """Read a `dmt:` block without its mistakes, so that the valid part can be checked further.

    Args:
        block: the mapping under `dmt`; it is not changed.

    Returns:
        The configuration, None if no part of the block is valid, and every mistake.
    """
    valid_part = {"dmt": copy.deepcopy(block)}
    problems: list[DMTError] = []
    for _ in range(10):  # some mistakes appear only after others were removed
        try:
            return read_config(valid_part["dmt"]), problems
        except DMTErrors as error:
            mistakes = list(error.errors)
        except DMTError as error:
            mistakes = [error]
        reported = [problem.key for problem in problems]
        problems += [p for p in mistakes if not any(within(p.key, key) for key in reported)]
        if not all(_remove(valid_part, mistake.key) for mistake in reversed(mistakes)):
            break
    return None, problems


def _remove(block: Any, key: str) -> bool:
    """Remove a key from nested settings; return False if it is not there."""
    parts = re.findall(r"\[(\d+)\]|([^.[\]]+)", key)
    *parents, last = (int(index) if index else name for index, name in parts)
    if not parents:  # the whole block
        return False
    try:
        for part in parents:
            block = block[part]
        del block[last]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def within(key: str, other: str) -> bool:
    """Return whether one of the two keys lies within the other, or both are the same."""
    short, long = sorted((key, other), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))


def dataset_domains(raw: Mapping[str, Any]) -> list[str]:
    """Return the domain of each entry of `datasets`.

    Raises:
        DMTError: there are no datasets, or some have no valid domain; the error lists all of them.
    """
    entries = raw.get("datasets") or []
    if not entries:
        raise DMTError("datasets", "is empty", "list your datasets, each with a domain")
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        fix = "list entries such as - {path: math.jsonl, type: alpaca, domain: math}"
        raise DMTError("datasets", "is not a list of entries", fix)
    # A Ray worker receives a configuration whose domains the plugin has already moved.
    block = raw.get("dmt")
    moved = block.get("dataset_domains") if isinstance(block, Mapping) else None
    if moved and len(moved) == len(entries):
        return list(moved)
    problems = Problems()
    domains = [
        problems.attempt(_domain, entry, f"datasets[{index}].domain")
        for index, entry in enumerate(entries)
    ]
    if problems:
        raise DMTErrors(problems)
    return [str(domain) for domain in domains]


def _domain(entry: Mapping[str, Any], key: str) -> str:
    domain, path = entry.get("domain"), entry.get("path", "the entry")
    if domain is None:
        close = closest("domain", [str(name) for name in entry])
        fix = f"write domain in place of {close}" if close else _EXAMPLE
        raise DMTError(key, f"{path} has no domain", fix)
    if isinstance(domain, (list, dict)):
        raise DMTError(key, f"{path}: {shown(domain)} is not a name", "write one name as text")
    if not isinstance(domain, str) or not DOMAIN_NAME.fullmatch(domain):
        is_text = isinstance(domain, str)
        fix = "use letters, digits, '_', '-', '.' and spaces between them, 64 at most"
        problem = f"{path}: domain {shown(domain)} is not a valid name{misread(domain)}"
        raise DMTError(key, problem, fix if is_text else in_quotes(key, domain))
    return domain


PLACEHOLDER_DEFAULTS = StageDefaults(
    epochs=1.0,
    learning_rate=1e-5,
    lr_scheduler="cosine",
    warmup_steps=None,
    warmup_ratio=None,
    weight_decay=None,
)
"""Used if Axolotl's own settings hold a mistake, so that everything else is still checked."""


def stage_defaults(raw: Mapping[str, Any], weight_decay: float | None = None) -> StageDefaults:
    """Return what stages inherit from Axolotl's own keys, as Axolotl's validation reads them.

    Args:
        raw: the configuration, raw or validated.
        weight_decay: the weight decay if the configuration has no such key.

    Raises:
        DMTError: the learning rate is missing, or a value is not a number or out of range; the
            error lists every such value.
    """
    if mistakes := wrong_numbers(raw):
        raise DMTErrors(mistakes)
    rate, warmup = read_number(raw, "learning_rate"), read_number(raw, "warmup_steps")
    if rate is None:
        raise DMTError("learning_rate", "is missing", "write learning_rate: 2e-5")
    scheduler = raw.get("lr_scheduler")
    if isinstance(scheduler, bool):
        problem = f"{shown(scheduler)} is not a scheduler{misread(scheduler)}"
        raise DMTError("lr_scheduler", problem, "write lr_scheduler: cosine")
    return StageDefaults(
        epochs=read_number(raw, "num_epochs") or 1.0,
        learning_rate=rate,
        lr_scheduler=str(getattr(scheduler, "value", scheduler) or "cosine"),
        warmup_steps=None if warmup is None else int(warmup),
        warmup_ratio=read_number(raw, "warmup_ratio"),
        weight_decay=read_number(raw, "weight_decay") if "weight_decay" in raw else weight_decay,
        train_on_inputs=flag(raw.get("train_on_inputs")),
        max_steps=default_max_steps(raw),
        order=default_order(raw),
    )


def _seed(raw: Mapping[str, Any], config: DMTConfig | None) -> int | None:
    seed = raw.get("seed") if config is None or config.seed is None else config.seed
    try:
        if isinstance(seed, bool):
            raise TypeError
        return None if seed is None else int(seed)
    except (TypeError, ValueError, OverflowError):
        problem = f"{shown(seed)} is not a whole number{misread(seed)}"
        raise DMTError("seed", problem, "write seed: 42") from None


def check_start_stage(config: DMTConfig, stages: Sequence[Stage]) -> None:
    """Check that `dmt.start_stage` names a stage of the schedule.

    Raises:
        DMTError: it names another stage.
    """
    names = [stage.name for stage in stages]
    if config.start_stage and names and config.start_stage not in names:
        raise DMTError(
            "dmt.start_stage", f"no stage {config.start_stage!r}", f"stages: {', '.join(names)}"
        )
