"""Measure the search for evaluation items in a million rows.

    python benchmarks/contamination.py --data FOLDER                # 10^6 rows
    python benchmarks/contamination.py --data FOLDER --rows 1e5     # a quick look

FOLDER holds the test rows of GSM8K and HumanEval, IFEval's prompts, and rows to train on, under the
names in `ITEMS` and `SOURCES`. The texts of each source are cut into sentences and lines, which are
put together again at random, so that rows differ and have the words of real ones. The search is
that of `axolotl dmt check --contamination`, in a process of its own; `check` alone is measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import yaml

from axolotl_dmt.checks.contamination import strings

ITEMS = {
    "math": "gsm8k_test.jsonl",
    "code": "humaneval.jsonl",
    "general": "ifeval_input_data.jsonl",
}
SOURCES = {
    "math": "gsm8k_train.jsonl",
    "code": "codealpaca_new.json",
    "general": "oasst_en_trees.jsonl",
}
PIECE = re.compile(r"(?<=[.!?])\s+|\n")


def texts(path: Path) -> list[str]:
    """Return the texts of more than five words in a file of JSON."""
    content = path.read_text(encoding="utf-8")
    rows = json.loads(content) if path.suffix == ".json" else map(json.loads, content.splitlines())
    return [text for row in rows for text in strings(row) if len(text.split()) > 5]


def write_rows(path: Path, source: Path, count: int) -> int:
    """Write rows that are made of the pieces of a source, and return their number of words."""
    whole = texts(source)
    pieces = [piece for text in whole for piece in PIECE.split(text) if piece]
    lengths = [len(PIECE.split(text)) for text in whole]
    choose, words = random.Random(0), 0
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            question = choose.choices(pieces, k=choose.choice(lengths))
            answer = choose.choices(pieces, k=choose.choice(lengths))
            row = {"instruction": "\n".join(question), "input": "", "output": "\n".join(answer)}
            words += sum(len(text.split()) for text in row.values())
            file.write(json.dumps(row) + "\n")
    return words


def check(path: Path, *options: str) -> tuple[float, float, float, str]:
    """Run `axolotl dmt check`; return seconds, seconds of CPU time, peak memory and its output."""
    code = "from axolotl_dmt.cli.main import dmt; dmt()"
    start, log = time.perf_counter(), path.with_name("log.txt")
    with log.open("w") as output:
        child = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", code, "check", str(path), *options],
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
            ],
        )
        _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(log.read_text())
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, log.read_text()


def main() -> None:
    """Write the rows, check them with and without the search, and print the measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=float, default=1e6)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, words, size = Path(temporary), 0, 0
        for domain, source in SOURCES.items():
            path = folder / f"{domain}.jsonl"
            words += write_rows(
                path, arguments.data / source, int(arguments.rows / len(SOURCES)) + 1
            )
            size += path.stat().st_size
        settings = {
            "base_model": "org/model",
            "plugins": ["axolotl_dmt.DMTPlugin"],
            "datasets": [
                {"path": str(folder / f"{domain}.jsonl"), "type": "alpaca", "domain": domain}
                for domain in SOURCES
            ],
            "output_dir": str(folder / "out"),
            "learning_rate": 1e-5,
            "micro_batch_size": 1,
            "dmt": {
                "strategy": "dmt",
                "k": "1/256",
                "evaluate": {
                    "tasks": ["dmt_suite"],
                    "data": {name: str(arguments.data / file) for name, file in ITEMS.items()},
                    "allow_unsafe_code": True,
                },
            },
        }
        yaml_file = folder / "dmt.yaml"
        yaml_file.write_text(yaml.safe_dump(settings))
        mean = words / arguments.rows
        print(f"{arguments.rows:,.0f} rows, {mean:.0f} words each, {size / 1e6:,.0f} MB")
        for options in ((), ("--contamination",)):
            seconds, cpu, memory, output = check(yaml_file, *options)
            name = " ".join(("check", *options))
            print(f"{name}: {seconds:.1f} s, {cpu:.1f} s of CPU time, {memory:,.0f} MiB at most")
        print("\n".join(line[:300] for line in output.splitlines() if "contamination" in line))


if __name__ == "__main__":
    main()
