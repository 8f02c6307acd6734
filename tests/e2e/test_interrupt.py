"""Ctrl-C and SIGTERM while the real command line trains: the printed line, the files left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.runs import Finished, config, environment, write
from tests.e2e.test_ranks import TORCHRUN
from tests.mistakes import assert_mistake
from tests.training.test_earlier_run import LEFT, files, fill

PYTHON = ("--launcher", "python")


def train(
    folder: Path, settings: dict[str, Any], launcher: tuple[str, ...], **variables: str
) -> Finished:
    """Run `axolotl train` as a terminal does: in a new process group that obeys SIGINT."""
    path = write(folder / "dmt.yaml", settings)
    done = subprocess.run(
        [sys.executable, "-m", "axolotl.cli.main", "train", str(path), *launcher],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    return Finished(done.returncode, done.stdout, Path(settings["output_dir"]))


def settings(toy: Path, output: Path, **changes: Any) -> dict[str, Any]:
    made = config(toy, output, **changes)
    made["plugins"] += ["tests.e2e.killer.KillerPlugin"]
    return made


def line(done: Finished) -> str:
    """Return the only line on the interruption in the output."""
    (only,) = [text for text in done.output.splitlines() if "axolotl-dmt: interrupted" in text]
    return only


@pytest.mark.long
def test_an_interrupted_rerun_says_how_to_go_on_and_has_the_earlier_runs_report_no_more(
    toy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    fill(out, LEFT)
    made = settings(toy, out, save_strategy="steps", save_steps=6)
    done = train(tmp_path, made, PYTHON, KILL_AT="step:26", KILL_WITH="SIGINT")
    assert done.code == 128 + signal.SIGINT, done.output[-3000:]
    assert "Traceback" not in done.output
    kept_paths = f"{out}/checkpoint-24, {out}/stages/01-specialise"
    assert_mistake(line(done), "axolotl-dmt", "SIGINT", "26 of 42", "generalise", kept_paths)
    assert line(done).endswith(f"resume_from_checkpoint: {out}/checkpoint-24")
    (kept,) = out.glob("_earlier-*")
    assert f"kept in {kept}" in done.output
    assert files(kept) == LEFT
    left = {path.name for path in (out / "dmt").iterdir()}
    assert left == {"config.yaml", "plan", "results.json"}
    assert not (out / "README.md").exists()


@pytest.mark.slow
def test_a_run_that_goes_on_keeps_its_own_and_the_earlier_one_stays_aside(
    toy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = settings(toy, out, dmt={"stages": [{"name": "only", "mix": {"math": {"rows": 16}}}]})
    assert train(tmp_path, first, PYTHON).code == 0
    report, card = (out / "dmt/report.html").read_text(), (out / "README.md").read_text()
    made = settings(toy, out, save_strategy="steps", save_steps=6)
    made["auto_resume_from_checkpoints"] = True
    done = train(tmp_path, made, PYTHON, KILL_AT="step:26", KILL_WITH="SIGINT")
    assert line(done).endswith(f"resume_from_checkpoint: {out}/checkpoint-24")
    resumed = train(tmp_path, made, PYTHON)
    assert resumed.code == 0, resumed.output[-3000:]
    assert [stage["name"] for stage in resumed.results["stages"]] == ["specialise", "generalise"]
    (kept,) = out.glob("_earlier-*")
    assert (kept / "dmt/report.html").read_text() == report
    assert (kept / "README.md").read_text() == card
    assert [folder.name for folder in (kept / "stages").iterdir()] == ["01-only"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), PYTHON], ids=["accelerate", "python"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_saved_nothing_names_the_keys_that_save_checkpoints(
    toy: Path, tmp_path: Path, launcher: tuple[str, ...], signum: signal.Signals
) -> None:
    made = settings(toy, tmp_path / "out")
    done = train(tmp_path, made, launcher, KILL_AT="step:3", KILL_WITH=signum.name)
    # accelerate's launcher, which Ctrl-C ends too, has its own exit code and traceback.
    assert done.code in (128 + signum, -signum) or (not launcher and done.code != 0)
    values = (signum.name, "3 of 42", "specialise", "save_strategy: steps")
    assert_mistake(line(done), "axolotl-dmt", *values)


@pytest.mark.slow
@pytest.mark.parametrize("signum", ["SIGINT", "SIGTERM"])
def test_of_several_ranks_one_says_so_and_none_hangs(
    toy: Path, tmp_path: Path, signum: str
) -> None:
    made = settings(toy, tmp_path / "out", reinit_weights=True, micro_batch_size=4)
    made |= {"save_strategy": "steps", "save_steps": 6}
    variables = {"KILL_AT": "step:15", "KILL_WITH": signum, "ACCELERATE_USE_CPU": "true"}
    done = train(tmp_path, made, TORCHRUN, **variables)
    assert done.code != 0
    assert_mistake(line(done), "axolotl-dmt", signum, "15 of 42", "specialise")
    assert line(done).endswith("/checkpoint-12")
