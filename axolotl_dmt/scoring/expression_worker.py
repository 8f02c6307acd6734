"""A process that compares expressions with math-verify, and is replaced where one takes too long.

math-verify limits its own time by a signal, which works in a main thread only and cannot interrupt
a computation with huge numbers. Here the kernel ends the process once a comparison has used
`CPU_SECONDS` of processor time; because that is not the time on a clock, a busy machine changes no
verdict. `WALL_SECONDS` is the limit for a process that waits for something.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

from axolotl_dmt.errors import DMTError

CPU_SECONDS = 5
WALL_SECONDS = 300.0
START_SECONDS = 300.0
"""How long a process may take to import math-verify on a busy machine."""
MEMORY_BYTES = 4 << 30

EXTRA = "math-verify[antlr4_13_2]"


class Worker:
    """Starts the process when it is first needed, and again after a comparison that ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process, if it does not run, and wait until it has loaded math-verify.

        Raises:
            DMTError: If math-verify cannot be loaded.
        """
        with self._lock:
            self._running()

    def equal(self, answer: str, gold: str) -> bool:
        """Return whether two expressions are equal; False if the comparison exceeds a limit.

        Raises:
            DMTError: If math-verify cannot be loaded.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps([answer, gold]) + "\n")
                process.stdin.flush()
                reply = self._read(process, WALL_SECONDS)
            except OSError:
                reply = ""
            if not reply:
                self._stop()
            return reply == "true"

    def _running(self) -> subprocess.Popen[str]:
        """Return the process; a forked child of this process gets one of its own."""
        if self._process and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        root = Path(__file__).parents[2]
        paths = [str(root), *(str(Path(path).resolve()) for path in sys.path if path)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            cwd=root,  # not the user's folder, whose files could hide modules of Python
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self._owner = os.getpid()
        atexit.register(self._stop)
        ready = self._read(self._process, START_SECONDS)
        if ready != "ready":
            self._stop()
            problem = f"math-verify cannot be loaded ({ready or 'its process ended'})"
            raise DMTError("dmt_math_hard", problem, f"pip install '{EXTRA}'")
        return self._process

    @staticmethod
    def _read(process: subprocess.Popen[str], seconds: float) -> str:
        """Return the next line of the process; empty if it ends or takes too long."""
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], seconds)[0]:
            return ""
        return process.stdout.readline().strip()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process and self._owner == os.getpid():
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()


# The process


def main() -> None:
    """Answer each line, `[answer, gold]` as JSON, with `true` or `false`."""
    import resource
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no reply
    try:
        from axolotl_dmt.scoring.expression_comparison import equal
    except Exception as error:
        replies.write(f"{type(error).__name__}: {error}".replace("\n", " ") + "\n")
        replies.flush()
        return
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies.write("ready\n")
    replies.flush()
    for line in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
        answer, gold = json.loads(line)
        replies.write(f"{json.dumps(equal(answer, gold))}\n")
        replies.flush()


if __name__ == "__main__":
    main()
