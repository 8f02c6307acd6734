"""The raw YAML is read once, and as Axolotl's validation reads it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.config import validate_config
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig

from axolotl_dmt.api import load_schedule
from axolotl_dmt.checks.schedule import WEIGHT_DECAY, check_schedule
from axolotl_dmt.config.reading import read_schedule, stage_defaults
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.loading import load_hooks
from axolotl_dmt.training.prepare import prepare
from axolotl_dmt.training.run import Run
from tests.checks.test_schedule import GOOD, raw
from tests.mistakes import expect_error
from tests.pools import domain

HOOKS = """
from dataclasses import replace
from pathlib import Path
from axolotl_dmt import hookimpl


@hookimpl
def adjust_stages(stages):
    with Path(__file__).with_name("calls.txt").open("a") as file:
        file.write("called\\n")
    return [replace(stage, learning_rate=stage.learning_rate / 2) for stage in stages]
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    load_hooks([])


def test_reading_and_checking_change_nothing() -> None:
    cfg = raw(seed=3)
    before = copy.deepcopy(cfg)
    schedule, mistakes = check_schedule(cfg)
    assert (cfg, mistakes) == (before, [])
    assert schedule is not None
    assert schedule.domains == ("math", "code", "general")
    assert [stage.name for stage in schedule.stages] == ["specialise", "generalise"]
    assert schedule.seed == 3


def test_a_reading_with_a_mistake_holds_what_could_be_read() -> None:
    reading = read_schedule(raw(learning_rate="fast", dmt={"strategy": "dmt", "k": 9}))
    assert reading.config is not None
    assert [stage.name for stage in reading.stages] == ["specialise", "generalise"]
    assert [mistake.key for mistake in reading.mistakes()] == ["dmt.k", "learning_rate"]
    with expect_error("dmt.k", 9):
        reading.schedule()


def test_a_mistake_within_an_unreadable_part_of_the_block_is_reported_once() -> None:
    reading = read_schedule(raw(dmt={"strategy": "dmt", "evaluate": {"when": "soon"}}))
    consequence = DMTError("dmt.evaluate.when", "is wrong", "")
    assert [m.key for m in reading.mistakes([consequence])] == ["dmt.evaluate.when"]


def test_a_seed_that_is_not_a_number_is_named() -> None:
    assert [m.key for m in read_schedule(raw(seed="seven")).mistakes()] == ["seed"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weight_decay": 0.1},
        {"weight_decay": None},
        {"learning_rate": 1, "num_epochs": "2.5", "warmup_steps": "10"},
        {"warmup_ratio": "0.1", "lr_scheduler": None},
        {"lr_scheduler": "linear", "train_on_inputs": True},
        {"train_on_inputs": "no"},
        {"train_on_inputs": "true"},
        {"max_steps": "9"},
        {"max_steps": -1, "group_by_length": "yes"},
        {"curriculum_sampling": True},
        {"shuffle_merged_datasets": False},
        {"shuffle_merged_datasets": None},
    ],
)
def test_what_stages_inherit_is_read_as_axolotl_validates_it(changes: dict[str, Any]) -> None:
    schedule, mistakes = check_schedule(raw(**changes))
    assert schedule is not None, mistakes
    plain = {name: value for name, value in GOOD.items() if name != "dmt"} | changes
    plain |= {"micro_batch_size": 1, "gradient_accumulation_steps": 1}
    validated = validate_config(DictDefault(copy.deepcopy(plain)))
    assert schedule.defaults == stage_defaults(validated)


def test_axolotls_default_of_weight_decay_is_ours() -> None:
    assert AxolotlInputConfig.model_fields["weight_decay"].default == WEIGHT_DECAY


def test_a_setting_that_changes_after_the_stages_were_resolved_is_refused() -> None:
    cfg = raw()
    run = Run.from_raw(cfg)
    cfg |= {"learning_rate": 1e-3, "weight_decay": WEIGHT_DECAY}
    with pytest.raises(DMTError) as caught:
        prepare(run, cfg)
    assert caught.value.key == "learning_rate"


def test_the_stages_are_adjusted_once_for_a_run() -> None:
    Path("my_hooks.py").write_text(HOOKS)
    block = {"strategy": "dmt", "k": "1/4", "hooks": ["my_hooks.py"]}
    run = Run.from_raw(raw(dmt=block))
    cfg = DictDefault({"batch_size": 4})
    pools = [domain(name, 20) for name in run.schedule.domains]
    plan = run.compile(cfg, pools)
    assert [stage.settings.learning_rate for stage in plan.stages] == [1e-5, 1e-5]
    assert Path("calls.txt").read_text() == "called\n"
    assert run.schedule.config.hooks == [str(Path("my_hooks.py").resolve())]


def test_a_schedule_for_another_trainer_is_adjusted_once_too() -> None:
    Path("my_hooks.py").write_text(HOOKS)
    Path("dmt.yaml").write_text(
        "datasets: [{path: a, domain: math}, {path: b, domain: general}]\n"
        "dmt: {strategy: dmt, hooks: [my_hooks.py]}\nlearning_rate: 2e-5\n"
    )
    schedule = load_schedule("dmt.yaml")
    schedule.compile({"math": 20, "general": 20})
    schedule.compile({"math": 40, "general": 20})
    assert Path("calls.txt").read_text() == "called\n"
