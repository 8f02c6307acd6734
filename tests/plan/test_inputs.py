"""The pools and stages from which a plan is compiled."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from axolotl_dmt.plan.amounts import Amount
from axolotl_dmt.plan.inputs import Domain, Packing, Stage
from axolotl_dmt.plan.orders import Epoch
from axolotl_dmt.plan.pool_record import PoolRecord
from axolotl_dmt.plan.row_counts import RowCounts
from axolotl_dmt.plan.row_losses import RowLosses
from axolotl_dmt.plan.training_plan import DomainDraw, StagePlan, TrainingPlan
from tests.pools import domain, stage


def test_a_pool_without_datasets_is_one_dataset() -> None:
    assert Domain(name="math", rows=7).datasets == (("math", 7),)
    assert domain("math", 7, datasets=(("a", 3), ("b", 4))).datasets == (("a", 3), ("b", 4))


def test_datasets_must_sum_to_the_rows() -> None:
    for rows in (6, 8):
        with pytest.raises(ValueError, match=f"'math' do not sum to its {rows} rows"):
            Domain(name="math", rows=rows, datasets=(("a", 3), ("b", 4)))


@pytest.mark.parametrize(
    "column", ["lengths", "trained", "trained_when_remasked", "losses", "numbers", "scores"]
)
def test_a_column_must_have_a_value_for_each_row(column: str) -> None:
    for count in (6, 8):
        values: Any = np.zeros(count, np.int32)
        value = {"quality": values} if column == "scores" else values
        with pytest.raises(ValueError, match=f"'math' has {count} of 7 rows"):
            Domain(name="math", rows=7, **{column: value})


@pytest.mark.parametrize(
    ("settings", "steps", "warmup"),
    [
        ({}, 3300, 99),
        ({}, 3334, 100),
        ({}, 99, 2),
        ({}, 33, 0),
        ({"warmup_ratio": 0.0}, 1000, 0),
        ({"warmup_ratio": 0.5}, 7, 3),
        ({"warmup_ratio": 0.2}, 5, 2),
        ({"warmup_ratio": -0.5}, 100, 0),
        ({"warmup_steps": 3}, 2, 3),
    ],
)
def test_a_warm_up_has_whole_steps(settings: dict[str, Any], steps: int, warmup: int) -> None:
    assert stage({"math": "all"}, **settings).warmup(steps) == warmup


def test_a_selection_is_for_all_domains_or_by_domain() -> None:
    one, several = stage({}, select="first"), stage({}, select={"math": "longest"})
    assert (one.method("math"), one.method("code")) == ("first", "first")
    assert (several.method("math"), several.method("code")) == ("longest", "random")


def test_a_stage_survives_being_written_and_read() -> None:
    mix = {"math": "1/3", "code": {"rows": 7}, "law": "all"}
    for settings in ({}, {"select": {"math": "first"}, "freeze": ("a", "b"), "epochs": 1.5}):
        made = stage(mix, "one", **settings)
        plain = made.to_plain()
        assert plain["mix"] == {"math": "1/3", "code": {"rows": 7}, "law": "all"}
        assert isinstance(plain["freeze"], list)
        assert Stage.from_plain(plain) == made


def test_what_a_stage_leaves_out_has_its_default() -> None:
    made = Stage(name="one", mix={}, learning_rate=1.0)
    assert made.to_plain() == {
        "name": "one",
        "mix": {},
        "epochs": 1.0,
        "max_steps": None,
        "learning_rate": 1.0,
        "lr_scheduler": "cosine",
        "warmup_steps": None,
        "warmup_ratio": None,
        "weight_decay": None,
        "reset_optimizer": True,
        "order": "shuffle",
        "select": "random",
        "redraw": False,
        "max_repeats": None,
        "temperature": 1.0,
        "freeze": [],
        "new_adapter": None,
        "train_on_inputs": None,
    }


@pytest.mark.parametrize(
    "kind",
    [
        *(Amount, Domain, DomainDraw, Epoch, Packing, PoolRecord),
        *(RowCounts, RowLosses, Stage, StagePlan, TrainingPlan),
    ],
)
def test_what_a_plan_is_made_of_cannot_be_changed(kind: Any) -> None:
    instance = object.__new__(kind)
    name = next(iter(kind.__dataclass_fields__))
    with pytest.raises(FrozenInstanceError):
        setattr(instance, name, 1)
    if kind not in (Amount, Packing):
        with pytest.raises(TypeError, match="positional"):
            kind(*["x"] * len(kind.__dataclass_fields__))
