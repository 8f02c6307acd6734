"""Runs the real command line on a tiny model, as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PROMPT = "{instruction}"


@dataclass(frozen=True)
class Finished:
    """A command that has ended, with its exit code, its output and the run's output folder."""

    code: int
    output: str
    folder: Path

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.folder / "dmt" / "results.json").read_text())

    @property
    def history(self) -> list[dict[str, Any]]:
        """The trainer's log in the newest checkpoint."""
        states = sorted(
            self.folder.glob("checkpoint-*/trainer_state.json"),
            key=lambda path: int(path.parent.name.split("-")[1]),
        )
        return json.loads(states[-1].read_text())["log_history"]


def config(toy: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """Return a YAML for the tiny model, with some seconds of training and no scoring."""
    return {
        "base_model": str(toy / "base"),
        "plugins": ["axolotl_dmt.DMTPlugin"],
        "datasets": [
            {
                "path": str(toy / "data/math.jsonl"),
                "domain": "math",
                "type": fields("question", "answer"),
            },
            {
                "path": str(toy / "data/code.jsonl"),
                "domain": "code",
                "type": fields("prompt", "completion"),
            },
            {
                "path": str(toy / "data/general.jsonl"),
                "domain": "general",
                "type": fields("prompt", "response"),
            },
        ],
        "dmt": {"strategy": "dmt", "k": "1/4"},
        "dataset_prepared_path": str(toy / "prepared"),
        "output_dir": str(output),
        "sequence_len": 128,
        "micro_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "learning_rate": 1e-3,
        "optimizer": "adamw_torch",
        "lr_scheduler": "cosine",
        "logging_steps": 1,
        "save_strategy": "no",
        "bf16": False,
        "seed": 7,
        "dataset_num_proc": 1,
        **changes,
    }


def fields(instruction: str, output: str) -> dict[str, str]:
    return {
        "field_instruction": instruction,
        "field_output": output,
        "format": PROMPT,
        "no_input_format": PROMPT,
    }


def write(path: Path, settings: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def axolotl(
    *arguments: str, cwd: Path = ROOT, timeout: float = 600, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `axolotl ...` with this interpreter."""
    return subprocess.run(
        [sys.executable, "-m", "axolotl.cli.main", *arguments],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def train(folder: Path, settings: dict[str, Any], *arguments: str, **variables: str) -> Finished:
    """Run `axolotl train` on these settings."""
    path = write(folder / "dmt.yaml", settings)
    done = axolotl("train", str(path), "--launcher", "python", *arguments, **variables)
    return Finished(done.returncode, done.stdout + done.stderr, Path(settings["output_dir"]))


def environment(**extra: str) -> dict[str, str]:
    """Return this process's environment, offline and with this checkout importable."""
    # A test that compiles a plan in this process turns off the progress bars of its subprocesses.
    inherited = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    return {
        **inherited,
        "AXOLOTL_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        **extra,
    }
