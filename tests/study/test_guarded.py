"""A training on a cluster ends with the worker that started it, and never runs twice at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRAINS = """
import os, subprocess, sys, time
print("pid", os.getpid(), flush=True)
rank = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("pid", rank.pid, flush=True)
time.sleep(600)
"""
"""A launcher with one rank."""
WORKS = """
import subprocess, sys
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()
"""
"""A worker of the cluster."""


def guarded(log: Path, *command: str) -> list[str]:
    return [sys.executable, "-m", "axolotl_dmt.study.guarded", str(log), *command]


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 400
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def pids(log: Path) -> list[int]:
    lines = log.read_text().splitlines() if log.is_file() else []
    return [int(line.split()[1]) for line in lines if line.startswith("pid ")]


def is_running(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()[:1] not in ("", "Z")


def test_a_killed_worker_leaves_no_training_behind_and_a_repetition_waits_for_its_end(
    tmp_path: Path,
) -> None:
    log = tmp_path / "run.log"
    command = [sys.executable, "-c", WORKS, *guarded(log, sys.executable, "-c", TRAINS)]
    worker = subprocess.Popen(command, cwd=ROOT)
    wait_until(lambda: len(pids(log)) == 2)
    again = guarded(log, sys.executable, "-c", "print('again')")
    repeated = subprocess.Popen(again, cwd=ROOT, stdin=subprocess.PIPE)
    time.sleep(0.5)
    assert repeated.poll() is None
    assert "again" not in log.read_text()
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert repeated.wait(120) == 0
    assert "again" in log.read_text()
    assert not any(map(is_running, pids(log)))
    assert repeated.stdin is not None
    repeated.stdin.close()


def test_a_signal_reaches_the_command_whose_exit_code_is_returned(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    code = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(143))\n"
    command = guarded(
        log, sys.executable, "-c", f"{code}print('pid', 0, flush=True)\ntime.sleep(600)"
    )
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
    wait_until(lambda: pids(log))
    process.terminate()
    assert process.wait(120) == 143
    assert process.stdin is not None
    process.stdin.close()
