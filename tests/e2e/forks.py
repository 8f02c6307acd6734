"""Runs `axolotl train` on several YAMLs, each in a fork of one process that has imported Axolotl.

The import takes longer than such a training. A fork has memory of its own, so what one training
patches in transformers does not reach another.

`train_all` starts the process, which is `python -m tests.e2e.forks JOBS.json`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.runs import ROOT, Finished, environment, write


def train_all(
    folder: Path,
    settings: Mapping[str, dict[str, Any]],
    variables: Mapping[str, Mapping[str, str]] | None = None,
    timeout: float = 1200,
) -> dict[str, Finished]:
    """Train with each of the settings, one after another.

    Args:
        folder: where the YAMLs and the logs are written; the trainings run in it.
        settings: {name of a training: its YAML}.
        variables: {name of a training: environment variables of its own}.
        timeout: seconds for all of them together.
    """
    jobs = [
        {
            "yaml": str(write(folder / f"{name}.yaml", made)),
            "log": str(folder / f"{name}.log"),
            "variables": dict((variables or {}).get(name, {})),
        }
        for name, made in settings.items()
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(folder / "jobs.json")],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    codes = json.loads(done.stdout.splitlines()[-1])
    return {
        name: Finished(code, (folder / f"{name}.log").read_text(), Path(made["output_dir"]))
        for (name, made), code in zip(settings.items(), codes, strict=True)
    }


def tokenise_in_this_process() -> None:
    """Let `datasets` start no processes, each of which would import Axolotl again."""
    from datasets import Dataset

    for name in ("map", "filter", "save_to_disk"):
        setattr(Dataset, name, _alone(getattr(Dataset, name)))


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    def alone(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **{**kwargs, "num_proc": None})

    return alone


def run_in_a_fork(job: Mapping[str, Any]) -> int:
    """Train as one job says and return the exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        os.environ.update(job["variables"])
        os.chdir(Path(job["yaml"]).parent)
        from axolotl.cli.train import do_cli

        do_cli(config=job["yaml"])
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else bool(exit_.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import axolotl.cli.train  # noqa: F401  # once, for all forks

    tokenise_in_this_process()
    print(json.dumps([run_in_a_fork(job) for job in json.loads(Path(sys.argv[1]).read_text())]))
