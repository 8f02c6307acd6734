"""Kill trainings at random moments, resume them, and compare their ends with an unbroken run's.

    python benchmarks/soak.py [--kills 100] [--seed 1] [--output outputs/soak]

A tiny model is trained through three stages, with scoring before the first and after each. A run is
killed with SIGKILL several times, each time in a phase drawn at random and at a random moment of
it, and is then left to finish. Its final weights, the weights of each stage, all scores, all losses
and the learning curve must be those of the unbroken run, bit for bit.

Axolotl is imported once; each start is a fork that runs `axolotl train`. Finished runs are recorded
in the output folder, so the same command goes on where it stopped, and then prints the table.
The exit code is 1 if a run ended differently.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]
os.environ |= {
    "AXOLOTL_DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}

from soak_runs import CONFIGURATIONS, PHASES, START, Moment, import_once, make_data, settings, start  # noqa: E402

MOST_KILLS = 9
"""Kills of one run, at most: a run with more tells less about which of them did harm."""


@dataclass
class Run:
    """A run that was killed some times: the phase and the step of each kill, and how it ended."""

    configuration: str
    number: int
    kills: list[tuple[str, int]] = field(default_factory=list)
    equal_weights: bool = False
    equal_scores: bool = False
    code: int = 0


def weights(folder: Path) -> dict[str, str]:
    """Return the digest of each file of weights outside the checkpoints."""
    files = [*folder.glob("*.safetensors"), *folder.glob("stages/*/*.safetensors")]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def scores(folder: Path) -> dict[str, Any]:
    """Return what a run measured: scores, losses on held-out rows, and the learning curve."""
    results = json.loads((folder / "dmt/results.json").read_text())
    parts = [results["baseline"], *results["stages"]]
    measured = [(part.get("name"), part["scores"], part.get("held_out_loss")) for part in parts]
    return {"measured": measured, "curve": results["learning_curve"]}


@dataclass(frozen=True)
class Unbroken:
    """A run without a kill: when it did what, and how it ended."""

    moments: list[Moment]
    weights: dict[str, str]
    scores: dict[str, Any]


def train_unbroken(data: Path, folder: Path, configuration: str) -> Unbroken:
    """Return the unbroken run of a configuration; it is trained once for an output folder."""
    kept = folder / "unbroken.json"
    if not kept.exists():
        shutil.rmtree(folder, ignore_errors=True)
        config = write_config(data, folder, configuration)
        done = start(config, folder / "log")
        if done.code:
            sys.exit(f"the unbroken run failed, see {folder / 'log'}")
        out = folder / "out"
        kept.write_text(json.dumps([done.moments, weights(out), scores(out)]))
    moments, expected_weights, expected_scores = json.loads(kept.read_text())
    return Unbroken([Moment(*moment) for moment in moments], expected_weights, expected_scores)


def write_config(data: Path, folder: Path, configuration: str) -> Path:
    folder.mkdir(parents=True)
    config = folder / "dmt.yaml"
    config.write_text(yaml.safe_dump(settings(data, folder / "out", configuration)))
    return config


def train_with_kills(
    run: Run,
    config: Path,
    kills: int,
    moments: list[Moment],
    counts: Counter[str],
    draw: random.Random,
) -> None:
    """Start a run again and again, killing it up to `kills` times, until it ends."""
    while True:
        target = None
        if len(run.kills) < kills:
            done_steps = [int(path.name.split("-")[1]) for path in config.parent.glob("out/check*")]
            target = choose(draw, moments, counts, max(done_steps, default=0))
        delay = draw.uniform(0, target.seconds) if target else 0.0
        ended = start(config, config.parent / "log", target, delay)
        if ended.code != -signal.SIGKILL:
            run.code = ended.code
            return
        last = ended.moments[-1]
        counts[last.phase] += 1
        run.kills.append((last.phase, last.step))


def choose(
    draw: random.Random, moments: list[Moment], counts: Counter[str], resumes_at: int
) -> Moment:
    """Draw a moment that is still to come, most likely of the phases with the fewest kills."""
    coming = [moment for moment in moments if moment.phase == START or moment.step >= resumes_at]
    phases = sorted({moment.phase for moment in coming})
    shares = [1 / (1 + counts[phase]) ** 2 for phase in phases]
    (phase,) = draw.choices(phases, shares)
    return draw.choice([moment for moment in coming if moment.phase == phase])


class Soak:
    """The runs of one configuration, each of which is killed up to `MOST_KILLS` times."""

    def __init__(self, configuration: str, seed: int, output: Path, record: list[Run]) -> None:
        self.configuration, self.seed, self.output = configuration, seed, output
        self.folder = output / configuration.replace(", ", "-").replace(" ", "-").lower()
        self.runs = [run for run in record if run.configuration == configuration]
        self.counts = Counter(phase for run in self.runs for phase, _ in run.kills)
        self.unbroken = train_unbroken(output / "data", self.folder / "unbroken", configuration)

    def next_run(self, most: int) -> Run:
        """Train once more, with up to `most` kills, and record how the run ended."""
        run = Run(self.configuration, len(self.runs) + 1)
        draw = random.Random(f"{self.seed}/{self.configuration}/{run.number}")
        folder = self.folder / str(run.number)
        shutil.rmtree(folder, ignore_errors=True)  # of a soak that was itself stopped
        config = write_config(self.output / "data", folder, self.configuration)
        kills = min(draw.randint(1, MOST_KILLS), most)
        train_with_kills(run, config, kills, self.unbroken.moments, self.counts, draw)
        if run.code == 0:
            run.equal_weights = weights(folder / "out") == self.unbroken.weights
            # JSON has lists where Python has tuples.
            ended = json.loads(json.dumps(scores(folder / "out")))
            run.equal_scores = ended == self.unbroken.scores
        self.runs.append(run)
        if run.equal_weights and run.equal_scores:
            shutil.rmtree(folder)
        return run


def described(run: Run) -> str:
    kills = ", ".join(f"{phase} at {step}" for phase, step in run.kills)
    if run.code:
        return f"killed in {kills}; FAILED with exit code {run.code}"
    verdicts = [
        f"{name} {'equal' if equal else 'DIFFER'}"
        for name, equal in (("weights", run.equal_weights), ("scores", run.equal_scores))
    ]
    return f"killed in {kills or 'no phase'}; {', '.join(verdicts)}"


def table(record: list[Run]) -> str:
    """Return the kills of each configuration by phase, and how many ended as they should."""
    lines = [
        f"| configuration | {' | '.join(PHASES)} | kills | runs | equal weights | equal scores |",
        f"|---|{'---|' * (len(PHASES) + 4)}",
    ]
    for name in [*CONFIGURATIONS, "all"]:
        runs = [run for run in record if name in (run.configuration, "all")]
        counts = Counter(phase for run in runs for phase, _ in run.kills)
        cells = [*(counts[phase] for phase in PHASES), counts.total(), len(runs)]
        cells += [sum(run.equal_weights for run in runs), sum(run.equal_scores for run in runs)]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="of all configurations together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("outputs/soak"))
    parser.add_argument("--only", choices=CONFIGURATIONS, help="one configuration, with its share")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    if not (output / "data/tasks/soak_scores.py").exists():
        shutil.rmtree(output / "data", ignore_errors=True)
        (output / "data").mkdir()
        make_data(output / "data")
    import_once()
    names = [arguments.only] if arguments.only else list(CONFIGURATIONS)
    record = read_record(output)
    soaks = [Soak(name, arguments.seed, output, record) for name in names]
    share = -(-arguments.kills // len(CONFIGURATIONS))
    # In turn, so that each configuration has its share of a soak that is stopped.
    while unfinished := [soak for soak in soaks if soak.counts.total() < share]:
        for soak in unfinished:
            run = soak.next_run(share - soak.counts.total())
            with (output / "runs.jsonl").open("a") as file:
                file.write(json.dumps(asdict(run)) + "\n")
            print(f"{run.configuration}, run {run.number}: {described(run)}", flush=True)
    record = read_record(output)
    print(table(record))
    sys.exit(any(not (run.equal_weights and run.equal_scores) for run in record))


def read_record(output: Path) -> list[Run]:
    """Return the runs that are finished, perhaps by another process of the same soak."""
    file = output / "runs.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [Run(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    main()
