"""Compare the speed and memory of this package with other mixers on the same mixture.

    python benchmarks/mixers.py                        # ours and datasets.interleave_datasets
    python benchmarks/mixers.py --install peers        # first install the others into ./peers
    python benchmarks/mixers.py --peers peers          # use what was installed before
    python benchmarks/mixers.py --rows 1e6             # fewer rows

The mixture is one epoch of N rows of three domains in the proportions 3 : 2 : 1. The mixers run one
after another, each in its own process, and are timed from the domain sizes to the finished index of
the epoch. The growth of peak memory is divided by the number of rows in the index. `--install` uses
pip's --target and --no-deps, because otherwise the other mixers would replace a CPU build of torch
by gigabytes of CUDA libraries.

The mixers:
- ours: exact counts, nested selection, and a shuffle over the whole epoch; once with every row of
  each domain, and once with 4/5 of domains that are larger by 5/4, so that rows are also selected.
- ours, round_robin: the same, but evenly interleaved, like Megatron's builder.
- datasets.interleave_datasets, with the rows of a domain in their stored order: in turn (three
  domains of N / 3 rows, no ratios), and with probabilities (at most 10^6 rows of the mixture).
- MosaicML Streaming: random batching over three streams of 65,536-row shards, shuffled (py1e).
- Megatron-Core: the C++ builder of blended indices, with greedy interleaving and no shuffle.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = {
    "mosaicml-streaming": ("mosaicml-streaming", "python-snappy", "cramjam", "zstd", "catalogue"),
    "megatron-core": ("megatron-core",),
}
SHARE = np.array([3, 2, 1]) / 6
SHARD = 1 << 16
SLOW = 10**6
"""Maximum rows for the mixer that takes half a minute per million; its rate does not change."""


class Missing(Exception):
    """A mixer cannot be loaded; the message says why."""


def sizes_of(rows: int) -> list[int]:
    first, second = int(rows * SHARE[0]), int(rows * SHARE[1])
    return [first, second, rows - first - second]


def ours(rows: int, amount: str, order: str) -> Callable[[], int]:
    from axolotl_dmt.api import Domain, Stage, compile_plan, parse_amount

    def pools(total: int) -> list[Domain]:
        return [Domain(name=f"d{i}", rows=size) for i, size in enumerate(sizes_of(total))]

    def compile_epoch(domains: list[Domain]) -> int:
        mix = {domain.name: parse_amount(amount, "") for domain in domains}
        stage = Stage(name="epoch", mix=mix, learning_rate=1e-5, order=order)
        return (
            compile_plan(stages=[stage], domains=domains, seed=1, global_batch=128).stages[0].draws
        )

    compile_epoch(pools(1000))  # numba compiles the round robin on first use
    return lambda: compile_epoch(pools(rows if amount == "all" else rows * 5 // 4))


def interleave(rows: int, by_probability: bool) -> Callable[[], int]:
    from datasets import Dataset, interleave_datasets

    sizes = sizes_of(rows) if by_probability else [rows // 3] * 3
    parts = [Dataset.from_dict({"row": np.arange(size)}) for size in sizes]
    probabilities = SHARE.tolist() if by_probability else None
    return lambda: len(interleave_datasets(parts, probabilities=probabilities, seed=1))


def streaming(rows: int) -> Callable[[], int]:
    root = _find("streaming")
    # Its __init__ imports torchvision for the vision datasets, which mixing does not need.
    package = types.ModuleType("streaming")
    package.__path__ = [str(root)]
    sys.modules["streaming"] = package
    try:
        from streaming.base.batching.random import generate_work_random_batching
        from streaming.base.dataset import StreamingDataset
    except ImportError as error:
        raise Missing(str(error)) from None

    sizes = sizes_of(rows)
    shards = [[min(SHARD, size - at) for at in range(0, size, SHARD)] for size in sizes]
    per_stream = np.array([len(part) for part in shards])
    per_shard = np.concatenate(shards).astype(np.int64)
    mixture: Any = types.SimpleNamespace(
        num_canonical_nodes=1,
        batch_size=128,
        epoch_size=rows,
        partition_algo="relaxed",
        initial_physical_nodes=None,
        shuffle=True,
        shuffle_block_size=4_000_000,
        shuffle_algo="py1e",
        shuffle_seed=1,
        sampling_method="balanced",
        sampling_granularity=1,
        epoch_seed_change=True,
        num_streams=len(sizes),
        shards_per_stream=per_stream,
        shard_offset_per_stream=np.cumsum(per_stream) - per_stream,
        samples_per_shard=per_shard,
        sample_offset_per_shard=np.cumsum(per_shard) - per_shard,
        streams=[types.SimpleNamespace(choose=size) for size in sizes],
    )
    mixture.resample_streams = types.MethodType(StreamingDataset.resample_streams, mixture)
    world: Any = types.SimpleNamespace(num_nodes=1, ranks_per_node=1, workers_per_rank=1)

    def generate() -> int:
        return int((generate_work_random_batching(mixture, world, 0, 0) >= 0).sum())

    return generate


def megatron(rows: int) -> Callable[[], int]:
    folder = _find("megatron") / "core" / "datasets"
    library = next(folder.glob("helpers_cpp*.so"), None)
    spec = importlib.util.spec_from_file_location("helpers_cpp", library) if library else None
    if spec is None or spec.loader is None:
        raise Missing("megatron-core has no compiled helpers on this platform")
    try:
        helpers = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(helpers)
    except ImportError as error:
        raise Missing(str(error)) from None

    def build() -> int:
        domains, samples = np.zeros(rows, np.int16), np.zeros(rows, np.int64)
        helpers.build_blending_indices(domains, samples, SHARE, 3, rows, False)
        return rows

    return build


def _find(package: str) -> Path:
    for folder in map(Path, sys.path):
        if (folder / package).is_dir():
            return folder / package
    raise Missing(f"{package} is not installed; see --install")


MIXERS: dict[str, Callable[[int], Callable[[], int]]] = {
    "ours, all rows": lambda rows: ours(rows, "all", "shuffle"),
    "ours, 4/5 of each": lambda rows: ours(rows, "4/5", "shuffle"),
    "ours, round_robin": lambda rows: ours(rows, "all", "round_robin"),
    "interleave_datasets, in turn": lambda rows: interleave(rows, False),
    "interleave_datasets, probabilities": lambda rows: interleave(min(rows, SLOW), True),
    "MosaicML Streaming": streaming,
    "Megatron-Core (unshuffled)": megatron,
}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(name: str, rows: int) -> dict[str, Any]:
    try:
        mixer = MIXERS[name](rows)
    except Missing as missing:
        return {"skipped": str(missing)}
    before, start = _peak_bytes(), time.perf_counter()
    indexed = mixer()
    seconds = time.perf_counter() - start
    return {"rows": indexed, "seconds": seconds, "bytes": (_peak_bytes() - before) / indexed}


def install(folder: str) -> None:
    for name, packages in PACKAGES.items():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
        if subprocess.run([*command, *packages], check=False).returncode:
            print(f"{name}: not installed, pip refused", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e7)
    parser.add_argument("--peers", metavar="FOLDER", help="folder of the installed mixers")
    parser.add_argument("--install", metavar="FOLDER", help="first install the mixers there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rows = int(arguments.rows)
    if arguments.one:
        print(json.dumps(measure(arguments.one, rows)))
        return
    if arguments.install:
        install(arguments.install)
    peers = arguments.install or arguments.peers
    environment = dict(os.environ)
    if peers:
        paths = [environment.get("PYTHONPATH"), str(Path(peers).resolve())]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    print(f"{rows:,} rows of three domains, {os.cpu_count()} cores\n")
    print("| mixer | rows | s | M rows/s | B/row | ours (all rows) is |")
    print("|---|---|---|---|---|---|")
    best = 0.0
    for name in MIXERS:
        command = [sys.executable, __file__, "--one", name, "--rows", str(rows)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1]} | | | | |")
            continue
        got = json.loads(done.stdout.strip().splitlines()[-1])
        if "skipped" in got:
            print(f"| {name} | skipped: {got['skipped']} | | | | |")
            continue
        rate = got["rows"] / got["seconds"]
        best = best or rate
        print(
            f"| {name} | {got['rows']:,} | {got['seconds']:.2f} | {rate / 1e6:.2f} "
            f"| {got['bytes']:.0f} | {best / rate:.2f} times as fast |",
            flush=True,
        )


if __name__ == "__main__":
    main()
