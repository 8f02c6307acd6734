"""Runs a command that ends when whoever started it is gone: `python -m ...guarded LOG COMMAND...`.

Standard input is a pipe from the process that started this one. When that process ends, however it
ends, the pipe closes, and the command is killed with everything that it started. A lock beside the
log keeps a repetition on another node from training in the same folder before that has happened.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

LOCK_FILE = "run.lock"


def main(log: str, command: Sequence[str]) -> int:
    """Run the command, append its output to the log, and return its exit code.

    Args:
        log: the file for its output.
        command: the program and its arguments.
    """
    with _locked(Path(log).with_name(LOCK_FILE)) as lock, open(log, "ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=lock,
        )
        signal.signal(signal.SIGTERM, lambda *_: _signal(process, signal.SIGTERM))
        threading.Thread(target=_kill_after_input, args=(process,), daemon=True).start()
        code = process.wait()
        _signal(process, signal.SIGKILL)  # ranks that outlive the launcher
        return code


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[tuple[int, ...]]:
    """Wait for the lock of a folder; yield its descriptor, or none where there are no locks."""
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some shared file systems have no locks
            yield ()
        else:
            yield (file.fileno(),)


def _kill_after_input(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    _signal(process, signal.SIGKILL)
    os._exit(1)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
