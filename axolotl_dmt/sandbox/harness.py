"""Start sandboxes in parallel and read their verdicts."""

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

_SANDBOX_FAILED = "the sandbox failed: "
_TIMED_OUT: tuple[Status, str] = ("timed out", "the tests ran out of time")
_TOKEN_BYTES = 16
_MAX_OUTPUT_BYTES = 65536
_FILE_MB = 4
_START_SECONDS = 60.0
"""How long a sandbox may take to start and to end, in addition to the program's own time limit."""
_WALL = 6
"""How many times the limit on processor time the limit on wall time is, if it is not given."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """Untrusted code and the tests that it has to pass.

    Attributes:
        code: Python source. It runs first, and must run without an exception.
        tests: Python source. It runs in another process, and must run without an exception. If
            empty, the program passes once its code has run; such a program can fake a pass.
        names: The functions and classes of `code` that the tests use. Arguments and results are
            passed as plain values where they can be (see `codec.encode`), else as references (see
            `remote`).
        setup: Python source that runs before the tests, such as helpers and imports.
    """

    code: str
    tests: str = ""
    names: tuple[str, ...] = ()
    setup: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of running one program.

    Attributes:
        status: `timed out` means out of wall-clock or processor time, `killed` ended by a signal or
            by a failure of the sandbox.
        reason: One short line that says why the program failed; empty if it passed.
        seconds: Wall time, including the start and the end of the sandbox.
    """

    status: Status
    reason: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether all tests of the program ran and passed."""
        return self.status == "passed"


def run_programs(
    programs: Sequence[Program | str],
    *,
    timeout: float = 20.0,
    wall_timeout: float | None = None,
    memory_mb: int = 512,
    workers: int | None = None,
    level: Level | None = None,
    allow_unsafe_code: bool = False,
) -> list[Outcome]:
    """Run each program in a sandbox of its own.

    Args:
        programs: The programs; a bare string is a `Program` without separate tests.
        timeout: Seconds of processor time that a program may use, and that its tests may use.
        wall_timeout: Wall-clock seconds from the start of a program's code to the end of its tests;
            by default six times `timeout`, so that other work on the machine changes no verdict.
        memory_mb: Address space of each of a program's two processes, in MiB.
        workers: How many programs run at once; by default one per core, where the ranks on a
            machine share its cores.
        level: The isolation level; by default the strongest that works on this machine.
        allow_unsafe_code: Whether programs may run where only resource limits confine them.

    Returns:
        One outcome for each program, in order.

    Raises:
        DMTError: If the level is unsafe and unsafe code is not allowed, or no sandbox works here.
    """
    chosen = require_level(allow_unsafe_code=allow_unsafe_code, level=level)
    queue = [Program(code=item) if isinstance(item, str) else item for item in programs]
    if not queue:
        return []
    count = max(1, min(workers or default_workers(), len(queue)))
    wall = _WALL * timeout if wall_timeout is None else wall_timeout
    with ThreadPoolExecutor(count, thread_name_prefix="sandbox") as pool:
        return list(pool.map(lambda item: _run(item, chosen, timeout, wall, memory_mb), queue))


def default_workers() -> int:
    """Return the number of cores this process may use, divided by the ranks on this machine."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, cores // max(1, int(ranks) if ranks.isdigit() else 1))


def require_level(*, allow_unsafe_code: bool, level: Level | None = None) -> Level:
    """Return the level at which programs would run.

    Args:
        allow_unsafe_code: Whether an unsafe level is accepted.
        level: The level to require; None for the strongest that works on this machine.

    Raises:
        DMTError: If the level is unsafe and that is not accepted, or it does not work here.
    """
    chosen = level or available_level()
    if chosen is None or (level is not None and why_not(level)):
        tried = [level] if level else list(Level)
        raise DMTError(
            "dmt.evaluate.tasks",
            f"programs cannot be run on this machine ({_reasons(tried)})",
            "leave dmt_code out of the tasks",
        )
    if not chosen.safe and not allow_unsafe_code:
        safe_levels = [other for other in Level if other.safe]
        raise DMTError(
            "dmt.evaluate.allow_unsafe_code",
            "programs that the model writes would run with resource limits only "
            f"({_reasons(safe_levels)})",
            "install bubblewrap, or accept the risk with `allow_unsafe_code: true` "
            "(lm_eval: --confirm_run_unsafe_code, or DMT_ALLOW_UNSAFE_CODE=1)",
        )
    return chosen


