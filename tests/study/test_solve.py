"""What a YAML leaves to choose, its probes, and the YAML that is written for the answer."""

from __future__ import annotations

import copy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from axolotl_dmt import strategies
from axolotl_dmt.cli.main import dmt
from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.keep_args import FloorConfig
from axolotl_dmt.hooks import calls
from axolotl_dmt.report.promises import judge, promises_table
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results import Results, Score, StageResult
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.gate import Verdict
from axolotl_dmt.solver.law import features
from axolotl_dmt.solver.space import Space, Variable
from axolotl_dmt.strategies import Setting, StageMixes, Strategy
from axolotl_dmt.study.cells import runs_of
from axolotl_dmt.study.solution_text import answer_lines, block_comment, solution_json
from axolotl_dmt.study.solvable import Probe, Solvable
from axolotl_dmt.study.solve import Stage, _solved, evaluate_block, floors_of
from axolotl_dmt.study.solved_yaml import check_target, write_solved
from axolotl_dmt.study.solving import (
    Floors,
    Solution,
    first_probes,
    is_checked,
    next_probe,
    points_of,
    solve_probes,
)
from axolotl_dmt.training.run import Run
from tests.checks.test_schedule import GOOD, in_a_folder_of_its_own, raw, refusal  # noqa: F401
from tests.mistakes import assert_mistake, expect_error

KEEP = {"math": {"loss": 0.05}, "code": {"loss": 0.05}}


def solvable(**changes: Any) -> Solvable:
    block = {"strategy": "dmt", "keep": KEEP, "val_rows": 50, **changes}
    block = {key: value for key, value in block.items() if value is not None}
    return Solvable.of({**copy.deepcopy(GOOD), "dmt": block}, read_config(block))


def half(*amounts: str) -> Probe:
    return (Fraction(1, 2), *map(Fraction, amounts))


def test_each_specialised_domain_has_an_amount_of_its_own() -> None:
    stage = solvable()
    assert (stage.before, stage.name) == ("specialise", "generalise")
    assert stage.variables == {"math": ("math",), "code": ("code",)}
    *first, last = stage.probe_stages(half("1/4", "1/64"))
    assert [entry["mix"] for entry in first] == [{"math": "all", "code": "all"}]
    assert last["mix"] == {"general": "1/2", "math": "1/4", "code": "1/64"}
    *_, solved = stage.solved_stages({"math": 70, "code": 3})
    assert solved["mix"] == {"general": "all", "math": {"rows": 70}, "code": {"rows": 3}}


def test_with_k_auto_all_specialised_domains_share_one_amount() -> None:
    stage = solvable(k="auto", keep=None)
    assert stage.variables == {"k": ("math", "code")}
    *_, last = stage.probe_stages(half("1/4"))
    assert last["mix"] == {"general": "1/2", "math": "1/4", "code": "1/4"}
    config = read_config({"strategy": "dmt", "k": "auto"})
    floors = floors_of({**GOOD, "dmt": {"strategy": "dmt", "k": "auto"}}, config)
    assert floors.keep == {name: FloorConfig(drop=0.05) for name in ("math", "code")}
    assert floors.improve == ("general",)


def test_explicit_stages_and_amounts_in_rows_can_be_solved() -> None:
    stages = [
        {"name": "one", "mix": {"math": "all"}, "epochs": 2},
        {"name": "two", "mix": {"general": {"rows": 99}, "math": "1/9"}, "epochs": 1},
    ]
    stage = solvable(strategy=None, stages=stages)
    *_, last = stage.probe_stages(half("1/4"))
    assert last["mix"] == {"general": {"rows": 49}, "math": "1/4"}
    assert last["epochs"] == 1


def test_a_strategy_says_which_amounts_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def stages(setting: Setting) -> StageMixes:
        return strategies.dual_stage(setting)

    mine = Strategy(name="mine", summary="", stages=stages, free=lambda setting: ["code"])
    known = {**calls.registered_strategies(), "mine": mine}
    for module in ("config.resolve", "study.stages", "study.solvable"):
        monkeypatch.setattr(f"axolotl_dmt.{module}.registered_strategies", lambda: known)
    stage = solvable(strategy="mine")
    assert stage.variables == {"code": ("code",)}
    *_, last = stage.probe_stages(half("1/4"))
    assert last["mix"] == {"general": "1/2", "math": "1/4", "code": "1/4"}  # k: 1/2, shortened


