"""Stages are scored in the background one after another, and nothing outlives the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.background import BackgroundScoring
from axolotl_dmt.evaluation.saved import score_saved_stage
from tests.tiny_model import make_model

ROOT = Path(__file__).parents[2]
HANGS = """
import os, time
from axolotl_dmt import hookimpl

time.sleep(600 if 'SLOW' in os.environ else 0)


@hookimpl
def adjust_stages(stages):
    pass
"""
"""A hook that never finishes loading in the process that scores."""
STARTS = """
import os, sys, time
from pathlib import Path
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.background import BackgroundScoring
from axolotl_dmt.hooks.loading import load_hooks
load_hooks([sys.argv[1] + "/hangs.py"])
os.environ["SLOW"] = "1"
BackgroundScoring(EvaluateConfig(tasks=["dmt_math"])).start("stage", Path(sys.argv[1]))
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def config(tmp_path: Path) -> EvaluateConfig:
    rows = tmp_path / "math.jsonl"
    rows.write_text(json.dumps({"question": "1+1?", "answer": "#### 2"}) + "\n")
    block = {"tasks": ["dmt_math"], "data": {"math": str(rows)}, "prompt": "plain"}
    return EvaluateConfig.model_validate({**block, "max_new_tokens": 4, "runner": "background"})


def test_a_stage_is_scored_as_in_this_process_and_a_broken_one_ends_nothing(
    tmp_path: Path, config: EvaluateConfig
) -> None:
    good, broken = Path(make_model(tmp_path / "good")), tmp_path / "broken"
    broken.mkdir()
    scoring = BackgroundScoring(config)
    assert list(scoring.finished(wait=True)) == []
    scoring.start("broken", broken)
    scoring.start("good", good)
    (_, failed), (name, evaluation) = scoring.finished(wait=True)
    assert failed.error and not failed.scores
    expected = score_saved_stage(good, config)
    assert name == "good"
    assert evaluation.scores == expected.scores
    assert evaluation.items == expected.items


def children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    return [int(pid) for pid, ppid in rows if int(ppid) == parent]


def is_running(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()[:1] not in ("", "Z")


def test_killing_the_run_leaves_no_process_behind(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", STARTS, str(tmp_path)]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None and run.stdout.readline() == "started\n"
    while not (found := children(run.pid)):
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + 300
    while any(map(is_running, found)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
