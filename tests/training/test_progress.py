"""The bar names the stage, estimates are logged, and no bar is drawn without a terminal."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from tqdm import tqdm
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import CallbackHandler

from axolotl_dmt.console import VARIABLE, bars_where_wanted, is_quiet
from axolotl_dmt.plan import compile_plan
from axolotl_dmt.plan.amounts import ALL
from axolotl_dmt.plan.inputs import Domain, Stage
from axolotl_dmt.training import progress
from axolotl_dmt.training.progress import StageProgress, leave_out_losses

ONE = "stage 1/2 one: steps 1 to 40, math 40 rows"
TWO = "stage 2/2 two: steps 41 to 80, math 40 rows"
"""What is logged at the start of each stage, before its estimate."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replace standard error by a terminal and return it.

    This is not a fixture, since pytest sets its own standard error before each test.
    """
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv(VARIABLE, raising=False)
    return stream


def run(
    monkeypatch: pytest.MonkeyPatch,
    seconds_a_step: float,
    losses: Sequence[dict[str, float]] = (),
) -> list[str]:
    """Run both callbacks through two stages and return the bar's description at each step."""
    plan = compile_plan(
        stages=[Stage(name=name, mix={"math": ALL}, learning_rate=1.0) for name in ("one", "two")],
        domains=[Domain(name="math", rows=40)],
        seed=1,
        global_batch=1,
    )
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bars = ProgressCallback()
    trainer = SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[bars]))
    callbacks = [bars, StageProgress(trainer, plan)]
    args: Any = None
    state = TrainerState(max_steps=80, log_history=[*losses])
    control, words = TrainerControl(), []

    def event(name: str) -> None:
        for callback in callbacks:
            getattr(callback, name)(args, state, control)

    event("on_train_begin")
    for step in range(80):
        state.global_step = step
        event("on_step_begin")
        now[0] += seconds_a_step
        state.global_step = step + 1
        event("on_step_end")
        words.append(bars.training_bar.desc)
    event("on_train_end")
    return words


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Return a function that returns the messages logged so far, each once."""
    logger = logging.getLogger("axolotl_dmt")
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    caplog.set_level(logging.INFO)
    yield lambda: list(dict.fromkeys(record.getMessage() for record in caplog.records))
    logger.removeHandler(caplog.handler)


def test_the_bar_names_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched(monkeypatch)
    words = run(monkeypatch, 1.0)
    assert words == ["stage 1/2 one: "] * 40 + ["stage 2/2 two: "] * 40
    assert "stage 2/2 two" in terminal.getvalue()


def test_each_stage_is_estimated_once_its_pace_is_known(
    monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    watched(monkeypatch)
    run(monkeypatch, 3.0)
    assert log() == [
        ONE,
        "stage 1/2 one: about 1 min 45 s for its remaining 35 steps, at its pace so far",
        "stage 1/2 one: trained in 2 min 00 s",
        TWO,
        "stage 2/2 two: about 2 min 00 s for its remaining 40 steps, at the previous stage's pace",
        "stage 2/2 two: trained in 2 min 00 s",
    ]


def test_a_short_stage_needs_no_estimate(
    monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    watched(monkeypatch)
    run(monkeypatch, 0.1)
    trained = ("stage 1/2 one: trained in 4.0 s", "stage 2/2 two: trained in 4.0 s")
    assert log() == [ONE, trained[0], TWO, trained[1]]


def test_without_a_terminal_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    run(monkeypatch, 1.0)
    assert "stage" not in stream.getvalue()
    assert "80/80" not in stream.getvalue()


@pytest.mark.parametrize(("value", "quiet"), [("1", True), ("0", False), ("", False)])
def test_a_variable_turns_the_bars_off(
    monkeypatch: pytest.MonkeyPatch, value: str, quiet: bool
) -> None:
    watched(monkeypatch)
    monkeypatch.setenv(VARIABLE, value)
    assert is_quiet() is quiet


@pytest.mark.parametrize(("value", "printed"), [("1", False), ("0", True)])
def test_a_variable_turns_the_printed_losses_off(
    monkeypatch: pytest.MonkeyPatch, value: str, printed: bool
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    handler = CallbackHandler([ProgressCallback(), Loss()], None, None, None, None)
    leave_out_losses(SimpleNamespace(remove_callback=handler.remove_callback))
    kinds = [type(callback) for callback in handler.callbacks]
    assert Loss in kinds
    assert (ProgressCallback in kinds) is printed


def test_a_stage_ends_with_its_last_loss(
    monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    watched(monkeypatch)
    run(monkeypatch, 0.1, losses=[{"loss": 0.12345, "step": 30}, {"eval_loss": 9, "step": 40}])
    assert log() == [
        ONE,
        "stage 1/2 one: trained in 4.0 s, loss 0.1235",
        TWO,
        "stage 2/2 two: trained in 4.0 s",
    ]


class Loss(TrainerCallback):
    """A callback of the user's."""


def draw() -> None:
    for _ in tqdm(range(3), desc="answers"):
        pass
    print("a warning", file=sys.stderr)


def test_bars_of_other_libraries_are_left_out_and_all_else_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watched(monkeypatch)
    with bars_where_wanted():
        draw()
    assert "answers: 100%" in terminal.getvalue()
    monkeypatch.setenv(VARIABLE, "1")
    terminal.truncate(0)
    terminal.seek(0)
    with bars_where_wanted():
        draw()
    assert terminal.getvalue() == "a warning\n"