def test_probes_share_the_stages_before_and_are_the_same_runs_on_a_second_call() -> None:
    probes = [half("1/4", "1/64"), half("1/4", "1/4"), half("1/64", "1/64")]
    cells = solvable().cells(probes, None)
    runs = runs_of(cells)
    assert [run.stages for run in runs] == [("specialise",)] + 3 * [("generalise",)]
    assert all(run.parent is runs[0] for run in runs[1:])
    more = solvable().cells([*reversed(probes), half("1/2", "1/2")], None)
    assert {run.key for run in runs} < {run.key for run in runs_of(more)}
    blocks = [run.config["dmt"] for run in runs]
    assert not any({"keep", "solve", "gate", "evaluate"} & {*block} for block in blocks)


def test_the_probes_are_scored_only_where_a_floor_needs_it() -> None:
    evaluate = {"tasks": ["dmt_math"], "when": "each_stage"}
    by_loss = Floors(keep={"math": FloorConfig(loss=0.1)}, improve=())
    by_score = Floors(keep={"math": FloorConfig(drop=0.1)}, improve=())
    from_start = Floors(keep={"math": FloorConfig(drop=0.1, against="baseline")}, improve=())
    assert evaluate_block(evaluate, by_loss) is None
    assert (evaluate_block(evaluate, by_score) or {})["before"] is False
    assert (evaluate_block(evaluate, from_start) or {})["before"] is True


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"strategy": "multi_task"}, "dmt.keep", "multi_task"),
        ({"strategy": "mixed_sequential"}, "dmt.keep", "generalise"),
        ({"reset_optimizer": False}, "dmt.keep", "reset_optimizer"),
        ({"start_stage": "generalise"}, "dmt.start_stage", "generalise"),
        ({"replay": {"share": 0.1}}, "dmt.replay.share", "keep"),
        ({"overrides": {"generalise": {"max_steps": 9}}}, "dmt.keep", "max_steps"),
    ],
)
def test_a_schedule_without_amounts_to_choose_is_refused(
    changes: dict[str, Any], key: str, value: str
) -> None:
    with expect_error(key, value):
        solvable(**changes)


