"""At each level of the sandbox a correct program passes and a hostile program gains nothing."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from axolotl_dmt.sandbox import Level, Program, codec, confine, levels, run_programs
from tests.sandbox.running import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux")


@pytest.fixture
def safe_level(level: Level) -> Level:
    if not level.safe:
        pytest.skip("resource limits alone do not guarantee this")
    return level


@pytest.fixture
def hiding_level(level: Level) -> Level:
    """Return a level that hides outside files: by namespaces, or by Landlock in the kernel."""
    if not level.safe and not confine.landlock_version():
        pytest.skip("this kernel has no Landlock")
    return level


def assert_refused(level: Level, attempt: str, setup: str = "") -> None:
    """Assert that a statement raises in the sandbox and that the program survives the attempt."""
    code = f"""
import os, socket, subprocess, threading, time
{setup}
def attempt():
    try:
        {attempt}
    except (OSError, RuntimeError) as error:
        return type(error).__name__
    return "done"
"""
    outcome = run(level, code, "assert attempt() != 'done'", "attempt")
    assert outcome.passed, outcome


# Correct programs


def test_correct_programs_pass_and_wrong_ones_fail_in_order(level: Level) -> None:
    programs: list[Program | str] = []
    for i in range(12):
        code = f"import time; time.sleep({0.1 * (i % 3)})\ndef f(x): return x + {i % 2}"
        programs.append(Program(code=code, tests="assert f(1) == 2", names=("f",)))
    outcomes = run_programs(programs, level=level, workers=4, allow_unsafe_code=True)
    assert [outcome.passed for outcome in outcomes] == [bool(i % 2) for i in range(12)]


def test_a_program_without_tests_passes_if_its_code_runs_without_an_exception(level: Level) -> None:
    texts = ["assert 1 + 1 == 2", "assert 1 + 1 == 3", "x = (", ""]
    outcomes = run_programs(texts, level=level, allow_unsafe_code=True)
    assert [outcome.status for outcome in outcomes] == ["passed", "failed", "failed", "passed"]
    assert outcomes[1].reason == "AssertionError"
    assert outcomes[2].reason.startswith("SyntaxError")


def test_only_the_standard_library_can_be_imported(level: Level) -> None:
    code = "import collections.abc, dataclasses, hashlib, heapq, itertools, math, re, typing"
    code += "\ndef f(x): return hashlib.md5(x.encode()).hexdigest()"
    tests = "assert f('a') == '0cc175b9c0f1b6a831c399e269772661'"
    assert run(level, code, tests, "f").passed
    assert run(level, "import pytest").reason.startswith("ModuleNotFoundError")


def test_sets_have_the_same_order_in_each_run(level: Level) -> None:
    code = "def f(): return list({'a', 'b', 'c', 'd', 'e'})"
    order = [chr(97 + i) for i in range(5)]
    same = f"assert f() == {order!r}"
    orders = {run(level, code, same, "f").passed for _ in range(6)}
    assert len(orders) == 1


def test_a_test_may_expect_an_exception(level: Level) -> None:
    code = "def f(x): raise TypeError(x)"
    tests = (
        "try:\n    f('no')\nexcept TypeError as e:\n    assert str(e) == 'no'\nelse:\n    assert 0"
    )
    assert run(level, code, tests, "f").passed


def test_values_keep_their_type_across_the_pipe(level: Level) -> None:
    code = """
from collections import Counter, OrderedDict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction
Pair = namedtuple("Pair", "a b")
def values():
    return [Counter("aab"), OrderedDict(a=1), deque([1]), Pair(1, 2), Decimal("1.5"),
            Fraction(1, 3), {1}, frozenset([2]), (3,), b"4", 1j, range(3), 10**50, float("inf")]
def lazily(): return map(str, range(3))
def keys(): return {"b": 1, "a": 2}.keys()
def thing(): return object()
"""
    tests = """
from collections import deque
from decimal import Decimal
from fractions import Fraction
assert values() == [{"a": 2, "b": 1}, {"a": 1}, deque([1]), (1, 2), Decimal("1.5"),
                    Fraction(1, 3), {1}, frozenset([2]), (3,), b"4", 1j, range(3), 10**50,
                    float("inf")]
assert list(lazily()) == ["0", "1", "2"] and lazily() != ["0", "1", "2"]
assert sorted(keys()) == ["a", "b"]
assert thing() and thing() is not None and thing() != thing()
"""
    assert run(level, code, tests, "values", "lazily", "keys", "thing").passed


# Exhausting the machine


def test_an_endless_loop_times_out(level: Level) -> None:
    assert run(level, "while True: pass", timeout=0.5).status == "timed out"


def test_sleeping_times_out(level: Level) -> None:
    outcome = run(level, "import time; time.sleep(3600)", wall_timeout=0.5)
    assert outcome.status == "timed out"
    outcome = run(level, "", "import time; time.sleep(3600)", wall_timeout=0.5)
    assert outcome.status == "timed out"


def test_waiting_does_not_count_as_processor_time(level: Level) -> None:
    code = "import time\ndef f(): time.sleep(1.5); return 1"
    assert run(level, code, "assert f() == 1", "f", timeout=1.0, wall_timeout=60).passed


def test_a_program_that_catches_every_exception_times_out(level: Level) -> None:
    code = """
