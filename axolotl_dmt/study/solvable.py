"""The stage whose mix `axolotl dmt solve` chooses, and the probes of it as cells of a study."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, TypeAlias

from axolotl_dmt.config.args import AUTO, DEFAULT_SEED, DMTConfig
from axolotl_dmt.config.keep_args import SolveConfig
from axolotl_dmt.config.reading import stage_defaults
from axolotl_dmt.config.resolve import strategy_setting
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.calls import registered_strategies
from axolotl_dmt.plan.amounts import Amount, parse_amount
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.solver.space import Space, Variable
from axolotl_dmt.strategies import free_domains
from axolotl_dmt.study.cells import Cell, StudyRun, expand
from axolotl_dmt.study.config import Study
from axolotl_dmt.study.stages import cell_stages, domains_of

NOT_OF_PROBES: Final = ("keep", "improve", "solve", "solved", "gate")
ALL_FREE: Final = "k"
"""The name of the one amount of `k: auto`, which all free domains share."""

EVALUATIONS: Final = 8
"""How often the stage before the last is evaluated on its way if domains may end early in it."""
_EVALUATION: Final = ("eval_strategy", "eval_steps", "evals_per_epoch")

Probe: TypeAlias = tuple[Fraction, ...]
"""The length of a probe, and the amount of each variable."""


@dataclass(frozen=True, kw_only=True)
class Solvable:
    """A YAML whose last stage has amounts to choose.

    Attributes:
        raw: the YAML, without what only the solver reads and without its schedule.
        stages: its stages in the form of `dmt.stages`.
        fixed: {domain: amount} of the last stage that is not chosen.
        variables: {name: the domains that share an amount}.
        settings: how to probe.
        root: the folder of the probes.
        seed: the seed of all of them.
        notes: sentences on what was changed in the stages before the last.
    """

    raw: Mapping[str, Any]
    stages: tuple[dict[str, Any], ...]
    fixed: Mapping[str, Amount]
    variables: Mapping[str, tuple[str, ...]]
    settings: SolveConfig
    root: Path
    seed: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, raw: Mapping[str, Any], config: DMTConfig) -> Solvable:
        """Find what there is to choose in a YAML.

        Args:
            raw: the YAML.
            config: its checked `dmt:` block.

        Raises:
            DMTError: the schedule has no amounts to choose, or cannot be probed.
        """
        base = copy.deepcopy(dict(raw))
        block = {key: value for key, value in base["dmt"].items() if key not in NOT_OF_PROBES}
        base["dmt"] = block
        _refuse(config)
        if config.strategy:
            block["k"] = "1/2"
        domains = domains_of(raw)
        settings = {"strategy": config.strategy} if config.strategy else {}
        stages = cell_stages(block, domains, settings)
        mix = _mix_of_last(stages, raw)
        free = _free(config, domains, stages)
        variables = {ALL_FREE: free} if config.k == AUTO else {name: (name,) for name in free}
        seed = config.seed if config.seed is not None else raw.get("seed")
        return cls(
            raw=base,
            stages=tuple(stages),
            fixed={name: mix[name] for name in mix if name not in free},
            variables=variables,
            settings=config.solve or SolveConfig(),
            root=RunFolder.of_config(raw).probes,
            seed=DEFAULT_SEED if seed is None else int(seed),
        )

    @property
    def name(self) -> str:
        """The name of the stage whose mix is chosen."""
        return str(self.stages[-1]["name"])

    @property
    def before(self) -> str:
        """The name of the stage before it."""
        return str(self.stages[-2]["name"])

    def probe_stages(self, probe: Probe) -> list[dict[str, Any]]:
        """Return the stages of a probe."""
        length, *amounts = probe
        mix = {name: _scaled(amount, length).to_plain() for name, amount in self.fixed.items()}
        for names, amount in zip(self.variables.values(), amounts, strict=True):
            mix |= dict.fromkeys(names, Amount("fraction", amount).to_plain())
        return [*self.stages[:-1], {**self.stages[-1], "mix": mix}]

    def solved_stages(self, rows: Mapping[str, int]) -> list[dict[str, Any]]:
        """Return the stages with these rows of each free domain in the last."""
        mix: dict[str, Any] = {name: amount.to_plain() for name, amount in self.fixed.items()}
        mix |= {name: {"rows": count} for name, count in rows.items() if count}
        return [*self.stages[:-1], {**self.stages[-1], "mix": mix}]

    def cells(self, probes: Sequence[Probe], evaluate: Mapping[str, Any] | None) -> list[Cell]:
        """Return a cell for each probe; all share the stages before the last.

        Args:
            probes: the probes.
            evaluate: the `dmt.evaluate` block of the probes, or None.
        """
        base = copy.deepcopy(dict(self.raw))
        base["dmt"].pop("evaluate", None)
        if evaluate is not None:
            base["dmt"]["evaluate"] = dict(evaluate)
        stages = {self.label(probe): self.probe_stages(probe) for probe in probes}
        base["dmt"]["stages"] = next(iter(stages.values()))
        study = Study(
            base=base,
            output_dir=str(self.root),
            seeds=[self.seed],
            variant=list(stages),
            variants={name: {"dmt.stages": value} for name, value in stages.items()},
        )
        cells = expand(study, base)
        if self.settings.end_early is None:
            return cells
        return [replace(cell, run=self._evaluated_before(cell.run)) for cell in cells]

    def _evaluated_before(self, run: StudyRun) -> StudyRun:
        """Return the run of a probe after one that is evaluated on its way.

        Evaluation changes no weight, so only the run that is evaluated gets another key.
        """
        before = run.parent
        assert before is not None, "a stage to solve has a stage before it"
        config = {key: value for key, value in before.config.items() if key not in _EVALUATION}
        config |= {"eval_strategy": "steps", "eval_steps": 1 / EVALUATIONS}
        version = "shortened" if self.notes else "as-written"
        before = replace(
            before,
            name=f"{self.before}-{version}/seed-{self.seed}",
            key=f"{before.key}-evaluated",
            config=config,
        )
        return replace(run, parent=before)

    def label(self, probe: Probe) -> str:
        """Return the name of a probe, such as `length 1/8 math 1/16 code 1/64`."""
        parts = zip(("length", *self.variables), probe, strict=True)
        return " ".join(f"{name} {value}" for name, value in parts)

    def space(self, plan: TrainingPlan) -> Space:
        """Return the stage as the solver sees it.

        Args:
            plan: the plan of all stages with every amount at its largest.
        """
        draws = {name: draw.draws for name, draw in plan.stages[-1].domains.items()}
        levels = tuple(map(float, self.settings.levels))
        return Space(
            variables=tuple(
                Variable(
                    name=name,
                    levels=levels,
                    rows=sum(draws[domain] for domain in domains) / levels[-1],
                )
                for name, domains in self.variables.items()
            ),
            lengths=tuple(map(float, self.settings.lengths)),
            fixed_rows=float(sum(draws[name] for name in self.fixed)),
        )

    def largest(self) -> Probe:
        """Return the full stage with every amount at its largest."""
        return (Fraction(1), *(self.settings.levels[-1] for _ in self.variables))


def _refuse(config: DMTConfig) -> None:
    """Refuse what cannot be combined with choosing amounts.

    Raises:
        DMTError: the block starts within its schedule, or replays a share.
    """
    if config.start_stage:
        problem = f"is {config.start_stage}, and the probes need all stages"
        raise DMTError("dmt.start_stage", problem, "remove it")
    if config.replay and config.replay.share is not None:
        fix = "remove one of the two: keep chooses how much is replayed"
        raise DMTError("dmt.replay.share", "cannot be combined with keep", fix)


def _mix_of_last(stages: Sequence[dict[str, Any]], raw: Mapping[str, Any]) -> dict[str, Amount]:
    """Return the mix of the last stage.

    Raises:
        DMTError: there is one stage only, or the last cannot be shortened by its rows.
    """
    last = stages[-1]
    if len(stages) < 2:
        fix = "use a strategy with a stage before it, such as dmt"
        raise DMTError("dmt.keep", f"{last['name']} is the only stage", fix)
    if not last.get("reset_optimizer", raw["dmt"].get("reset_optimizer", True)):
        fix = "remove reset_optimizer: false"
        problem = f"{last['name']} must start from a saved model, with a fresh optimiser"
        raise DMTError("dmt.keep", problem, fix)
    if last.get("max_steps") or stage_defaults(raw).max_steps:
        problem = f"max_steps ends {last['name']} before all its rows, so no mix is certain"
        raise DMTError("dmt.keep", problem, "write epochs instead of max_steps")
    if "mix" not in last:
        raise DMTError("dmt.keep", f"{last['name']} has weights", "write its mix as fractions")
    mix = {name: parse_amount(value, "dmt.keep", None) for name, value in last["mix"].items()}
    return mix


def _free(
    config: DMTConfig, domains: Sequence[str], stages: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    """Return the domains of the last stage whose amounts are chosen.

    Raises:
        DMTError: there is none, nothing else is left, or an amount cannot be scaled.
    """
    mixes = [(str(stage["name"]), stage.get("mix") or {}) for stage in stages]
    setting = replace(strategy_setting(config, domains), general=config.general_domains)
    strategy = registered_strategies().get(config.strategy or "")
    free = free_domains(strategy, setting, mixes)
    last_name, last = mixes[-1]
    if not free:
        problem = f"{last_name} replays no domain of an earlier stage, so no amount is free"
        raise DMTError("dmt.keep", problem, "write strategy: dmt, or replay a domain in its mix")
    for name in free:
        if name not in last:
            fix = f"its domains: {', '.join(last)}"
            raise DMTError("dmt.strategy", f"{last_name} has no domain {name!r} to choose", fix)
    fixed = {name: parse_amount(value, "", None) for name, value in last.items()}
    for name in free:
        fixed.pop(name)
    if not fixed:
        problem = f"every domain of {last_name} is replayed, so nothing is new in it"
        raise DMTError("dmt.keep", problem, "add a domain that no earlier stage trains on")
    for name, amount in fixed.items():
        if amount.unit not in ("all", "fraction", "rows", "tokens"):
            problem = f"{last_name} takes {amount} of {name}, which depends on the other amounts"
            raise DMTError("dmt.keep", problem, "write it as all, a fraction, rows or tokens")
    return free


def _scaled(amount: Amount, length: Fraction) -> Amount:
    if amount.unit in ("rows", "tokens"):
        return Amount(amount.unit, Fraction(max(1, math.floor(amount.value * length))))
    return Amount("fraction", amount.value * length)
