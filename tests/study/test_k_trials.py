"""The rule by which k is chosen, and when a choice is refused."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.k_choice import KChoice, ScoredRun
from axolotl_dmt.config.replay_args import AutoKConfig
from axolotl_dmt.results import Score
from axolotl_dmt.study.k_trials import abilities_of, choice_table, choose_k, trial_cells
from axolotl_dmt.training.run import Run
from tests.checks.test_schedule import GOOD, in_a_folder_of_its_own, raw, refusal  # noqa: F401
from tests.mistakes import assert_mistake, expect_error


def trained(fingerprint: str, **values: float) -> ScoredRun:
    scores = {
        name: Score(task="t", metric="m", value=value, stderr=0.03, n=100)
        for name, value in values.items()
    }
    return ScoredRun(folder=f"runs/{fingerprint}", plan_fingerprint=fingerprint, scores=scores)


def chosen(*trials: tuple[float, float], loss: float = 0.05, stage_1: str = "one") -> KChoice:
    ladder = tuple(Fraction(1, parts) for parts in (64, 16, 4, 1))
    return KChoice(
        base_model="some/model",
        abilities=("math", "code"),
        loss=loss,
        max_steps=20,
        ladder=ladder,
        stage_1=trained(stage_1, math=0.9, code=0.8, general=0.1),
        trials={
            k: trained(f"trial {k}", math=math_score, code=code, general=math.nan)
            for k, (math_score, code) in zip(ladder, trials, strict=False)
        },
    )


def test_the_smallest_k_that_loses_no_more_than_is_allowed_is_taken() -> None:
    choice = chosen((0.9, 0.7), (0.85, 0.75), (0.9, 0.8))
    assert (choice.k, choice.holds) == (Fraction(1, 16), True)
    assert_mistake(choice.summary(), "k = 1/16", 0.05)
    value, error = choice.lost(Fraction(1, 16), "code")
    assert value == pytest.approx(0.05)
    assert error == pytest.approx(0.03 * math.sqrt(2))


def test_where_none_holds_the_one_with_the_smallest_worst_loss_is_taken_and_marked() -> None:
    choice = chosen((0.9, 0.5), (0.8, 0.6), (0.6, 0.8), (0.7, 0.7))
    assert (choice.k, choice.holds) == (Fraction(1, 16), False)
    assert_mistake(choice.summary(), "k = 1/16", 0.05, "0.200")


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4))
def test_a_looser_limit_never_chooses_a_larger_k(trials: list[tuple[float, float]]) -> None:
    choices = [chosen(*trials, loss=loss) for loss in (0.01, 0.1, 0.5)]
    held = [choice.k for choice in choices if choice.holds]
    assert held == sorted(held, reverse=True)
    assert len({choice.k for choice in choices if not choice.holds}) <= 1


def test_what_is_saved_is_what_is_loaded_and_is_strict_json(tmp_path: Path) -> None:
    choice, path = chosen((0.7, 0.7), (0.9, 0.8)), tmp_path / "dmt/k.json"
    choice.save(path)
    data = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (data["schema"], data["k"], data["holds"]) == (1, "1/16", True)
    assert [trial["holds"] for trial in data["trials"]] == [False, True]
    assert data["trials"][0]["lost"]["math"]["value"] == pytest.approx(0.2)
    assert data["rule"]
    loaded = KChoice.load(path)
    assert (loaded.k, loaded.ladder, loaded.stage_1) == (choice.k, choice.ladder, choice.stage_1)
    loaded.save(path)
    assert json.loads(path.read_text()) == data


def test_the_table_shows_losses_with_their_errors_and_what_was_not_tried() -> None:
    from rich.console import Console

    console = Console(width=120, record=True)
    console.print(choice_table(chosen((0.7, 0.7), (0.9, 0.8))))
    text = console.export_text()
    assert "0.700 (-0.200 ± 0.042)" in text
    assert [line.split()[-2] for line in text.splitlines() if "k = 1" in line][2] == "tried"


AUTO = {"strategy": "dmt", "k": "auto"}
FILE = Path("outputs/test-run/dmt/k.json")


def test_a_run_takes_its_k_from_the_file() -> None:
    assert_mistake(refusal(raw(dmt=AUTO)), "dmt.k", "auto", FILE, "axolotl dmt choose-k")
    chosen((0.9, 0.8)).save(FILE)
    run = Run.from_raw(raw(dmt=AUTO))
    assert run.schedule.config.k == Fraction(1, 64)
    assert str(run.schedule.stages[1].mix["math"]) == "1/64"
    message = refusal(raw(dmt=AUTO, base_model="other/model"))
    assert_mistake(message, "dmt.k", FILE, "base_model", "some/model")
    FILE.write_text("{}")
    assert_mistake(refusal(raw(dmt=AUTO)), "dmt.k", FILE, "KeyError")


def test_a_choice_of_another_plan_is_refused() -> None:
    choice = chosen((0.9, 0.8))
    choice.check(stage_1="one", trial="trial 1/64", path=FILE)
    for stage_1, trial, changed in (
        ("two", "trial 1/64", "stage 1"),
        ("one", "trial 1/16", "the trial"),
        ("two", "trial 1/16", "stage 1 and the trial"),
    ):
        with expect_error("dmt.k", FILE, changed):
            choice.check(stage_1=stage_1, trial=trial, path=FILE)


def cells(**changes: Any) -> Any:
    """Return the trials of a `dmt:` block with `k: auto` and these changes."""
    block = {"strategy": "dmt", "k": "auto", "evaluate": {"tasks": ["dmt_math"]}, **changes}
    config = read_config(block)
    return trial_cells({**GOOD, "dmt": block}, config, config.auto_k or AutoKConfig())


def test_the_trials_share_stage_1_and_go_from_the_smallest_k_up() -> None:
    trials = cells(auto_k={"ladder": [0.25, "1/64", "1/4"], "max_steps": 30})
    assert [cell.settings["k"] for cell in trials] == [Fraction(1, 64), Fraction(1, 4)]
    stage_1 = trials[0].run.parent
    assert stage_1 is trials[1].run.parent
    assert [stage.get("max_steps") for stage in stage_1.config["dmt"]["stages"]] == [None]
    assert trials[0].run.config["dmt"]["stages"][1]["max_steps"] == 30
    # With another limit, the trial is the same run.
    (other,) = cells(auto_k={"loss": 0.2, "ladder": ["1/64"], "max_steps": 30})
    assert other.run.key == trials[0].run.key


def test_a_trial_is_never_longer_than_its_stage() -> None:
    overrides = {"generalise": {"max_steps": 10}}
    assert cells(overrides=overrides)[0].run.config["dmt"]["stages"][1]["max_steps"] == 10
    whole = cells(auto_k={"max_steps": None})[0].run
    assert "max_steps" not in whole.config["dmt"]["stages"][1]


@pytest.mark.parametrize(
    ("changes", "strategy"),
    [({"strategy": "multi_task"}, "multi_task"), ({"reset_optimizer": False}, "dmt")],
)
def test_a_schedule_without_a_separate_second_stage_is_refused(
    changes: dict[str, Any], strategy: str
) -> None:
    with expect_error("dmt.k", "auto", f"strategy {strategy}"):
        cells(**changes)


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({}, "dmt.evaluate", "missing"),
        ({"start_stage": "generalise", "evaluate": {}}, "dmt.start_stage", "generalise"),
        ({"evaluate": {"tasks": ["none_such"]}}, "dmt.evaluate.tasks[0]", "'none_such'"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(
    changes: dict[str, Any], key: str, value: str
) -> None:
    Path("dmt.yaml").write_text(yaml.safe_dump({**GOOD, "dmt": {**AUTO, **changes}}))
    with expect_error(key, value):
        choose_k(Path("dmt.yaml"), launcher_args="", train=False)


def test_the_scores_that_must_hold_are_those_of_the_specialised_domains() -> None:
    config = read_config({**AUTO, "general": ["general", "code"]})
    assert abilities_of(GOOD, config, AutoKConfig()) == ("math",)
    assert abilities_of(GOOD, config, AutoKConfig(abilities=["gsm8k"])) == ("gsm8k",)
