"""The sandbox takes the strongest level, denies the right calls, and encodes plain values."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.sandbox import (
    Level,
    Program,
    available_level,
    codec,
    describe,
    harness,
    levels,
    require_level,
    run_programs,
    seccomp,
    why_not,
)
from tests.mistakes import expect_error

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux")

GOOD = Program(code="def f(x): return x + 1", tests="assert f(1) == 2", names=("f",))

# Levels


def test_the_strongest_working_level_is_used() -> None:
    working = [level for level in Level if not why_not(level)]
    assert available_level() is working[0]
    assert describe(working[0]).startswith(working[0].value)


def test_the_next_level_is_used_if_bubblewrap_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    why_not.cache_clear()
    available_level.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        reason = why_not(Level.BUBBLEWRAP)
        assert "bwrap" in reason
        level = available_level()
        assert level in (Level.NAMESPACES, Level.RLIMITS)
        assert f"bubblewrap: {reason}" in describe(level)
    why_not.cache_clear()
    available_level.cache_clear()


def test_resource_limits_alone_are_refused_unless_allowed() -> None:
    with expect_error("dmt.evaluate.allow_unsafe_code", "--confirm_run_unsafe_code"):
        run_programs([GOOD], level=Level.RLIMITS)
    (outcome,) = run_programs([GOOD], level=Level.RLIMITS, allow_unsafe_code=True)
    assert outcome.passed


def test_a_level_that_does_not_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    why_not.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        with expect_error("dmt.evaluate.tasks", "bubblewrap"):
            require_level(allow_unsafe_code=True, level=Level.BUBBLEWRAP)
    why_not.cache_clear()


def test_ranks_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    alone = harness.default_workers()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert harness.default_workers() == max(1, alone // 2)


def test_the_home_and_root_folders_are_not_visible_paths() -> None:
    home = str(Path.home())
    visible = levels.visible_paths()
    assert home not in visible and "/" not in visible
    assert all(not home.startswith(path + "/") for path in visible)


@pytest.mark.skipif(shutil.which("cpp") is None, reason="no C preprocessor")
def test_denied_calls_have_the_numbers_in_this_machines_headers(tmp_path: Path) -> None:
    column = {"x86_64": 0, "aarch64": 1}.get(os.uname().machine)
    if column is None:
        pytest.skip("seccomp is not used on this machine")
    text = "#include <sys/syscall.h>\n" + "".join(
        f"@{name} __NR_{name}\n" for name in seccomp._DENIED
    )
    done = subprocess.run(["cpp", "-P"], input=text, capture_output=True, text=True, check=False)
    numbers = dict(line[1:].split() for line in done.stdout.splitlines() if line.startswith("@"))
    if done.returncode or not numbers:
        pytest.skip("no kernel headers")
    expected = {name: int(number) for name, number in numbers.items() if number.isdigit()}
    assert expected
    assert {name: seccomp._DENIED[name][column] for name in expected} == expected


# Values over the pipe

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.frozensets(st.integers())
        | st.sets(st.text())
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_a_plain_value_comes_back_equal_and_of_the_same_type(value: object) -> None:
    back = codec.decode(codec.encode(value))
    assert back == value and type(back) is type(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        codec.decode(data)


def test_built_in_classes_travel_by_name_and_other_objects_by_reference() -> None:
    for kind in (int, dict, ValueError, type(None)):
        assert codec.decode(codec.encode([kind])) == [kind]
    thing = object()
    with pytest.raises(ValueError, match="not plain"):
        codec.encode(thing)
    data = codec.encode({"a": thing}, lambda value: (value is thing, 7))
    with pytest.raises(ValueError, match="malformed"):
        codec.decode(data)
    assert codec.decode(data, lambda is_senders, key: (is_senders, key)) == {"a": (True, 7)}


def test_a_value_that_nests_too_deeply_is_a_value_error() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValueError, match="nests"):
        codec.encode(nested)
    with pytest.raises(ValueError, match="malformed"):
        codec.decode(b"l\x01\0\0\0" * 100_000 + b"N")
    while nested:  # unwound by hand: freeing it at once can overflow the C stack
        nested = nested[0]  # type: ignore[assignment]
