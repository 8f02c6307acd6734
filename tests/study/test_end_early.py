"""A domain whose loss on held-out rows turns is given fewer rows in the stage before the last."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from axolotl_dmt.config.args import read_config
from axolotl_dmt.plan import compile_plan
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.results import Results, StageResult
from axolotl_dmt.study import end_early as module
from axolotl_dmt.study.cells import runs_of
from axolotl_dmt.study.end_early import check_stage, end_early, is_better, shortened, turn
from axolotl_dmt.study.solvable import EVALUATIONS, Solvable
from tests.checks.test_schedule import GOOD
from tests.mistakes import expect_error
from tests.pools import domain, stage

RISE = 0.01


def solvable(**changes: Any) -> Solvable:
    block = {
        "strategy": "dmt",
        "keep": {"math": {"loss": 0.05}},
        "val_rows": 50,
        "solve": {"end_early": RISE},
        **changes,
    }
    raw = {**copy.deepcopy(GOOD), "dmt": block, "num_epochs": 4}
    return Solvable.of(raw, read_config(block))


def plan(**changes: Any) -> TrainingPlan:
    """Four epochs of 80 and 40 rows, 8 rows a step: 60 steps."""
    first = stage({"math": "all", "code": "all"}, "specialise", epochs=4, **changes)
    last = stage({"general": "all"}, "generalise")
    pools = [domain("math", 80), domain("code", 40), domain("general", 50)]
    return compile_plan(stages=[first, last], domains=pools, seed=1, global_batch=8)


def results(curve: dict[int, dict[str, float]]) -> Results:
    points = tuple(
        {"step": step, "stage": "specialise", "losses": losses} for step, losses in curve.items()
    )
    last = StageResult(
        name="specialise", end_step=60, extra={"held_out_loss": list(curve.values())[-1]}
    )
    return Results(plan_fingerprint="x", stages=(last,), held_out_curve=points)


class Trained:
    """Probing whose trainings are written down instead of performed."""

    def __init__(self, stages: Solvable, *answers: Results) -> None:
        self.solvable, self.answers, self.said = stages, [*answers], []
        self.console = self

    def print(self, text: str, **_: Any) -> None:
        self.said.append(text)

    def of(self, stages: Solvable) -> Trained:
        other = copy.copy(self)
        other.solvable = stages
        return other

    def stage_before(self) -> Results:
        return self.answers.pop(0)


RISING = results(
    {
        15: {"math": 1.0, "code": 0.9},
        30: {"math": 0.8, "test_code": 0.7},
        45: {"math": 0.7, "code": 0.8},
        60: {"math": 0.6, "code": 1.1},
    }
)


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ({10: 1.0, 20: 0.8, 30: 0.9}, 20),
        ({10: 1.0, 20: 0.8, 30: 0.805}, None),
        ({10: 1.0, 20: 0.9, 30: 0.8}, None),
        ({10: 0.8, 20: 0.8, 30: 0.9}, 10),
        ({10: 0.8}, None),
        ({}, None),
    ],
)
def test_a_loss_turns_at_its_lowest_point_if_it_rises_enough(losses: Any, step: int | None) -> None:
    assert turn(losses, RISE) == step


def test_the_domain_that_turns_gets_the_rows_until_its_turn_and_the_other_keeps_its_own() -> None:
    better = results({60: {"math": 0.59, "code": 0.7}})
    trained = Trained(solvable(), RISING, better)
    first, last = end_early(trained, plan()).stages  # type: ignore[arg-type]
    assert first["mix"]["math"] == {"rows": 320}
    rows = first["mix"]["code"]["rows"]
    assert 60 <= rows <= 100  # half of the stage is 80 of its 160 rows, in a random order
    assert (first["epochs"], first["max_repeats"]) == (1, 4)
    assert last == solvable().stages[1]
    exact = stage(first["mix"], "one", max_repeats=4)
    pools = [domain("math", 80), domain("code", 40)]
    written = compile_plan(stages=[exact], domains=pools, seed=1, global_batch=8)
    assert written.stages[0].domains["code"].draws == rows
    assert any("code ends early in specialise" in text for text in trained.said)


@pytest.mark.parametrize("losses", [{"math": 0.59, "code": 1.2}, {"math": 0.62, "code": 0.7}])
def test_a_shorter_stage_that_is_not_better_is_not_used(losses: dict[str, float]) -> None:
    trained = Trained(solvable(), RISING, results({60: losses}))
    assert end_early(trained, plan()) is trained.solvable  # type: ignore[arg-type]
    assert "stays as it is written" in trained.said[-1]


def test_nothing_is_trained_twice_if_no_loss_rises() -> None:
    falling = results({30: {"math": 1.0, "code": 1.0}, 60: {"math": 0.9, "code": 0.9}})
    trained = Trained(solvable(), falling)
    assert end_early(trained, plan()) is trained.solvable  # type: ignore[arg-type]
    assert not trained.answers


def test_a_change_is_better_if_ended_domains_fall_and_no_other_rises() -> None:
    assert is_better({"math": 0.01, "code": -0.1}, {"code": 5}, RISE)
    assert not is_better({"math": 0.02, "code": -0.1}, {"code": 5}, RISE)
    assert not is_better({"math": -0.1, "code": 0.0}, {"code": 5}, RISE)


def test_only_the_stage_before_the_last_is_evaluated_on_its_way() -> None:
    stages = solvable()
    cells = stages.cells([stages.largest()], None)
    first, last = runs_of(cells)
    assert first.config["eval_steps"] == 1 / EVALUATIONS
    assert first.name == "specialise-as-written/seed-42"
    assert "eval_steps" not in last.config
    plain = runs_of(solvable(solve={}).cells([stages.largest()], None))
    assert plain[0].key != first.key
    assert plain[1].key == last.key
    shorter = shortened(stages, plan().stages[0], {"math": 320, "code": 80}, ["code ends early"])
    other, after = runs_of(shorter.cells([shorter.largest()], None))
    assert other.name == "specialise-shortened/seed-42"
    assert len({first.key, other.key}) == len({last.key, after.key}) == 2


def test_what_cannot_be_shortened_is_refused() -> None:
    for written, key in ((plan(max_steps=9), "max_steps"), (_repeated_part(), "more than once")):
        with expect_error("dmt.solve.end_early", key):
            check_stage(written.stages[0])
    with expect_error("dmt.solve.end_early", "code"):
        module._curves(results({60: {"math": 1.0}}), plan().stages[0])


def _repeated_part() -> TrainingPlan:
    first = stage({"math": "all", "code": 0.5}, "specialise", epochs=4)
    pools = [domain("math", 80), domain("code", 40)]
    return compile_plan(stages=[first], domains=pools, seed=1, global_batch=8)
