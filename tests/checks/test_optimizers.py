"""Which optimisers are accepted beside stages, and what a refusal names."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from axolotl_dmt.checks.optimizers import (
    PACKAGE_OF,
    PACKAGES,
    REFUSED,
    RESET_IN_PLACE,
    check_optimizer,
    known_optimizers,
)
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Stage

STAGES = (
    Stage(name="one", mix={}, learning_rate=1e-3),
    Stage(name="two", mix={}, learning_rate=1e-3),
)
LASTING = (
    Stage(name="one", mix={}, learning_rate=1e-3),
    Stage(name="two", mix={}, learning_rate=1e-3, reset_optimizer=False),
)


def refusal(stages: Any = STAGES, *, files: bool = False, **cfg: Any) -> DMTError:
    with pytest.raises(DMTError) as caught:
        check_optimizer(cfg, stages, files=files)
    return caught.value


@pytest.mark.parametrize("name", sorted(known_optimizers() - REFUSED.keys()))
def test_every_optimizer_that_axolotl_builds_is_accepted(name: str) -> None:
    check_optimizer({"optimizer": name}, STAGES, files=False)


@pytest.mark.parametrize("name", [None, "", "adamw_torch"])
def test_a_yaml_may_leave_the_optimizer_out(name: str | None) -> None:
    check_optimizer({"optimizer": name}, STAGES)
    check_optimizer({}, STAGES)


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("stages", [STAGES, LASTING])
def test_what_stages_cannot_use_is_refused_with_what_to_write(name: str, stages: Any) -> None:
    error = refusal(stages, optimizer=name)
    assert (error.key, error.problem.split()[0]) == ("optimizer", name)
    check_optimizer({"optimizer": error.fix.split()[-1]}, STAGES, files=False)


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    error = refusal(optimizer="adamw_bnb_8bits")
    assert error.key == "optimizer"
    assert "adamw_bnb_8bits" in error.problem
    assert "adamw_bnb_8bit?" in error.fix
    assert "adamw_torch_fused" in refusal(optimizer="zzz").fix


@pytest.mark.parametrize("name", sorted(PACKAGE_OF))
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    error = refusal(optimizer=name, files=True)
    module, package = PACKAGES[PACKAGE_OF[name]]
    assert module in error.problem
    assert error.fix == f"pip install {package}"


@pytest.mark.parametrize("name", ["lomo", "adalomo"])
def test_one_that_steps_in_the_backward_pass_takes_no_accumulation(name: str) -> None:
    error = refusal(optimizer=name, gradient_accumulation_steps=4)
    assert error.key == "gradient_accumulation_steps"
    check_optimizer({"optimizer": name, "gradient_accumulation_steps": 1}, STAGES, files=False)


@pytest.mark.parametrize(
    "sharding", [{"deepspeed": "zero2.json"}, {"fsdp_version": 2, "fsdp_config": {"x": 1}}]
)
def test_sharded_state_that_cannot_be_reset_is_refused(sharding: dict[str, Any]) -> None:
    error = refusal(optimizer="dion", **sharding)
    assert (error.key, "dion" in error.problem) == ("optimizer", True)
    check_optimizer({"optimizer": "dion", **sharding}, LASTING, files=False)
    for name in RESET_IN_PLACE:
        if not name.startswith("schedule_free"):
            check_optimizer({"optimizer": name, **sharding}, STAGES, files=False)


def test_deepspeed_hides_the_weights_that_schedule_free_averages() -> None:
    assert "deepspeed" in refusal(optimizer="schedule_free_adamw", deepspeed="z.json").problem
    cfg = {"optimizer": "schedule_free_adamw", "fsdp_config": {"x": 1}}
    check_optimizer(cfg, STAGES, files=False)
