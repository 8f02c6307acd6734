"""No process, program or file of a sandbox outlives the run, even if the harness is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from axolotl_dmt.sandbox import Level, run_programs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux")


@pytest.fixture
def adopt_orphans() -> Iterator[None]:
    """Make this process the parent of orphaned descendants until the test ends."""
    prctl, subreaper = ctypes.CDLL(None).prctl, 36
    prctl(subreaper, 1, 0, 0, 0)
    yield
    prctl(subreaper, 0, 0, 0, 0)


def children() -> set[int]:
    """Return the ids of this process's living children, and reap the dead ones."""
    alive = set()
    for tasks in Path("/proc/self/task").iterdir():
        try:
            pids = (tasks / "children").read_text().split()
        except FileNotFoundError:  # the thread has ended in the meantime
            continue
        for pid in map(int, pids):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":
                os.waitpid(pid, 0)
            else:
                alive.add(pid)
    return alive


def test_no_process_or_file_is_left_behind(
    level: Level, adopt_orphans: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = children()
    leave = (
        "import os, time\nfor f in (os.setsid, os.fork):\n    try: f()\n    except OSError: pass\n"
    )
    programs = [
        leave + "time.sleep(60)",
        leave + "while 1: pass",
        leave,
        "open('a', 'w')",
        "os = 1/0",
    ]
    run_programs(
        programs, level=level, timeout=0.5, wall_timeout=1.0, workers=3, allow_unsafe_code=True
    )
    for _ in range(100):  # the kernel ends a namespace asynchronously
        if children() <= before:
            break
        time.sleep(0.05)
    assert children() <= before
    assert list(tmp_path.iterdir()) == []


# Killing the harness

RUN = """
import sys
from axolotl_dmt.sandbox import Level, Program, run_programs
code, tests = sys.argv[2:]
program = Program(code=code, tests=tests, names=("f",))
run_programs([program], level=Level(sys.argv[1]), timeout=500, allow_unsafe_code=True)
"""


def descendants(root: int) -> set[int]:
    """Return the ids of the processes below a process."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int(stat(int(folder.name))[1])
            except OSError:  # it has ended in the meantime
                continue
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {root}


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def is_running(pid: int) -> bool:
    try:
        return stat(pid)[0] not in "ZX"
    except OSError:
        return False


def processor_ticks(pid: int) -> int:
    try:
        return int(stat(pid)[11]) + int(stat(pid)[12])
    except OSError:
        return 0


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("while True: pass", ""),
        ("def f():\n    while True: pass", "f()"),
        ("import os\nwhile True: os.stat('.')", ""),
    ],
)
def test_no_program_runs_on_when_the_harness_is_killed(
    level: Level, adopt_orphans: None, code: str, tests: str
) -> None:
    harness = subprocess.Popen([sys.executable, "-c", RUN, level.value, code, tests])
    try:
        started: set[int] = set()
        while not any(processor_ticks(pid) > 30 for pid in started):
            assert harness.poll() is None
            time.sleep(0.05)
            started = descendants(harness.pid)
        harness.send_signal(signal.SIGKILL)
        harness.wait()
        for _ in range(200):
            if not any(map(is_running, started)):
                break
            time.sleep(0.05)
        assert [pid for pid in started if is_running(pid)] == []
    finally:
        harness.kill()
        for pid in started:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        children()
