"""The two processes inside a sandbox: the candidate, and the checker that runs its tests.

    harness --(stdin: settings, candidate's code)--> [fork]-- candidate: runs the code, then answers
    harness --(stdin: tests, token)--------------------> checker:  runs the tests, calls over pipes
    harness <--(stdout: token, verdict)----------------- checker

The candidate is forked before the checker reads the tests and the token, and it does not keep the
pipes that carry them. So nothing that its code prints, patches, exits with or finds in its memory
can be mistaken for a pass: a test passes only if what the functions return, and what they do to
their arguments, satisfies it.

Limits count processor time, so that the verdict does not depend on what else the machine does; a
wider limit on wall time ends programs that wait. A sandbox whose harness has ended ends too.

The module is loaded inside the sandbox, so it imports almost nothing.
"""

import marshal
import os
import select
import sys
import time

from axolotl_dmt.sandbox import codec, confine, remote, seccomp

TYPE_CHECKING = False  # typing takes 5 ms to import
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any
else:
    import _signal  # what signal.py wraps; it imports enum, which takes long

READY, DONE = b"ready", b"done"
_MAX_REASON = 200
_CANDIDATE_MODULE, _TESTS_MODULE = "candidate", "tests"


class _Lost(BaseException):
    """Raised when the candidate cannot answer any more calls.

    It is not an `Exception`, so that a test's `except Exception` does not swallow it.
    """

    def __init__(self, status: str, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


def main() -> None:
    """Read settings, code and tests from stdin, test a forked candidate and write the verdict."""
    settings = marshal.loads(_read_message(0))
    confine.die_with_parent()
    if settings["namespaces"]:
        confine.enter_namespaces(
            paths=settings["paths"],
            mount_point=settings["mount_point"],
            work=settings["work"],
            work_bytes=settings["work_bytes"],
            as_root=settings["uid"] is not None,
        )
    sys.path[:] = [path for path in sys.path if path]
    rules = confine.make_file_rules(settings["paths"])
    confine.drop_privileges(settings["uid"])
    confine.set_limits(
        memory_bytes=settings["memory_bytes"],
        cpu_seconds=settings["cpu_seconds"],
        file_bytes=settings["file_bytes"],
    )
    code = marshal.loads(_read_message(0))
    calls, answers = os.pipe(), os.pipe()
    deadline = time.monotonic() + settings["wall_timeout"]
    child = os.fork()
    if child == 0:
        try:
            _run_candidate(code, calls[0], answers[1], rules)
        finally:
            os._exit(1)
    os.close(calls[0])
    os.close(answers[1])
    verdict = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    confine.set_limits(processes=0)
    tests = marshal.loads(_read_message(0))
    candidate = _Candidate(
        child, calls[1], answers[0], harness=verdict, cpu=settings["timeout"], deadline=deadline
    )

    def finish(status: str, reason: str) -> None:
        candidate.end()
        text = " ".join(reason.split())[:_MAX_REASON]
        _write_all(verdict, tests["token"] + marshal.dumps((status, text)))
        os._exit(0)

    def out_of_time(*_: object) -> None:
        finish("timed out", "the tests ran out of time")

    for timer, number, seconds in (
        (_signal.ITIMER_PROF, _signal.SIGPROF, settings["timeout"]),
        (_signal.ITIMER_REAL, _signal.SIGALRM, settings["wall_timeout"] + 1.0),
    ):
        _signal.signal(number, out_of_time)
        _signal.setitimer(timer, seconds)
    finish(*_check(candidate, tests))


# The candidate's side


def _run_candidate(code: str, calls: int, answers: int, rules: int) -> None:
    """Run the code, report its outcome, then answer calls until the checker ends."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    confine.apply_file_rules(rules)
    confine.close_files_except({0, 1, 2, calls, answers})
    confine.die_with_parent()
    confine.set_limits(processes=0)
    seccomp.deny_system_calls()
    module = type(sys)(_CANDIDATE_MODULE)
    sys.modules[_CANDIDATE_MODULE] = module
    checker = _Checker(calls, answers, module.__dict__)
    try:
        exec(compile(code, "<candidate>", "exec", dont_inherit=True), module.__dict__)
        outcome = DONE
    except BaseException as error:
        outcome = remote.describe(error)
    checker.send(READY)
    checker.send(outcome)
    while True:
        checker.send(checker.serve(checker.receive()))


class _Checker(remote.Link):
    """The checker, as the candidate sees it."""

    def __init__(self, calls: int, answers: int, names: "dict[str, Any]") -> None:
        super().__init__()
        self._calls, self._answers, self._names = calls, answers, names

    def send(self, data: bytes) -> None:
        _write_all(self._answers, codec.frame(data))

    def receive(self) -> bytes:
        return _read_message(self._calls)

    def named(self, name: str) -> object:
        return self._names[name] if name in self._names else super().named(name)


# The checker's side


class _Candidate(remote.Link):
    """The candidate process, as the checker sees it.

    Attributes:
        lost: Why the candidate cannot answer any more calls; None while it can.
    """

    caught = Exception

    def __init__(
        self, pid: int, calls: int, answers: int, *, harness: int, cpu: float, deadline: float
    ) -> None:
        super().__init__()
        self._pid, self._calls, self._answers = pid, calls, answers
        self._harness, self._cpu, self._deadline = harness, cpu, deadline
        self._events = select.poll()
        self._events.register(answers, select.POLLIN)
        self._events.register(harness, 0)
        self.lost: _Lost | None = None

    def start(self) -> None:
        """Wait until the candidate's code has run; raise the exception that the code raised."""
        if self.receive() != READY:
            raise self._lose("failed", "the program wrote an unexpected message")
        outcome = self.receive()
        if outcome != DONE:
            self.result(outcome)

    def request(self, *args: "Any", **kwargs: "Any") -> "Any":
        if self.lost:
            raise self.lost
        return super().request(*args, **kwargs)

    def result(self, message: bytes, values: "list[object] | None" = None) -> "Any":
        try:
            return super().result(message, values)
        except remote.Unusable:
            raise self._lose("failed", "a function returned a malformed value") from None

    def failure(self, kind: str, base: str, text: str, args: "tuple[object, ...]") -> BaseException:
        if base == "SystemExit":
            return self._lose("failed", "the program raised SystemExit")
        return super().failure(kind, base, text, args)

    def permit(self, operation: str, target: object, args: "list[Any]") -> None:
        """Let the program call what a test passed to it, and use its public attributes."""
        if operation in ("getattr", "setattr") and args[0].startswith("_"):
            raise AttributeError(f"{args[0]} is private")
        if operation == "setattr" and (
            isinstance(target, type) or type(target).__module__ != _TESTS_MODULE
        ):
            raise AttributeError(f"{args[0]} cannot be set")

    def export(self, value: object) -> None:
        if isinstance(value, type(sys)):
            raise TypeError("a module cannot be passed to a program")

    def send(self, data: bytes) -> None:
        try:
            _write_all(self._calls, codec.frame(data))
        except OSError:
            raise self._ended() from None

    def receive(self) -> bytes:
        size = int.from_bytes(self._read(4), "little")
        if size > codec.MAX_BYTES + 1:
            raise self._lose("failed", "a function returned a value that is too long")
        return self._read(size)

    def end(self) -> None:
        """Kill the candidate if it is still running, and wait until it has ended."""
        if self._pid:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._wait()
            part = os.read(self._answers, min(size - len(data), 2**20))
            if not part:
                raise self._ended()
            data += part
        return bytes(data)

    def _wait(self) -> None:
        """Wait until the candidate has written something, for as long as it has time left."""
        while True:
            left = min(
                self._deadline - time.monotonic(), self._cpu - confine.cpu_seconds(self._pid)
            )
            if left <= 0:
                raise self._lose("timed out", "the program ran out of time")
            for descriptor, _ in self._events.poll(1000 * left + 1):
                if descriptor == self._harness:  # nobody reads the verdict any more
                    os._exit(1)
                return

    def _ended(self) -> _Lost:
        """Return how the candidate ended, after it closed its pipe."""
        os.kill(self._pid, 9)
        _, status, usage = os.wait4(self._pid, 0)
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return self._lose("failed", f"the program exited early (exit code {code})")
        if -code == _signal.SIGXCPU or usage.ru_utime + usage.ru_stime >= self._cpu:
            return self._lose("timed out", "the program ran out of processor time")
        return self._lose("killed", f"the program was killed by signal {-code}")

    def _lose(self, status: str, reason: str) -> _Lost:
        self.lost = _Lost(status, reason)
        return self.lost


def _check(candidate: _Candidate, tests: "dict[str, Any]") -> tuple[str, str]:
    """Run the tests against the candidate.

    Returns:
        The status and a short reason; the reason is empty if every test passed.
    """

    try:
        candidate.start()
        module = type(sys)(_TESTS_MODULE)
        sys.modules[_TESTS_MODULE] = module
        namespace = module.__dict__
        exec(compile(tests["setup"], "<setup>", "exec", dont_inherit=True), namespace)
        for name in tests["names"]:
            namespace[name] = candidate.remote(name)
        exec(compile(tests["tests"], "<tests>", "exec", dont_inherit=True), namespace)
    except _Lost as lost:
        return lost.status, lost.reason
    except BaseException as error:
        if candidate.lost is None:
            kind = "" if isinstance(error, remote.Raised) else type(error).__name__
            return "failed", ": ".join(part for part in (kind, str(error)) if part)
    if candidate.lost is not None:  # a test caught the exception
        return candidate.lost.status, candidate.lost.reason
    return "passed", ""


# Pipes


def _read_message(descriptor: int) -> bytes:
    return _read_exactly(descriptor, int.from_bytes(_read_exactly(descriptor, 4), "little"))


def _read_exactly(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(descriptor, size - len(data))
        if not part:
            os._exit(1)
        data += part
    return data


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
