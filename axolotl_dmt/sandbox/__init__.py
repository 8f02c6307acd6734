"""Run programs that a model wrote in isolation, and report whether they pass their tests.

    from axolotl_dmt.sandbox import Program, run_programs

    program = Program(code="def f(x): return x + 1", tests="assert f(1) == 2", names=("f",))
    (outcome,) = run_programs([program])
    outcome.passed    # True
    outcome.reason    # "", or one line that says why the program failed

`run_programs` runs many programs in parallel and returns one `Outcome` for each, in order.
`require_level` raises `DMTError` where programs cannot be run safely: call it before any long work
whose result would have to be run.

Each program gets two new processes, both inside the sandbox: one runs its code, the other runs its
tests. When a test calls a function of the program, the call and its result are sent over a pipe, as
plain values or as references to objects that stay where they are. A program therefore passes by
what its functions return, and by what they do to their arguments, and by nothing else: it cannot
see its tests, and it cannot reach the channel that carries the verdict.

A program may import the standard library and nothing else. Its time limit counts processor time.

There are three levels of isolation. The strongest one that works on the machine is used:

    bubblewrap   `bwrap` with a separate file system, network and process table; seccomp; limits
    namespaces   the same without `bwrap`, where the kernel lets a user create namespaces
    rlimits      limits on time, memory, files and processes; on Linux also seccomp and, where the
                 kernel supports it, Landlock. Without Landlock the program can read every file that
                 its user can read, so this level is used only with `allow_unsafe_code`

At every level root first becomes an unprivileged user, the caller's environment variables are not
passed on, the working directory is new and empty, and no further process can be started.

    harness   starts the sandboxes in parallel and reads their verdicts
    levels    defines the levels and the command line that starts each of them
    inside    the two processes inside a sandbox
    seccomp   the filter of system calls that a confined process installs
    confine   what a process does to confine itself: namespaces, file access, privileges, limits
    remote    calls between the two processes, and references to each other's objects
    codec     encodes plain values for a pipe
"""

from axolotl_dmt.sandbox.harness import (
    Outcome,
    Program,
    available_level,
    describe,
    require_level,
    run_programs,
    why_not,
)
from axolotl_dmt.sandbox.levels import Level

__all__ = [
    "Level",
    "Outcome",
    "Program",
    "available_level",
    "describe",
    "require_level",
    "run_programs",
    "why_not",
]
