"""Held-out losses of merges of two stages, by the weight of the second, beside the values of k.

A study must have trained `mixed_sequential` and `dmt` on all the seeds. For each seed, the script
merges the models of the two stages of `mixed_sequential` and measures each merge with the trainer
that measured the runs of the study, so that the losses compare:

    python benchmarks/merge_weights.py outputs/pretrained/runs --seeds 1 2 3 4 5 \
        --output merges.json --picture merges.png
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.results.results import losses_by_domain

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SECOND_STAGE = "mixed_sequential"
FIRST_STAGE = "mixed_sequential.1-specialise"
GENERAL = "general"


def main() -> None:
    """Measure the merges of each seed, in a process each, and print and plot the mean losses."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", type=Path, help="The folder of the study's runs.")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS, metavar="WEIGHT")
    parser.add_argument("--jobs", type=int, default=1, help="Seeds measured at once.")
    parser.add_argument("--output", type=Path, required=True, help="The JSON file to write.")
    parser.add_argument("--picture", type=Path, help="The PNG file to write.")
    arguments = parser.parse_args()
    if arguments.output.exists():
        merges = json.loads(arguments.output.read_text())
    else:
        # A process for each seed: Axolotl's plugins keep the state of one run.
        with ProcessPoolExecutor(
            arguments.jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=1
        ) as pool:
            measure = partial(merges_of_seed, arguments.runs, arguments.weights)
            merges = dict(pool.map(measure, arguments.seeds))
        arguments.output.write_text(json.dumps(merges, indent=2) + "\n")
    tables = {"merge": mean_over_seeds(merges), "k": replay_of_runs(arguments.runs, merges)}
    for kind, table in tables.items():
        for name, losses in table.items():
            values = ", ".join(f"{domain} {loss:.4f}" for domain, loss in losses.items())
            print(f"{kind} {name}: {values}")
    if arguments.picture:
        plot(tables, arguments.picture)


def merges_of_seed(
    runs: Path, weights: Sequence[float], seed: int
) -> tuple[str, dict[str, dict[str, float]]]:
    """Return the seed and {merge: {domain: loss on held-out rows}}."""
    from safetensors.torch import load_file

    from axolotl_dmt.evaluation.live import held_out_losses
    from axolotl_dmt.training.held_out_losses import trainer_of
    from axolotl_dmt.training.merge import merge_tensors

    first, second = (
        load_file(next((runs / name / f"seed-{seed}/stages").iterdir()) / "model.safetensors")
        for name in (FIRST_STAGE, SECOND_STAGE)
    )
    raw = YamlFile.read(runs / SECOND_STAGE / f"seed-{seed}/config.yaml").data
    losses = {}
    with trainer_of(raw) as trainer:
        for method, weight in [*(("linear", weight) for weight in weights), ("slerp", 0.5)]:
            merged = {
                name: merge_tensors(name, first[name], second[name], method=method, weight=weight)
                for name in first
            }
            trainer.model.load_state_dict(merged, strict=False)  # tied weights are stored once
            losses[f"{method} {weight:g}"] = losses_by_domain(held_out_losses(trainer))
    return str(seed), losses


def mean_over_seeds(
    merges: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> dict[str, dict[str, float]]:
    """Return {merge: {domain: mean loss}}."""
    seeds = list(merges.values())
    return {name: _mean([seed[name] for seed in seeds]) for name in seeds[0]}


def replay_of_runs(runs: Path, seeds: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return {k: {domain: mean loss}} after the last stage of the runs of the study."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for name, k in _replays(runs):
        for seed in seeds:
            last = load_results(runs / name / f"seed-{seed}").stages[-1]
            found.setdefault(k, []).append(last.held_out_losses())
    return {k: _mean(losses) for k, losses in found.items()}


def _replays(runs: Path) -> Iterator[tuple[str, str]]:
    yield SECOND_STAGE, "0"
    folders = [folder.name for folder in runs.glob("dmt-k*") if "." not in folder.name]
    values = {name: name.removeprefix("dmt-k").replace("_", "/") for name in folders}
    # Folders with a further setting in their names are other experiments.
    plain = {name: k for name, k in values.items() if k.replace("/", "").isdigit()}
    yield from sorted(plain.items(), key=lambda pair: Fraction(pair[1]))


def _mean(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([seed[name] for seed in losses])) for name in losses[0]}


def plot(tables: Mapping[str, Mapping[str, Mapping[str, float]]], picture: Path) -> None:
    """Draw general loss against the mean loss of the other domains, one line per table."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    titles = {"merge": "merges of the two stages, by weight of the second", "k": "DMT, by k"}
    for kind, table in tables.items():
        points = {
            name.removeprefix("linear "): (
                np.mean([loss for domain, loss in losses.items() if domain != GENERAL]),
                losses[GENERAL],
            )
            for name, losses in table.items()
            if not name.startswith("slerp")
        }
        axes.plot(*zip(*points.values(), strict=True), marker="o", label=titles[kind])
        prefix, offset = ("", (5, 6)) if kind == "merge" else ("k = ", (5, -12))
        for name, point in points.items():
            style = {"textcoords": "offset points", "xytext": offset, "fontsize": 8}
            axes.annotate(prefix + name, point, **style)
    axes.margins(0.12)
    axes.set_xlabel("mean loss on held-out math and code (nats per token)")
    axes.set_ylabel("loss on held-out general rows (nats per token)")
    axes.legend()
    figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    main()
