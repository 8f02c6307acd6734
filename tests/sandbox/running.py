"""Run one program at one level of the sandbox."""

from __future__ import annotations

from axolotl_dmt.sandbox import Level, Outcome, Program, run_programs


def run(
    level: Level,
    code: str,
    tests: str = "",
    *names: str,
    timeout: float = 20.0,
    wall_timeout: float | None = None,
    memory_mb: int = 256,
) -> Outcome:
    program = Program(code=code, tests=tests, names=names)
    (outcome,) = run_programs(
        [program],
        level=level,
        timeout=timeout,
        wall_timeout=wall_timeout,
        memory_mb=memory_mb,
        allow_unsafe_code=True,
    )
    return outcome
