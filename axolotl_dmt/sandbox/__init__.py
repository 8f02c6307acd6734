"""Run programs that a model wrote, as far from the machine as the machine allows.

    outcomes = run_programs([Program(code="def f(x): return x + 1", tests="assert f(1) == 2",
                                     names=("f",))])
    outcomes[0].passed

Each program gets two fresh processes, both inside the sandbox: its code runs in one and its tests
in the other, and each call that a test makes goes over a pipe, with plain values only. So a program
passes by what its functions return and by nothing else: it does not see its tests and has no way to
reach the channel the verdict goes by.

Levels, the strongest that works is taken:

    bubblewrap   `bwrap` with its own file system, network, processes; seccomp; limits
    namespaces   the same without `bwrap`, where the kernel lets a user make namespaces
    rlimits      limits on time, memory, files and processes, on Linux also seccomp and, where the
                 kernel has it, Landlock, without which the program can read what its user can
                 read; it is run only where that is asked for

On all of them root first becomes an unprivileged user, the environment is empty, the folder is
empty and temporary, and no other process can be started.

    codec     plain values over a pipe
    confine   what a process does to itself: namespaces, files, rights, limits, seccomp
    inside    the two processes
    levels    what a level is and how it starts
    harness   starts sandboxes, in parallel, and reads their verdicts
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
