"""Measure how much CPU time the commands take to start.

    python benchmarks/start.py [--rounds 3]

Each command is a process of its own, on the data and the model of the quickstart. The last row is
what `axolotl dmt` adds to the start of `axolotl` itself: importing the commands into a process that
has imported click already. CPU time is less sensitive to other work on the machine than wall time.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DMT = "from axolotl_dmt.cli import dmt; dmt()"
ADDED = """
import time, click
before = time.process_time()
import axolotl_dmt.cli
print(time.process_time() - before)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        config = quickstart(Path(folder))
        rows = {
            "`axolotl-dmt check`": cpu_seconds("check", config, rounds=rounds),
            "`axolotl-dmt plan`, the first time": cpu_seconds("plan", config, rounds=1),
            "`axolotl-dmt plan` on prepared data": cpu_seconds("plan", config, rounds=rounds),
        }
        other = Path(folder) / "other.yaml"
        other.write_text(Path(config).read_text().replace("k: 1/8", "k: 1/4"))
        rows["the same with another k"] = cpu_seconds("plan", str(other), rounds=rounds)
    added = [float(output("-c", ADDED)) for _ in range(rounds)]
    rows["what `axolotl dmt` adds to `axolotl`"] = statistics.median(added)
    print("| command | CPU s |")
    print("|---|---|")
    for name, seconds in rows.items():
        print(f"| {name} | {seconds:.2f} |")


def quickstart(folder: Path) -> str:
    """Write the quickstart's data, model and YAML to a folder, and return the YAML's path."""
    output("-m", "axolotl_dmt.toy", str(folder / "data"))
    text = (ROOT / "yaml_templates/quickstart.yaml").read_text(encoding="utf-8")
    text = text.replace("outputs/quickstart-data", str(folder / "data"))
    text = text.replace("outputs/quickstart", str(folder / "out"))
    path = folder / "quickstart.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def cpu_seconds(command: str, config: str, *, rounds: int) -> float:
    """Return the median CPU time of a command."""
    seconds = []
    for _ in range(rounds):
        before = children()
        output("-c", DMT, command, config)
        seconds.append(children() - before)
    return statistics.median(seconds)


def children() -> float:
    """Return the CPU time of the processes that have ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def output(*arguments: str) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    main()