@cache
def available_level() -> Level | None:
    """Return the strongest level that works on this machine; None if none does.

    Each level is tried once in a process.
    """
    return next((level for level in Level if not why_not(level)), None)


@cache
def why_not(level: Level) -> str:
    """Return why a level does not work on this machine; empty if it works.

    A level is tried once in a process, by a program that looks for a file outside its sandbox.
    """
    with tempfile.NamedTemporaryFile(prefix="outside-") as outside:
        os.chmod(outside.name, 0o644)
        program = Program(
            code="import os\ndef sees(path): return os.path.exists(path)",
            tests=f"assert not sees({outside.name!r})" if level.safe else "assert sees('/')",
            names=("sees",),
        )
        try:
            outcome = _run(program, level, 20.0, 60.0, 512)
        except OSError as error:
            return str(error)
    return "" if outcome.passed else outcome.reason.removeprefix(_SANDBOX_FAILED)


def describe(level: Level) -> str:
    """Describe a level for logs and results: its name, and why no stronger level was used."""
    stronger = list(Level)[: list(Level).index(level)]
    reasons = _reasons([other for other in stronger if why_not(other)])
    return level.value + (f" ({reasons})" if reasons else "")


def _reasons(levels: Sequence[Level]) -> str:
    """Return one line that says why each of the levels does not work."""
    return "; ".join(f"{level.value}: {why_not(level)}" for level in levels)


def _run(
    program: Program, level: Level, timeout: float, wall_timeout: float, memory_mb: int
) -> Outcome:
    """Run one program in a new sandbox and remove the sandbox afterwards."""
    started = time.perf_counter()
    token = secrets.token_bytes(_TOKEN_BYTES)
    tests = {
        "tests": program.tests,
        "names": program.names,
        "setup": program.setup,
        "token": token,
    }
    with tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True) as folder:
        limits = settings(
            level,
            timeout=timeout,
            wall_timeout=wall_timeout,
            memory_mb=memory_mb,
            file_mb=_FILE_MB,
            mount_point=folder,
        )
        if level is Level.RLIMITS and limits["uid"] is not None:
            os.chown(folder, limits["uid"], limits["uid"])
        messages = [boot_message()]
        messages += [marshal.dumps(item) for item in (limits, program.code, tests)]
        process = subprocess.Popen(
            command(level),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(),
            start_new_session=True,
        )
        output = None
        try:
            payload = b"".join(frame(message) for message in messages)
            output = _communicate(process, payload, wall_timeout + _START_SECONDS)
        finally:
            _end(process, kill=output is None)
    status, reason = _read_verdict(*output, token) if output else _TIMED_OUT
    return Outcome(status=status, reason=reason, seconds=time.perf_counter() - started)


def _read_verdict(out: bytes, err: bytes, token: bytes) -> tuple[Status, str]:
    """Return the checker's verdict; only output that starts with the token is the checker's."""
    if not hmac.compare_digest(out[:_TOKEN_BYTES], token):
        lines = err.decode("utf-8", "replace").strip().splitlines() or ["it ended without output"]
        return "killed", _SANDBOX_FAILED + lines[-1][:200]
    status, reason = marshal.loads(out[_TOKEN_BYTES:])
    return status, reason


def _communicate(
    process: subprocess.Popen[bytes], payload: bytes, seconds: float
) -> tuple[bytes, bytes] | None:
    """Write the payload to a process and read its output until it closes its pipes.

    `Popen.communicate` with a timeout would then poll for the end of the process at growing
    intervals, which takes longer than everything else here.

    Returns:
        What the process wrote to stdout and to stderr; None if it took longer than `seconds`.
    """
    assert process.stdin and process.stdout and process.stderr
    out, err = bytearray(), bytearray()
    unsent = memoryview(payload)
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
                        unsent = unsent[os.write(key.fd, unsent) :]
                    except BrokenPipeError:
                        unsent = unsent[:0]
                    if not unsent:
                        selector.unregister(process.stdin)
                    continue
                part = os.read(key.fd, _MAX_OUTPUT_BYTES)
                if not part:
                    selector.unregister(key.fileobj)
                elif len(key.data) < _MAX_OUTPUT_BYTES:
                    key.data.extend(part)
    return bytes(out), bytes(err)


def _end(process: subprocess.Popen[bytes], *, kill: bool) -> None:
    """Wait until a sandbox and every process in it have ended.

    Args:
        process: The outermost process of the sandbox.
        kill: Whether to kill it first; a sandbox that has sent its verdict ends by itself.
    """
    if kill:  # not waited for yet, so its process id cannot belong to another process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()
