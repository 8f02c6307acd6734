"""Measure the sandbox's cost per program at each available level, compared with plain Python.

    python benchmarks/sandbox.py [--rounds 40]

The levels alternate, so that other work on the machine affects all of them equally. The times are
the wall times of a trivial program, one program at a time. The last column is the number of such
programs per second on all cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable

from axolotl_dmt.sandbox import Level, Program, run_programs, why_not
from axolotl_dmt.sandbox.levels import environment, interpreter

PROGRAM = Program(code="def f(x): return x + 1", tests="assert f(1) == 2", names=("f",))


def bare() -> None:
    command = [interpreter(), "-S", "-s", "-B", "-c", "pass"]
    subprocess.run(command, check=True, env=environment())


def at(level: Level, count: int = 1, workers: int | None = 1) -> None:
    outcomes = run_programs([PROGRAM] * count, level=level, workers=workers, allow_unsafe_code=True)
    assert all(outcome.passed for outcome in outcomes), outcomes


def milliseconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    runs: dict[str, Callable[[], None]] = {"bare Python": bare}
    for level in Level:
        if reason := why_not(level):
            print(f"{level.value}: not available ({reason})")
        else:
            runs[level.value] = lambda level=level: at(level)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, work in runs.items():
            times[name].append(milliseconds(work))
    load = os.getloadavg()[0]
    print(f"{rounds} rounds, {os.cpu_count()} cores, load {load:.1f}, {interpreter()}")
    print(f"{'':14}{'median ms':>10}{'10%':>8}{'90%':>8}{'per second':>12}")
    for name, measured in times.items():
        cuts = statistics.quantiles(measured, n=10)
        row = f"{name:14}{statistics.median(measured):10.1f}{cuts[0]:8.1f}{cuts[-1]:8.1f}"
        if name in (level.value for level in Level):
            whole = milliseconds(lambda name=name: at(Level(name), rounds, None))
            row += f"{1000 * rounds / whole:12.1f}"
        print(row)


if __name__ == "__main__":
    main()