import time
while True:
    try:
        while True: time.sleep(0.01)
    except BaseException:
        pass
"""
    assert run(level, code, timeout=0.5, wall_timeout=1.0).status == "timed out"


def test_endless_tests_time_out(level: Level) -> None:
    assert run(level, "", "while True: pass", timeout=0.5).status == "timed out"


def test_a_program_that_ignores_signals_times_out(level: Level) -> None:
    code = """
import signal
for number in (signal.SIGXCPU, signal.SIGALRM, signal.SIGPROF, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
while True: pass
"""
    assert run(level, code, timeout=0.5).status == "timed out"


def test_no_process_thread_or_program_can_be_started(level: Level) -> None:
    # At most three processes, in case the sandbox fails to refuse them.
    assert_refused(level, "[os.fork() for _ in range(3)] and os._exit(0)")
    assert_refused(level, "threading.Thread(target=time.sleep, args=(1,)).start()")
    assert_refused(level, "subprocess.run(['/bin/true'])")
    assert_refused(level, "os.execv('/bin/true', ['true'])")
    assert_refused(level, "os.posix_spawn('/bin/true', ['true'], {})")


def test_memory_is_limited(level: Level) -> None:
    assert run(level, "x = bytearray(2**31)").reason == "MemoryError"
    outcome = run(level, "x = []\nwhile True: x.append(bytearray(2**24))")
    assert outcome.status in ("failed", "killed")


def test_a_crash_of_the_interpreter_fails_the_program(level: Level) -> None:
    code = "import ctypes\ndef f(): ctypes.string_at(0)"
    assert run(level, code, "f()", "f").status == "killed"


def test_huge_output_is_discarded(level: Level) -> None:
    code = """
import os, sys
text = "x" * 2**20
for _ in range(200):
    print(text); print(text, file=sys.stderr); os.write(1, text.encode())
"""
    assert run(level, code).passed
    outcome = run(level, "raise ValueError('x' * 10**7)")
    assert outcome.status == "failed" and len(outcome.reason) <= 300


def test_a_huge_result_fails_the_program(level: Level) -> None:
    outcome = run(level, "def f(): return 'x' * 2**26", "f()", "f")
    assert outcome.status == "failed"
    assert outcome.reason.startswith("ValueError") and str(codec.MAX_BYTES) in outcome.reason


def test_a_huge_file_is_refused(level: Level) -> None:
    assert_refused(level, "open('big', 'wb').write(bytes(2**26))")


def test_the_total_size_of_files_is_limited(safe_level: Level) -> None:
    assert_refused(safe_level, "[open(str(i), 'wb').write(bytes(2**21)) for i in range(20)]")


# Reaching out of the sandbox


def test_the_working_folder_is_empty_and_writable(level: Level) -> None:
    code = """
import os
def look(): return os.listdir(".")
def write(): open("a.txt", "w").write("b"); return open("a.txt").read()
"""
    assert run(level, code, "assert look() == [] and write() == 'b'", "look", "write").passed


def test_the_callers_environment_is_out_of_sight(
    hiding_level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "our-secret")
    code = f"""
import os
def look():
    seen = repr(dict(os.environ))
    for pid in ("self", os.getppid(), {os.getpid()}):
        try:
            seen += open(f"/proc/{{pid}}/environ").read()
        except OSError:
            pass
    return seen
"""
    assert run(hiding_level, code, "assert 'our-secret' not in look()", "look").passed


def test_files_of_the_home_folder_cannot_be_read(hiding_level: Level) -> None:
    try:
        file = tempfile.NamedTemporaryFile(dir=Path.home())  # noqa: SIM115
    except OSError:
        pytest.skip("the home folder cannot be written")
    with file:
        file.write(b"secret")
        file.flush()
        assert_refused(hiding_level, f"open({file.name!r}).read()")


def test_files_outside_cannot_be_read_or_written(hiding_level: Level, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    (tmp_path / "theirs").write_text("secret")
    os.chmod(tmp_path / "theirs", 0o666)
    assert_refused(hiding_level, f"open({str(tmp_path / 'theirs')!r}).read()")
    before = {folder: set(os.listdir(folder)) for folder in ("/", "/tmp", "/dev", sys.base_prefix)}
    for folder in [*before, "..", "/usr/lib", str(tmp_path), os.path.dirname(os.__file__)]:
        assert_refused(hiding_level, f"open({folder + '/mine'!r}, 'w').write('x')")
        assert_refused(hiding_level, f"os.mkdir({folder + '/mine-too'!r})")
    for folder, names in before.items():
        assert "mine" not in set(os.listdir(folder)) - names
    assert os.listdir(tmp_path) == ["theirs"]


def test_no_socket_to_loopback_or_anywhere(level: Level) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert_refused(level, f"socket.create_connection(('127.0.0.1', {port}), 2)")
    assert_refused(level, "socket.socketpair()")
    assert_refused(level, "socket.socket(socket.AF_UNIX)")


def test_no_other_process_can_be_signalled(level: Level) -> None:
    for target in ("os.getppid()", str(os.getpid()), "-1", "0"):
        assert_refused(level, f"os.kill({target}, 9)")
    assert_refused(level, "os.killpg(os.getpgid(0), 9)")
    assert_refused(level, f"os.setpriority(os.PRIO_PROCESS, {os.getpid()}, 19)")


def test_root_has_no_privileges_inside(level: Level) -> None:
    if os.geteuid() == 0 and levels.unprivileged_uid() is None:
        pytest.skip("this root is an unprivileged user outside its user namespace")
    code = "import os\ndef who(): return os.geteuid(), os.getegid(), os.getgroups()"
    tests = "uid, gid, groups = who()\nassert uid and gid and 0 not in groups, who()"
    assert run(level, code, tests, "who").passed
    assert_refused(level, "os.setuid(0)")
    assert_refused(level, "os.chroot('.')")


# Faking a pass


@pytest.mark.parametrize("end", ["os._exit(0)", "raise SystemExit(0)", "sys.exit()"])
def test_exiting_early_fails(level: Level, end: str) -> None:
    assert run(level, f"import os, sys\n{end}").status == "failed"
    outcome = run(level, f"import os, sys\ndef f(): {end}", "f()", "f")
    assert outcome.status == "failed"
    assert (
        run(level, f"import os, sys\ndef f(): {end}", "try: f()\nexcept: pass", "f").status
        == "failed"
    )


def test_writing_a_verdict_to_every_descriptor_fails(level: Level) -> None:
    code = """
import marshal, os, sys
mark = marshal.dumps(("passed", ""))
print("passed"); sys.stdout.flush()
for descriptor in range(64):
    for data in (b"passed", mark, bytes(16) + mark, b"\\x05\\0\\0\\0ready", b"\\x02\\0\\0\\0vT"):
        try:
            os.write(descriptor, data)
        except OSError:
            pass
def f(x): return x
"""
    assert not run(level, code, "assert f(1) == 2", "f").passed
    assert not run(level, code + "\nos._exit(0)", "assert f(1) == 2", "f").passed


def test_the_tests_are_out_of_the_programs_reach(level: Level) -> None:
    code = """
import gc, os
def find():
    mark = "nee" "dle"
    values = [o for o in gc.get_objects() if isinstance(o, (str, bytes, dict))]
    leaks = [o for o in values if mark in repr(o)[:9999]]
    for name in ("mem", "fd/0", "fd/1", "fd", "environ", "maps"):
        try:
            path = f"/proc/{os.getppid()}/{name}"
            leaks.append(os.listdir(path) if name == "fd" else open(path, "rb+").read(1))
        except OSError:
            pass
    return len(leaks)
"""
    assert run(level, code, "# needle\nassert find() == 0", "find").passed


@pytest.mark.parametrize(
    "code",
    [
        "import builtins\nbuiltins.AssertionError = type('E', (BaseException,), {})",
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None",
        "import sys\ninside = sys.modules['axolotl_dmt.sandbox.inside']\n"
        "inside._check = inside._Candidate.call = lambda *a: ('passed', '')",
        "import sys\nsys.settrace(lambda *a: None)\nsys.modules['tests'] = sys.modules[__name__]",
        "check = lambda f: None\nimport sys\nfor frame in sys._current_frames().values():\n"
        "    while frame: frame.f_globals['_check'] = check; frame = frame.f_back",
        "import atexit, os, sys\nsys.excepthook = print\natexit.register(os._exit, 0)",
    ],
)
def test_patching_the_checker_fails(level: Level, code: str) -> None:
    tests = "def check(f):\n    assert f(1) == 2\ncheck(f)"
    assert run(level, f"{code}\ndef f(x): return x", tests, "f").status == "failed"


def test_a_result_that_equals_everything_fails(level: Level) -> None:
    code = """
class Any:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
class Int(int):
    __eq__ = Any.__eq__
class List(list):
    __eq__ = Any.__eq__
def one(): return Any()
def two(): return Int(1)
def three(): return List([1])
"""
    tests = "assert {} == {}"
    for call, value in (("one()", "2"), ("two()", "2"), ("three()", "[2]")):
        assert run(level, code, tests.format(call, value), "one", "two", "three").status == "failed"
