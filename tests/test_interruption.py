"""What an interrupted training says, and how its process ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from axolotl_dmt.interruption import last_words
from axolotl_dmt.plan import TrainingPlan, compile_plan
from tests.pools import domain, stage

PREFIX = "axolotl-dmt: interrupted by SIGINT after step "


@pytest.fixture
def plan() -> TrainingPlan:
    stages = [stage({"math": "all"}, "specialise"), stage({"chat": "all"}, "generalise")]
    pools = [domain("math", 80), domain("chat", 80)]
    return compile_plan(stages=stages, domains=pools, seed=1, global_batch=8)


def words(
    plan: TrainingPlan,
    output_dir: Path,
    *,
    step: int = 12,
    save_strategy: str = "steps",
    saves: bool = False,
    sharded: bool = False,
    **raw: Any,
) -> str:
    args = SimpleNamespace(output_dir=str(output_dir), save_strategy=save_strategy, save_steps=5)
    trainer = SimpleNamespace(
        args=args,
        state=SimpleNamespace(global_step=step, save_steps=5),
        is_fsdp_enabled=sharded,
        is_deepspeed_enabled=False,
    )
    return last_words(trainer, plan, raw, signal.SIGINT, saves)


def checkpoint(output_dir: Path, step: int, *, whole: bool = True) -> Path:
    folder = output_dir / f"checkpoint-{step}"
    folder.mkdir()
    if whole:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


def test_the_last_whole_checkpoint_and_the_stages_are_named(
    plan: TrainingPlan, tmp_path: Path
) -> None:
    checkpoint(tmp_path, 5)
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 12, whole=False)
    (tmp_path / "stages/01-specialise").mkdir(parents=True)
    (tmp_path / "stages/.02-generalise.partial").mkdir()
    assert words(plan, tmp_path) == (
        f"{PREFIX}12 of 20, in stage generalise; kept: {tmp_path}/checkpoint-10, "
        f"{tmp_path}/stages/01-specialise; to go on from step 10, run the same command with "
        "auto_resume_from_checkpoints: true"
    )


def test_how_to_go_on_is_as_the_yaml_has_it(plan: TrainingPlan, tmp_path: Path) -> None:
    last = checkpoint(tmp_path, 10)
    automatic = {"auto_resume_from_checkpoints": True}
    assert words(plan, tmp_path, **automatic).endswith("run the same command again")
    named = words(plan, tmp_path, **automatic, resume_from_checkpoint="other/checkpoint-5")
    assert named.endswith(f"run the same command with resume_from_checkpoint: {last}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"save_strategy": "no"}, '(save_strategy: "no"), so a rerun starts from step 0; '),
        ({"save_strategy": "no"}, "save_strategy: steps and save_steps changes that"),
        ({"save_strategy": "epoch"}, "(save_strategy: epoch), so a rerun starts from step 0; "),
        ({}, "(save_steps: 5), so a rerun starts from step 0; a smaller save_steps changes that"),
        ({"saves_per_epoch": 1}, "(saves_per_epoch: 1), so a rerun starts from step 0; a larger s"),
        ({"resume_from_checkpoint": "x/checkpoint-5"}, "goes on from x/checkpoint-5 again"),
    ],
)
def test_where_nothing_is_saved_it_says_which_key_changes_that(
    plan: TrainingPlan, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    line = words(plan, tmp_path, step=0, **changes)
    assert line.startswith(f"{PREFIX}0 of 20, in stage specialise; kept: nothing; no ")
    assert said in line


def test_a_stage_that_has_just_ended_is_the_one_named(plan: TrainingPlan, tmp_path: Path) -> None:
    assert words(plan, tmp_path, step=10).startswith(f"{PREFIX}10 of 20, in stage specialise;")
    assert words(plan, tmp_path, step=11).startswith(f"{PREFIX}11 of 20, in stage generalise;")


def test_the_model_that_axolotl_saves_is_called_unfinished(
    plan: TrainingPlan, tmp_path: Path
) -> None:
    line = words(plan, tmp_path, saves=True)
    assert f"kept: the unfinished model in {tmp_path} itself; no checkpoint" in line
    assert "kept: nothing; " in words(plan, tmp_path, saves=True, sharded=True)


HEAD = """
import os, signal, sys, time
from axolotl_dmt.interruption import told
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where tests run in the background
signal.signal(signal.SIGTERM, signal.SIG_DFL)
def tell(signum, saves):
    return f"line {signum.name} {saves}"
def axolotls(signum, frame):
    print("saved", flush=True)
    sys.exit(0)
def send(signum):
    os.kill(os.getpid(), signum)
    time.sleep(50)
"""


def ends(body: str) -> tuple[int, str, str]:
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
with told(tell):
    send(signal.SIGINT)
"""
    assert ends(body) == (128 + signal.SIGINT, "saved\n", "\nline SIGINT True\n")


def test_without_a_handler_of_axolotls_the_interrupt_is_pythons() -> None:
    code, _, error = ends("with told(tell):\n    send(signal.SIGINT)")
    assert code == -signal.SIGINT
    assert error.startswith("\nline SIGINT False\n") and "KeyboardInterrupt" in error


def test_sigterm_ends_the_process_as_it_would_have() -> None:
    body = "with told(tell):\n    send(signal.SIGTERM)"
    assert ends(body) == (-signal.SIGTERM, "", "\nline SIGTERM False\n")


def test_a_line_that_cannot_be_made_keeps_no_process_alive() -> None:
    assert ends("with told(lambda *_: 1 / 0):\n    send(signal.SIGTERM)") == (-15, "", "")


def test_a_second_signal_does_what_it_would_have_at_once() -> None:
    body = """
def slow(signum, frame):
    send(signal.SIGTERM)
signal.signal(signal.SIGINT, slow)
with told(tell):
    send(signal.SIGINT)
"""
    assert ends(body) == (-signal.SIGTERM, "", "\nline SIGINT True\n")


def test_another_rank_says_nothing() -> None:
    assert ends("with told(None):\n    send(signal.SIGTERM)") == (-signal.SIGTERM, "", "")


def test_a_forked_process_neither_tells_nor_saves() -> None:
    body = """
signal.signal(signal.SIGINT, axolotls)
with told(tell):
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


def test_what_was_there_is_put_back() -> None:
    body = """
before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
with told(tell):
    assert signal.getsignal(signal.SIGTERM) != before[1]
assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
"""
    assert ends(body) == (0, "", "")


def test_an_ignored_interrupt_stays_ignored_and_a_thread_leaves_signals_alone() -> None:
    body = """
import threading
signal.signal(signal.SIGINT, signal.SIG_IGN)
with told(tell):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
def in_a_thread():
    with told(tell):
        print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
thread = threading.Thread(target=in_a_thread)
thread.start()
thread.join()
"""
    assert ends(body) == (0, "True\n", "")
