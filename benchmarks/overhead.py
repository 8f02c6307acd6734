"""Measure the overhead of training by a plan, compared with plain Axolotl on the same rows.

    python benchmarks/overhead.py [--steps 200] [--rounds 3]

Each run is a separate `axolotl train` on prepared data, with the same rows in the same order. The
rows are those of two domains. A third run, `losses`, also logs the loss of each domain, and is
compared with the plan that does not. Start-up is the time from the start of the process to the
first step. Speed is measured from the 10th step to the last, before anything is saved. Both are
measured in wall time and in CPU time of the training process, which is less sensitive to other work
on the machine. A ratio above 1 means that the later run is faster. The order of the runs alternates
between rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from operator import sub, truediv
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
SKIPPED = 10
RUNS = ("plain", "plan", "losses")
DOMAINS = ("math", "more")


def make_data(folder: Path, rows: int) -> None:
    from axolotl_dmt.toy.__main__ import write_jsonl
    from axolotl_dmt.toy.model import save_base
    from axolotl_dmt.toy.skills import make_rows

    train, _ = make_rows("math", train=rows, test=1, seed=0)
    half = len(train) // 2
    for domain, part in zip(DOMAINS, (train[:half], train[half:]), strict=True):
        write_jsonl(folder / f"{domain}.jsonl", part)
    save_base(folder / "base", [text for row in train for text in row.values()])


def write_in_plan_order(folder: Path) -> None:
    """Write the rows for plain Axolotl, which trains them in this order."""
    from axolotl_dmt.api import TrainingPlan

    files = [folder / f"{domain}.jsonl" for domain in DOMAINS]
    rows = [row for file in files for row in file.read_text().splitlines(keepends=True)]
    order = TrainingPlan.load(folder / "out/dmt/plan").order
    (folder / "in_plan_order.jsonl").write_text("".join(rows[row] for row in order))


def entry(file: Path) -> dict[str, Any]:
    kind = {
        "field_instruction": "question",
        "field_output": "answer",
        "format": "{instruction}\n",
        "no_input_format": "{instruction}\n",
    }
    return {"path": str(file), "type": kind}


def settings(folder: Path, run: str) -> dict[str, Any]:
    planned = run != "plain"
    made: dict[str, Any] = {
        "base_model": str(folder / "base"),
        "plugins": ["overhead_clock.ClockPlugin"],
        "datasets": [entry(folder / "in_plan_order.jsonl")],
        "dataset_prepared_path": str(folder / ("prepared-plan" if planned else "prepared")),
        "output_dir": str(folder / "out"),
        "shuffle_merged_datasets": False,
        "dataset_num_proc": 1,
        "sequence_len": 128,
        "micro_batch_size": 32,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "learning_rate": 1e-3,
        "optimizer": "adamw_torch",
        "lr_scheduler": "cosine",
        "logging_steps": 50,
        "save_strategy": "no",
        "bf16": False,
    }
    if not planned:
        return {**made, "curriculum_sampling": True}
    made["datasets"] = [{**entry(folder / f"{name}.jsonl"), "domain": name} for name in DOMAINS]
    made["plugins"] += ["axolotl_dmt.DMTPlugin"]
    stage = {"name": "all", "mix": dict.fromkeys(DOMAINS, "all")}
    return {**made, "dmt": {"stages": [stage], "loss_by_domain": run == "losses"}}


def measure(folder: Path, run: str) -> dict[str, Any]:
    config, clock = folder / "run.yaml", folder / "clock.json"
    config.write_text(yaml.safe_dump(settings(folder, run)))
    clock.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
        "CLOCK_FILE": str(clock),
        "CLOCK_START": str(time.time()),
        "AXOLOTL_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "axolotl.cli.train", str(config)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
    times = json.loads(clock.read_text())
    counted = len(times["steps"]) - SKIPPED
    taken = {name: times[name][-1] - times[name][SKIPPED - 1] for name in ("steps", "cpu")}
    return {
        "start": times["begin"],
        "start CPU": times["cpu_begin"],
        "steps/s": counted / taken["steps"],
        "steps/CPU s": counted / taken["cpu"],
        "losses": times["losses"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_data(folder, arguments.steps * 32)
        measure(folder, "plan")  # prepares the data
        write_in_plan_order(folder)
        measure(folder, "plain")
        rounds = [
            {run: measure(folder, run) for run in (RUNS, RUNS[::-1])[number % 2]}
            for number in range(arguments.rounds)
        ]
    print("| round | run | steps/s | steps/CPU s | start-up s | start-up CPU s |")
    print("|---|---|---|---|---|---|")
    columns = ("steps/s", "steps/CPU s", "start", "start CPU")
    for number, measured in enumerate(rounds, 1):
        for name in RUNS:
            values = " | ".join(f"{measured[name][column]:.2f}" for column in columns)
            print(f"| {number} | {name} | {values} |")

    for before, after in pairwise(RUNS):

        def median(
            column: str,
            compare: Callable[[float, float], float],
            before: str = before,
            after: str = after,
        ) -> float:
            values = (compare(each[after][column], each[before][column]) for each in rounds)
            return statistics.median(values)

        pairs = [
            pair
            for each in rounds
            for pair in zip(each[before]["losses"], each[after]["losses"], strict=True)
        ]
        largest = max(abs(first - second) for first, second in pairs)
        print(
            f"\n{after}: medians: {median('steps/s', truediv):.3f} of the speed of {before} "
            f"({median('steps/CPU s', truediv):.3f} by CPU time), start-up "
            f"{median('start', sub):+.2f} s ({median('start CPU', sub):+.2f} s of CPU time), "
            f"losses differ by at most {largest:.1g}"
        )


if __name__ == "__main__":
    main()
