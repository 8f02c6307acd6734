"""The line that an interrupted training prints, and how its process ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from axolotl_dmt.plan import TrainingPlan, compile_plan
from axolotl_dmt.training.interruption import interruption_message
from tests.checkpoints import make_checkpoint
from tests.mistakes import assert_mistake
from tests.pools import domain, stage


def assert_line(line: str, step: int, stage: str, *values: object) -> None:
    """Assert that a line names the signal, the step, the stage and each of `values`."""
    assert_mistake(line, "axolotl-dmt", "SIGINT", f"step {step} of 20", f"stage {stage}", *values)


@pytest.fixture
def plan() -> TrainingPlan:
    stages = [stage({"math": "all"}, "specialise"), stage({"chat": "all"}, "generalise")]
    pools = [domain("math", 80), domain("chat", 80)]
    return compile_plan(stages=stages, domains=pools, seed=1, global_batch=8)


def message(plan: TrainingPlan, output_dir: Path, step: int = 12) -> str:
    trainer = SimpleNamespace(
        args=SimpleNamespace(output_dir=str(output_dir)), state=SimpleNamespace(global_step=step)
    )
    return interruption_message(trainer, plan, signal.SIGINT)


def checkpoint(output_dir: Path, step: int, *, complete: bool = True) -> Path:
    folder = output_dir / f"checkpoint-{step}"
    if complete:
        return make_checkpoint(folder)
    folder.mkdir()
    return folder


def test_the_last_complete_checkpoint_and_the_stages_are_named(
    plan: TrainingPlan, tmp_path: Path
) -> None:
    checkpoint(tmp_path, 5)
    last = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 12, complete=False)
    (tmp_path / "stages/01-specialise").mkdir(parents=True)
    (tmp_path / "stages/.02-generalise.partial").mkdir()
    line = message(plan, tmp_path)
    assert_line(line, 12, "generalise", f"{last}, {tmp_path}/stages/01-specialise", "step 10")
    assert line.endswith(f"resume_from_checkpoint: {last}")
    assert "02-generalise" not in line


def test_a_checkpoint_that_cannot_be_continued_is_not_named_for_it(
    plan: TrainingPlan, tmp_path: Path
) -> None:
    last = checkpoint(tmp_path, 10)
    (last / "optimizer.pt").unlink()
    line = message(plan, tmp_path)
    assert_line(line, 12, "generalise", last, "save_only_model")
    assert "resume_from_checkpoint" not in line


def test_without_a_checkpoint_the_keys_that_save_one_are_named(
    plan: TrainingPlan, tmp_path: Path
) -> None:
    line = message(plan, tmp_path, step=0)
    assert_line(line, 0, "specialise", "save_strategy: steps", "save_steps")


def test_a_stage_that_has_just_ended_is_the_one_named(plan: TrainingPlan, tmp_path: Path) -> None:
    assert_line(message(plan, tmp_path, 10), 10, "specialise")
    assert_line(message(plan, tmp_path, 11), 11, "generalise")


HEAD = """
import os, signal, sys, time
from axolotl_dmt.training.interruption import line_on_signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where tests run in the background
signal.signal(signal.SIGTERM, signal.SIG_DFL)
def line(signum):
    return f"line {signum.name}"
def axolotls(signum, frame):
    print("saved", flush=True)
    sys.exit(0)
def send(signum):
    os.kill(os.getpid(), signum)
    time.sleep(50)
"""


def ends(body: str) -> tuple[int, str, str]:
    """Run a program and return its exit code, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + body],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_axolotls_handler_saves_and_the_exit_code_is_that_of_an_interrupt() -> None:
    body = """
signal.signal(signal.SIGINT, axolotls)
with line_on_signal(line):
    send(signal.SIGINT)
"""
    assert ends(body) == (128 + signal.SIGINT, "saved\n", "\nline SIGINT\n")


def test_without_axolotls_handler_an_interrupt_has_pythons_effect() -> None:
    code, _, error = ends("with line_on_signal(line):\n    send(signal.SIGINT)")
    assert code == -signal.SIGINT
    assert error.startswith("\nline SIGINT\n") and "KeyboardInterrupt" in error


def test_sigterm_still_ends_the_process() -> None:
    body = "with line_on_signal(line):\n    send(signal.SIGTERM)"
    assert ends(body) == (-signal.SIGTERM, "", "\nline SIGTERM\n")


def test_a_line_that_cannot_be_made_does_not_keep_the_process_alive() -> None:
    assert ends("with line_on_signal(lambda *_: 1 / 0):\n    send(signal.SIGTERM)") == (-15, "", "")


def test_a_second_signal_has_its_usual_effect_at_once() -> None:
    body = """
def slow(signum, frame):
    send(signal.SIGTERM)
signal.signal(signal.SIGINT, slow)
with line_on_signal(line):
    send(signal.SIGINT)
"""
    assert ends(body) == (-signal.SIGTERM, "", "\nline SIGINT\n")


def test_another_rank_prints_nothing() -> None:
    assert ends("with line_on_signal(None):\n    send(signal.SIGTERM)") == (-signal.SIGTERM, "", "")


def test_a_forked_process_neither_prints_nor_saves() -> None:
    body = """
signal.signal(signal.SIGINT, axolotls)
with line_on_signal(line):
    for signum in (signal.SIGTERM, signal.SIGINT):
        child = os.fork()
        if not child:
            try:
                send(signum)
            except KeyboardInterrupt:
                os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
    assert ends(body) == (0, f"{-signal.SIGTERM}\n7\n", "")


def test_the_former_handlers_are_restored() -> None:
    body = """
before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
with line_on_signal(line):
    assert signal.getsignal(signal.SIGTERM) != before[1]
assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
"""
    assert ends(body) == (0, "", "")


def test_an_ignored_interrupt_stays_ignored_and_a_thread_leaves_signals_alone() -> None:
    body = """
import threading
signal.signal(signal.SIGINT, signal.SIG_IGN)
with line_on_signal(line):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
def in_a_thread():
    with line_on_signal(line):
        print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
thread = threading.Thread(target=in_a_thread)
thread.start()
thread.join()
"""
    assert ends(body) == (0, "True\n", "")
