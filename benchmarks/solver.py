"""Hold what `axolotl dmt solve` found against a sweep of k and a random search of the same cost.

Each YAML must have been solved with `--train`. The sweep and the random search train whole last
stages from the same stage 1 as the probes, so nothing differs but the mix. A random mix has
log-uniform amounts within `dmt.solve.levels`; mixes are drawn until they cost as much as the
probes. Finished trainings are not repeated. Prints a table and draws all trainings by their losses.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.report.console import Console
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.results import StageResult
from axolotl_dmt.study.folder import locked
from axolotl_dmt.study.solvable import Probe, Solvable
from axolotl_dmt.study.solve import Stage, evaluate_block, floors_of, read_stage
from axolotl_dmt.study.solving import Probing, points_of
from axolotl_dmt.study.workers import Where

_FINEST = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("yaml", nargs="+", type=Path, help="solved YAMLs, one for each seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--picture", type=Path, help="the PNG to write")
    options = parser.parse_args()
    entries = [entry for path in options.yaml for entry in measured(path, options.jobs)]
    print("| seed | way | amounts | rows | scores | losses | floors |")
    print("|---|---|---|---|---|---|---|")
    for entry in entries:
        print("| " + " | ".join(map(str, row(entry))) + " |")
    for way in dict.fromkeys(entry["way"] for entry in entries):
        some = [entry for entry in entries if entry["way"] == way and entry["holds"] is not None]
        if some:
            held = sum(entry["holds"] for entry in some)
            print(f"{way}: every floor holds in {held} of {len(some)}")
    if options.picture:
        draw(entries, options.picture)


def measured(path: Path, jobs: int) -> Iterator[dict[str, Any]]:
    """Train the sweep and the random mixes of one seed, and yield all that was measured."""
    raw = YamlFile.read(path).data
    config = read_config(raw["dmt"])
    floors = floors_of(raw, config)
    solvable = Solvable.of(raw, config)
    if solvable.settings.end_early is not None:
        raise SystemExit(f"{path}: remove end_early, which may have shortened stage 1")
    evaluate = evaluate_block(raw["dmt"].get("evaluate"), floors)
    stage = read_stage(solvable, evaluate)
    run = RunFolder.of_config(raw)
    solution = json.loads(run.solution.read_text())
    probes = [as_probe(solvable, each) for each in solution["probes"]]
    budget = float(stage.space.cost(points_of(probes)).sum())
    levels = solvable.settings.levels
    sweep = [(Fraction(1), *(level for _ in solvable.variables)) for level in levels]
    random = random_mixes(solvable, stage, budget)
    with locked(solvable.root) as lock:
        probing = Probing(
            solvable,
            floors,
            evaluate,
            workers=Where(jobs=jobs).workers(lock),
            launcher_args="--launcher python",
            console=Console(),
        )
        _, _, ends = probing.measure([*probes, *sweep, *random])
    ways = ["probe"] * len(probes) + ["sweep"] * len(sweep) + ["random"] * len(random)
    limits = {each["name"]: (each["measure"], each["value"]) for each in solution["floors"]}
    for way, probe, end in zip(ways, [*probes, *sweep, *random], ends, strict=True):
        yield {
            "seed": solvable.seed,
            "way": way,
            "amounts": [float(value) for value in probe],
            "rows": float(stage.space.cost(points_of([probe]))[0]),
            "end": end,
            "holds": None if way == "probe" else holds(end, limits),
        }
    (end,) = load_results(run.output_dir).stages[-1:]
    amounts = [1.0, *(float(solution["amounts"][name]) for name in solvable.variables)]
    yield {
        "seed": solvable.seed,
        "way": "solved",
        "amounts": amounts,
        "rows": float(stage.space.cost(np.array([amounts]))[0]),
        "end": end,
        "holds": holds(end, limits),
    }


def as_probe(solvable: Solvable, entry: dict[str, Any]) -> Probe:
    amounts = (Fraction(entry["amounts"][name]) for name in solvable.variables)
    return (Fraction(entry["length"]), *amounts)


def random_mixes(solvable: Solvable, stage: Stage, budget: float) -> list[Probe]:
    """Return whole stages with random amounts, as many as cost no more than the budget.

    There is always one.
    """
    random = np.random.default_rng(solvable.seed)
    mixes: list[Probe] = []
    while True:
        logs = [random.uniform(np.log(v.least), np.log(v.most)) for v in stage.space.variables]
        amounts = (Fraction(max(1, round(_FINEST * float(np.exp(x)))), _FINEST) for x in logs)
        following: Probe = (Fraction(1), *amounts)
        if mixes and stage.space.cost(points_of([*mixes, following])).sum() > budget:
            return mixes
        mixes.append(following)


def holds(end: StageResult, limits: dict[str, tuple[str, float]]) -> bool:
    """Whether a training holds every floor."""
    losses, scores = end.held_out_losses(), end.values()
    return all(
        losses[name] <= limit if measure == "loss" else scores[name] >= limit
        for name, (measure, limit) in limits.items()
    )


def row(entry: dict[str, Any]) -> list[str]:
    end: StageResult = entry["end"]
    scores = ", ".join(f"{name} {value:.3f}" for name, value in end.values().items())
    losses = ", ".join(f"{name} {value:.4f}" for name, value in end.held_out_losses().items())
    amounts = ", ".join(f"{value:.3g}" for value in entry["amounts"])
    verdict = {None: "", True: "hold", False: "BROKEN"}[entry["holds"]]
    return [
        str(entry["seed"]),
        entry["way"],
        amounts,
        f"{entry['rows']:,.0f}",
        scores,
        losses,
        verdict,
    ]


def draw(entries: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the general loss against the mean loss of the other domains, on logarithmic axes."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 5), layout="constrained")
    styles = {
        "probe": ("o", "#b0b0b0", 14),
        "random": ("x", "#d55e00", 40),
        "sweep": ("s", "#0072b2", 36),
        "solved": ("*", "#009e73", 150),
    }
    for way, (marker, colour, size) in styles.items():
        ends = [entry["end"].held_out_losses() for entry in entries if entry["way"] == way]
        special = [np.mean([v for n, v in each.items() if n != "general"]) for each in ends]
        general = [each["general"] for each in ends]
        axes.scatter(special, general, marker=marker, c=colour, s=size, label=way)
    axes.set(xscale="log", yscale="log", xlabel="mean loss of math and code, held-out rows")
    axes.set_ylabel("loss of general, held-out rows")
    axes.legend(title="lower left is better")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
