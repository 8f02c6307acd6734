"""The two processes inside a sandbox: the candidate, and the checker that runs its tests.

    harness --(stdin: settings, candidate's code)--> [fork]-- candidate: runs the code, then answers
    harness --(stdin: tests, token)--------------------> checker:  runs the tests, calls over pipes
    harness <--(stdout: token, verdict)----------------- checker

The candidate is forked before the checker reads the tests and the token, and it does not keep the
pipes that carry them. So nothing that its code prints, patches, exits with or finds in its memory
can be mistaken for a pass: a test passes only if the values that the functions return satisfy it.

The module is loaded inside the sandbox, so it imports almost nothing.
"""

import builtins
import marshal
import os
import select
import sys
import time

from axolotl_dmt.sandbox import codec, confine, seccomp

TYPE_CHECKING = False  # typing takes 5 ms to import
if TYPE_CHECKING:
    from typing import Any

READY = b"ready"
_MAX_REASON = 200
_CANDIDATE_MODULE = "candidate"


class _Lost(BaseException):
    """Raised when the candidate cannot answer any more calls.

    It is not an `Exception`, so that a test's `except Exception` does not swallow it.
    """

    def __init__(self, status: str, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


class _Raised(Exception):
    """Stands for an exception of the candidate that is not one of Python's built-in exceptions."""


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
    deadline = time.monotonic() + settings["timeout"]
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
    candidate = _Candidate(child, calls[1], answers[0], deadline)
    status, reason = _check(candidate, tests)
    candidate.end()
    text = " ".join(reason.split())[:_MAX_REASON]
    _write_all(verdict, tests["token"] + marshal.dumps((status, text)))
    os._exit(0)


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
    try:
        exec(compile(code, "<candidate>", "exec"), module.__dict__)
        answer = b"v" + codec.encode(None)
    except BaseException as error:
        answer = _encode_exception(error)
    _write_all(answers, codec.frame(READY))
    _write_all(answers, codec.frame(answer))
    while True:
        name, args, kwargs = codec.decode(_read_message(calls))
        try:
            if name not in module.__dict__:
                raise NameError(f"name {name!r} is not defined")
            answer = b"v" + codec.encode(module.__dict__[name](*args, **kwargs))
        except BaseException as error:
            answer = _encode_exception(error)
        _write_all(answers, codec.frame(answer))


def _encode_exception(error: BaseException) -> bytes:
    """Encode the name of an exception's class and its text."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    return b"e" + codec.encode((type(error).__name__[:80], text[:_MAX_REASON]))


# The checker's side


class _Candidate:
    """The candidate process, as the checker sees it.

    Attributes:
        lost: Why the candidate cannot answer any more calls; None while it can.
    """

    def __init__(self, pid: int, calls: int, answers: int, deadline: float) -> None:
        self._pid, self._calls, self._answers, self._deadline = pid, calls, answers, deadline
        self.lost: _Lost | None = None

    def start(self) -> None:
        """Wait until the candidate's code has run; raise the exception that the code raised."""
        if self._receive() != READY:
            raise self._lose("failed", "the program wrote an unexpected message")
        self._result()

    def call(self, name: str, args: object, kwargs: object) -> object:
        """Call one of the candidate's functions."""
        if self.lost:
            raise self.lost
        message = codec.encode((name, args, kwargs))
        try:
            _write_all(self._calls, codec.frame(message))
        except OSError:
            raise self._ended() from None
        return self._result()

    def end(self) -> None:
        """Kill the candidate if it is still running, and wait until it has ended."""
        if self._pid:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _result(self) -> object:
        message = self._receive()
        try:
            value = codec.decode(message[1:])
            if message[:1] == b"v":
                return value
            kind, text = value
            built_in = getattr(builtins, kind, None)
        except (ValueError, TypeError):
            raise self._lose("failed", "a function returned a malformed value") from None
        if kind == "SystemExit":
            raise self._lose("failed", "the program raised SystemExit")
        raised: Exception = _Raised(f"{kind}: {text}")
        if isinstance(built_in, type) and issubclass(built_in, Exception):
            try:  # noqa: SIM105  (contextlib takes 3 ms to import)
                raised = built_in(text)
            except TypeError:  # UnicodeDecodeError, for one, takes more arguments
                pass
        raise raised

    def _receive(self) -> bytes:
        size = int.from_bytes(self._read(4), "little")
        if size > codec.MAX_BYTES + 1:
            raise self._lose("failed", "a function returned a value that is too long")
        return self._read(size)

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise self._lose("timed out", "the program ran out of time")
            part = os.read(self._answers, min(size - len(data), 2**20))
            if not part:
                raise self._ended()
            data += part
        return bytes(data)

    def _ended(self) -> _Lost:
        """Return how the candidate ended, after it closed its pipe."""
        os.kill(self._pid, 9)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return self._lose("failed", f"the program exited early (exit code {code})")
        if -code == 24:
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

    def remote(name: str) -> object:
        return lambda *args, **kwargs: candidate.call(name, args, kwargs)

    try:
        candidate.start()
        module = type(sys)("tests")
        sys.modules["tests"] = module
        namespace = module.__dict__
        exec(compile(tests["setup"], "<setup>", "exec"), namespace)
        for name in tests["names"]:
            namespace[name] = remote(name)
        exec(compile(tests["tests"], "<tests>", "exec"), namespace)
    except _Lost as lost:
        return lost.status, lost.reason
    except BaseException as error:
        if candidate.lost is None:
            kind = "" if isinstance(error, _Raised) else type(error).__name__
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
