"""Starts sandboxes, in parallel, and reads their verdicts."""

from __future__ import annotations

import contextlib
import hmac
import marshal
import os
import secrets
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Literal

from axolotl_dmt.errors import DMTError
from axolotl_dmt.sandbox.codec import frame
from axolotl_dmt.sandbox.levels import Level, boot_message, command, environment, settings

Status = Literal["passed", "failed", "timed out", "killed"]

_BROKE = "the sandbox broke: "
_TOO_LONG: tuple[Status, str] = ("timed out", "the tests ran out of time")
_TOKEN_BYTES = 16
_MOST_HEARD = 65536
_FILE_MB = 4
_START_SECONDS = 10.0
"""What starting and ending a sandbox may take besides the program's own time."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """Code that nobody trusts, and the tests that judge it.

    Attributes:
        code: Python source; it runs first and must run to its end.
        tests: Python source; it runs in another process and must run to its end. Empty: the program
            passes when its code has run, which is then only as true as the code says.
        names: the code's functions that the tests call. Arguments and results travel as plain
            values (see `codec.encode`).
        setup: Python source that the tests need before that, such as helpers and imports.
    """

    code: str
    tests: str = ""
    names: tuple[str, ...] = ()
    setup: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program fared.

    Attributes:
        status: `timed out` is out of clock or processor time, `killed` is ended by a signal.
        reason: one short line; empty where it passed.
        seconds: wall time, with starting and ending the sandbox.
    """

    status: Status
    reason: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether its tests ran to their end and held."""
        return self.status == "passed"


def run_programs(
    programs: Sequence[Program | str],
    *,
    timeout: float = 5.0,
    memory_mb: int = 512,
    workers: int | None = None,
    level: Level | None = None,
    allow_unsafe_code: bool = False,
) -> list[Outcome]:
    """Run each program in a sandbox of its own.

    Args:
        programs: what to run; a bare string is a `Program` without separate tests.
        timeout: seconds of clock time from the start of a program's code to the end of its tests.
        memory_mb: address space of each of its two processes, in MiB.
        workers: how many run at once; by default one a core, shared between this machine's ranks.
        level: the sandbox; by default the strongest that works here.
        allow_unsafe_code: whether to run where only resource limits hold a program.

    Returns:
        One outcome a program, in their order.

    Raises:
        DMTError: the level is not safe and unsafe code is not allowed, or no sandbox works here.
    """
    chosen = require_level(allow_unsafe_code=allow_unsafe_code, level=level)
    wanted = [Program(code=item) if isinstance(item, str) else item for item in programs]
    if not wanted:
        return []
    count = max(1, min(workers or default_workers(), len(wanted)))
    with ThreadPoolExecutor(count, thread_name_prefix="sandbox") as pool:
        return list(pool.map(lambda item: _run(item, chosen, timeout, memory_mb), wanted))


def default_workers() -> int:
    """The cores this process may use, shared with the other ranks on this machine."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, cores // max(1, int(ranks) if ranks.isdigit() else 1))


def require_level(*, allow_unsafe_code: bool, level: Level | None = None) -> Level:
    """The level that programs would run at.

    Args:
        allow_unsafe_code: whether a level that is not safe will do.
        level: this one and no other; None for the strongest that works.

    Raises:
        DMTError: it is not safe and that is not allowed, or it does not work here.
    """
    chosen = level or available_level()
    if chosen is None or (level is not None and why_not(level)):
        tried = [level] if level else list(Level)
        raise DMTError(
            "dmt.evaluate.tasks",
            f"programs cannot be run here ({'; '.join(f'{x.value}: {why_not(x)}' for x in tried)})",
            "leave dmt_code out of the tasks",
        )
    if not chosen.safe and not allow_unsafe_code:
        why = "; ".join(f"{x.value}: {why_not(x)}" for x in Level if x.safe)
        raise DMTError(
            "dmt.evaluate.allow_unsafe_code",
            f"programs of the model would run with resource limits only ({why})",
            "install bubblewrap, or accept the risk with `allow_unsafe_code: true` "
            "(lm_eval: --confirm_run_unsafe_code, or DMT_ALLOW_UNSAFE_CODE=1)",
        )
    return chosen


