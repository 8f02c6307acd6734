"""Measure the speed and the peak memory of compiling a plan.

    python benchmarks/plan.py                  # 10^5 to 10^8 rows, 3 and 100 domains
    python benchmarks/plan.py --max-rows 1e6   # a quick look

Each case runs in its own process. The plan is one epoch of N rows with 4/5 of every domain, so that
each row passes through both the selection and the ordering. `B/row` is the growth of the process's
peak resident memory, compared with its size after all imports, divided by N. `CPU s` is the sum
over all threads, which is less sensitive to other work on the machine. `fingerprint`, `save` and
`load` (which checks the fingerprint) are timed separately.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time

ORDERS = ("shuffle", "round_robin", "blocks", "length_grouped")


def measure(rows: int, domains: int, order: str, lengths: bool) -> dict[str, float]:
    """Compile one plan in this process.

    Args:
        rows: number of rows in the plan.
        domains: number of domains; the size of the i-th is proportional to 1 / i.
        order: the order of the rows, as under `dmt.order`.
        lengths: whether the domains have lengths and trained lengths, which the plan then counts.
            They are allocated before the measurement starts, as tokenised data would be.
    """
    import numpy as np

    from axolotl_dmt.api import Domain, Stage, TrainingPlan, compile_plan, parse_amount

    weights = 1 / np.arange(1, domains + 1)
    sizes = np.maximum(5, (rows * 1.25 * weights / weights.sum()).astype(np.int64))
    random = np.random.default_rng(0)

    def column(size: int, low: int, high: int) -> np.ndarray | None:
        return random.integers(low, high, size, dtype=np.int32) if lengths else None

    pools = [
        Domain(
            name=f"d{index}",
            rows=int(size),
            lengths=column(int(size), 20, 2000),
            trained=column(int(size), 10, 1000),
        )
        for index, size in enumerate(sizes)
    ]
    stage = Stage(
        name="all",
        mix={pool.name: parse_amount("4/5", "") for pool in pools},
        learning_rate=1e-5,
        order=order,
    )
    # Import and compile everything once, so that the first case does not pay for it.
    small = [Domain(name="d", rows=10, lengths=np.full(10, 5, np.int32))]
    warm = Stage(name="s", mix={"d": parse_amount("all", "")}, learning_rate=1.0, order=order)
    _ = compile_plan(stages=[warm], domains=small, seed=1, global_batch=2).fingerprint

    before = _peak_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    plan = compile_plan(stages=[stage], domains=pools, seed=7, global_batch=128)
    compiled, worked = time.perf_counter() - start, time.process_time() - cpu
    peak = _peak_bytes() - before
    start = time.perf_counter()
    _ = plan.fingerprint
    fingerprinted = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        plan.save(folder)
        saved = time.perf_counter() - start
        start = time.perf_counter()
        TrainingPlan.load(folder)
        loaded = time.perf_counter() - start
    drawn = plan.stages[0].draws
    return {
        "rows": drawn,
        "seconds": compiled,
        "cpu": worked,
        "rows_per_second": drawn / compiled,
        "bytes_per_row": peak / drawn,
        "fingerprint": fingerprinted,
        "save": saved,
        "load": loaded,
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _in_process(rows: int, domains: int, order: str, lengths: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(rows), str(domains), order, str(int(lengths))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-rows", type=float, default=1e8)
    parser.add_argument("--one", nargs=4, metavar=("ROWS", "DOMAINS", "ORDER", "LENGTHS"))
    arguments = parser.parse_args()
    if arguments.one:
        rows, domains, order, lengths = arguments.one
        print(json.dumps(measure(int(rows), int(domains), order, bool(int(lengths)))))
        return
    cases = [
        (10**power, domains, "shuffle", False) for power in range(5, 9) for domains in (3, 100)
    ]
    cases.append((10**8, 3, "shuffle", True))
    cases += [(10**7, domains, order, True) for order in ORDERS for domains in (3, 100)]
    print(
        "| rows | domains | order | lengths | s | CPU s | M rows/s | B/row "
        "| fingerprint s | save s | load s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for rows, domains, order, lengths in cases:
        if rows > arguments.max_rows:
            continue
        got = _in_process(rows, domains, order, lengths)
        print(
            f"| 10^{len(str(rows)) - 1} | {domains} | {order} | {'yes' if lengths else 'no'} "
            f"| {got['seconds']:.2f} | {got['cpu']:.2f} | {got['rows_per_second'] / 1e6:.1f} "
            f"| {got['bytes_per_row']:.1f} | {got['fingerprint']:.2f} | {got['save']:.2f} "
            f"| {got['load']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