def test_a_yaml_that_is_not_solved_is_not_trained() -> None:
    for block in ({"strategy": "dmt", "keep": KEEP}, {"strategy": "dmt", "k": "auto"}):
        key = "dmt.keep" if "keep" in block else "dmt.k"
        assert_mistake(refusal(raw(dmt=block)), key, "axolotl dmt solve")


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ({"strategy": "dmt", "keep": KEEP}, "dmt.val_rows"),
        ({"strategy": "dmt", "keep": {"math": -0.02}, "val_rows": 9}, "dmt.evaluate"),
        ({"strategy": "dmt", "val_rows": 9}, "dmt.keep"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_loaded(block: Any, key: str) -> None:
    Path("my.yaml").write_text(yaml.safe_dump({**GOOD, "base_model": "org/m", "dmt": block}))
    done = CliRunner().invoke(dmt, ["solve", "my.yaml"])
    assert done.exit_code == 2
    assert f"{key}: " in done.output


SPACE = Space(
    variables=tuple(
        Variable(name=name, levels=(1 / 64, 1 / 16, 1 / 4, 1 / 2), rows=rows)
        for name, rows in (("math", 6000), ("code", 1200))
    ),
    lengths=(1 / 16, 1 / 8, 1 / 4, 1 / 2),
    fixed_rows=6000,
)
FULL = 16800.0


def stage_result(name: str, math: float, code: float, general: float, score: float) -> StageResult:
    scores = {"math": Score(task="t", metric="m", value=score, stderr=0.01, n=200)}
    losses = {"test_math": math, "code": code, "general": general}
    extra = {"held_out_loss": losses}
    return StageResult(name=name, end_step=1, scores=scores, extra=extra)


def solution_for(keep: dict[str, FloorConfig], noise: float = 0.0) -> Solution:
    """Return what probes of a known response give; the noise of math is above and below in turn."""
    stage = solvable()
    probes = first_probes(stage, SPACE, FULL)
    points = points_of(probes)
    math = 2.718 ** (features(points) @ [-4.0, 0.3, -0.8, -0.05])
    math *= 2.718 ** (noise * (-1.0) ** np.arange(len(points)))
    code = 2.718 ** (features(points) @ [-4.0, 0.2, -0.05, -0.8])
    ends = [
        stage_result("generalise", m, c, 1.5 - 0.1 * p[0], 1 / (1 + m * 5))
        for m, c, p in zip(math.tolist(), code.tolist(), points.tolist(), strict=True)
    ]
    before = stage_result("specialise", 0.02, 0.02, 9.0, 1 / (1 + 0.02 * 5))
    floors = Floors(keep=keep, improve=("general",))
    return solve_probes(SPACE, floors, 0.9, probes, (before, None, ends))


def test_the_answer_goes_from_probes_to_a_yaml_that_can_be_trained(tmp_path: Path) -> None:
    keep = {"math": FloorConfig(loss=0.05), "code": FloorConfig(loss=0.05)}
    solution, stage = solution_for(keep), solvable()
    assert solution.answer.feasible
    rows = Stage(plan=None, space=SPACE, rows={"math": 2000, "code": 400}, full_cost=FULL).rows_of(
        stage, solution
    )
    assert all(0 < count < 2000 for count in rows.values())
    block = {"strategy": "dmt", "keep": KEEP, "val_rows": 50}
    floors = Floors(keep=keep, improve=("general",))
    new = _solved(block, stage, SPACE, floors, solution, rows)
    text = "# mine\n" + yaml.safe_dump({**GOOD, "dmt": block}, sort_keys=False) + "# end\n"
    source, target = tmp_path / "my.yaml", tmp_path / "my.solved.yaml"
    source.write_text(text)
    comment = block_comment(stage, SPACE, solution, rows)
    write_solved(source, target, new, {"stages": comment})
    written = target.read_text()
    assert written.startswith("# mine\n")
    assert "# end\n" in written
    assert "# loss math: predicted" in written
    data = yaml.safe_load(written)
    assert data["dmt"]["stages"][1]["mix"]["math"] == {"rows": rows["math"]}
    assert {**data, "dmt": None} == {**GOOD, "dmt": None}
    run = Run.from_raw(raw(dmt=data["dmt"]))  # it can be trained
    assert str(run.schedule.stages[1].mix["math"]) == f"{rows['math']:,} rows"
    (config,) = [read_config(data["dmt"])]
    assert config.solved is not None
    names = [(each.measure, each.name) for each in config.solved.predictions]
    assert names == [("loss", "math"), ("loss", "code"), ("loss", "general")]
    check_target(target, source)  # may be written again
    with expect_error("--to", str(source)):
        check_target(source, source)
    json_text = solution_json(stage, solution, rows)
    assert json_text["feasible"] is True
    assert len(json_text["probes"]) == len(solution.probes)


def test_a_yaml_on_one_line_or_with_shared_values_is_written_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "my.yaml", tmp_path / "new.yaml"
    source.write_text("dmt: {strategy: dmt, seed: &n 7}\nseed: *n\n")
    write_solved(source, target, {"stages": [{"name": "one"}]}, {})
    data = yaml.safe_load(target.read_text())
    assert data == {"dmt": {"stages": [{"name": "one"}]}, "seed": 7}


def test_a_floor_that_cannot_be_held_is_named_with_the_nearest() -> None:
    keep = {"math": FloorConfig(loss=0.05), "code": FloorConfig(loss=0.0)}
    solution = solution_for(keep)
    assert solution.answer.broken == ("code",)
    lines = list(answer_lines(solvable(), SPACE, solution, {"math": 1, "code": 2}))
    (line,) = [line for line in lines if "loss code" in line]
    nearest = float(line.split("{loss: ")[1].split("}")[0])
    assert solution_for({**keep, "code": FloorConfig(loss=nearest * 1.02)}).answer.feasible


def test_a_floor_on_a_score_is_translated_by_the_probes() -> None:
    solution = solution_for({"math": FloorConfig(drop=0.1)})
    (kept,) = solution.protected
    assert kept.curve is not None
    assert kept.limit.value == pytest.approx(1 / 1.1 - 0.1)
    assert solution.answer.feasible
    interval = kept.interval(SPACE.full([solution.answer.amounts]), 0.9)
    assert kept.limit.value - 0.01 <= interval.low < interval.predicted


def test_the_next_probe_is_at_the_answer_and_as_long_as_the_budget_allows() -> None:
    solution, stage = solution_for({"math": FloorConfig(loss=0.05)}), solvable()
    probe = next_probe(SPACE, stage, solution, FULL)
    assert probe is not None
    assert probe[0] == Fraction(1, 2)
    assert [float(x) for x in probe[1:]] == pytest.approx(solution.answer.amounts, abs=1e-4)
    shorter = next_probe(SPACE, stage, solution, 1800)
    assert shorter is None or shorter[0] < Fraction(1, 2)
    assert next_probe(SPACE, stage, solution, 10) is None


def test_if_no_mix_is_sure_to_hold_the_next_probe_is_where_one_is_predicted_to() -> None:
    solution = solution_for({"math": FloorConfig(loss=0.03)}, noise=0.3)
    assert not solution.answer.feasible
    (kept,) = solution.protected
    point = SPACE.full([solution.to_probe])
    assert kept.interval(point, 0.9).predicted <= kept.limit.value < kept.interval(point, 0.9).high
    impossible = solution_for({"math": FloorConfig(loss=0.0)})
    assert not impossible.answer.feasible
    assert impossible.to_probe == (0.5, 0.5)


def test_the_design_leaves_a_probe_of_any_answer() -> None:
    stage = solvable()
    probes = points_of(first_probes(stage, SPACE, FULL))
    left = 0.65 * FULL - SPACE.cost(probes).sum()
    solution = solution_for({"math": FloorConfig(loss=0.05)})
    dearest = replace(solution, to_probe=(0.5, 0.5))
    assert next_probe(SPACE, stage, dearest, left) is not None


def test_an_answer_is_checked_by_a_probe_within_a_factor_of_2() -> None:
    solution = solution_for({"math": FloorConfig(loss=0.05)})
    designed = len(solution.probes)
    math, code = solution.answer.amounts

    def after(*amounts: float) -> Solution:
        probe = (Fraction(1, 4), *map(Fraction, amounts))
        return replace(solution, probes=(*solution.probes, probe))

    assert not is_checked(solution, designed)
    assert is_checked(after(1.5 * math, code / 1.5), designed)
    assert not is_checked(after(math, code / 3), designed)


def test_a_budget_that_is_too_small_says_what_is_enough() -> None:
    with expect_error("dmt.solve.budget", "0.01"):
        first_probes(solvable(solve={"budget": 0.01}), SPACE, FULL)


@pytest.mark.parametrize(("loss", "verdict"), [(0.06, Verdict.HOLDS), (0.08, Verdict.FAILS)])
def test_the_report_and_the_gate_compare_the_prediction_with_the_run(
    loss: float, verdict: Verdict, tmp_path: Path
) -> None:
    prediction = {
        "name": "math",
        "measure": "loss",
        "predicted": 0.05,
        "low": 0.03,
        "high": 0.065,
        "limit": 0.07,
        "reference": 0.02,
        "against": "specialise",
    }
    solved = {"confidence": 0.9, "predictions": [prediction]}
    folder = RunFolder(tmp_path)
    stages = (
        stage_result("specialise", 0.02, 0.02, 9.0, 0.9),
        stage_result("generalise", loss, 0.02, 1.0, 0.9),
    )
    results = Results(plan_fingerprint="x", stages=stages)
    results.save(folder.results)
    block = {"stages": [], "solved": solved}
    folder.config.write_text(yaml.safe_dump({"dmt": block}))
    config = read_config(
        {"stages": [{"name": "a", "mix": {"math": 1}}], "keep": KEEP, **block}
        | {"stages": [{"name": "a", "mix": {"math": 1}}]}
    )
    (outcome,) = judge(tmp_path, None, config.solved)
    assert outcome.verdict is verdict
    assert str(loss) in outcome.reason
    table = promises_table(ReportView.of(results, tmp_path))
    assert table is not None
    inside = "yes" if loss <= 0.065 else "no"
    within = "yes" if verdict is Verdict.HOLDS else "no"
    cells = ("loss math", "0.07", "0.05", "0.03 to 0.065", str(loss), inside, within)
    assert table.rows == (cells,)
    done = CliRunner().invoke(dmt, ["gate", str(tmp_path)])
    assert done.exit_code == int(verdict)