@cache
def available_level() -> Level | None:
    """The strongest level that works here, found by trying; None where none does."""
    return next((level for level in Level if not why_not(level)), None)


@cache
def why_not(level: Level) -> str:
    """Why a level does not work here; empty where it does.

    A level is tried once in a process, with a program that looks for a file outside its sandbox.
    """
    with tempfile.NamedTemporaryFile(prefix="outside-") as outside:
        os.chmod(outside.name, 0o644)
        program = Program(
            code="import os\ndef found(path): return os.path.exists(path)",
            tests=f"assert not found({outside.name!r})" if level.safe else "assert found('/')",
            names=("found",),
        )
        try:
            outcome = _run(program, level, 20.0, 512)
        except OSError as error:
            return str(error)
    return "" if outcome.passed else outcome.reason.removeprefix(_BROKE)


def describe(level: Level) -> str:
    """For logs and results: the level, and why not a stronger one."""
    stronger = list(Level)[: list(Level).index(level)]
    missing = [f"{other.value}: {why_not(other)}" for other in stronger if why_not(other)]
    return level.value + (f" ({'; '.join(missing)})" if missing else "")


def _run(program: Program, level: Level, timeout: float, memory_mb: int) -> Outcome:
    """Run one program in a new sandbox; nothing of it is left afterwards."""
    started = time.perf_counter()
    token = secrets.token_bytes(_TOKEN_BYTES)
    tests = {
        "tests": program.tests,
        "names": program.names,
        "setup": program.setup,
        "token": token,
    }
    with tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True) as folder:
        told = settings(
            level, timeout=timeout, memory_mb=memory_mb, file_mb=_FILE_MB, mount_point=folder
        )
        if level is Level.RLIMITS and told["uid"] is not None:
            os.chown(folder, told["uid"], told["uid"])
        parts = (boot_message(), *(marshal.dumps(item) for item in (told, program.code, tests)))
        process = subprocess.Popen(
            command(level),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(),
            start_new_session=True,
        )
        said = None
        try:
            payload = b"".join(frame(part) for part in parts)
            said = _talk(process, payload, timeout + _START_SECONDS)
        finally:
            _end(process, kill=said is None)
    status, reason = _verdict(*said, token) if said else _TOO_LONG
    return Outcome(status=status, reason=reason, seconds=time.perf_counter() - started)


def _verdict(out: bytes, err: bytes, token: bytes) -> tuple[Status, str]:
    """What the checker said, if it was the checker."""
    if not hmac.compare_digest(out[:_TOKEN_BYTES], token):
        lines = err.decode("utf-8", "replace").strip().splitlines() or ["it ended without a word"]
        return "killed", _BROKE + lines[-1][:200]
    status, reason = marshal.loads(out[_TOKEN_BYTES:])
    return status, reason


def _talk(
    process: subprocess.Popen[bytes], payload: bytes, seconds: float
) -> tuple[bytes, bytes] | None:
    """Hand a process all it is to read, and take what it writes until it closes its pipes.

    `Popen.communicate` with a time limit would then look for the end of the process at growing
    intervals, which costs more than all the rest.

    Returns:
        What it wrote to stdout and to stderr; None where it took too long.
    """
    assert process.stdin and process.stdout and process.stderr
    out, err = bytearray(), bytearray()
    left = memoryview(payload)
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, err)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    try:
                        left = left[os.write(key.fd, left) :]
                    except BrokenPipeError:
                        left = left[:0]
                    if not left:
                        selector.unregister(process.stdin)
                    continue
                part = os.read(key.fd, _MOST_HEARD)
                if not part:
                    selector.unregister(key.fileobj)
                elif len(key.data) < _MOST_HEARD:
                    key.data.extend(part)
    return bytes(out), bytes(err)


def _end(process: subprocess.Popen[bytes], *, kill: bool) -> None:
    """Wait until a sandbox has ended, with all that is in it.

    Args:
        process: its outermost process.
        kill: end it first; one that said its verdict ends by itself.
    """
    if kill:  # not waited for yet, so its number is not another's
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()
