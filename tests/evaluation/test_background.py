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
from axolotl_dmt.hooks.loading import load_hooks
from tests.judge_server import judge_server
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
SEES = """
import os
from pathlib import Path
from axolotl_dmt import hookimpl

Path(__file__).with_name("devices").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))


@hookimpl
def adjust_stages(stages):
    pass
"""
"""A hook that notes the devices of the process that loads it last."""
STARTS = """
import json, os, sys, time
from pathlib import Path
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.background import BackgroundScoring
from axolotl_dmt.hooks.loading import load_hooks
load_hooks([sys.argv[1] + "/hangs.py"])
os.environ["SLOW"] = "1"
config = EvaluateConfig.model_validate(json.loads(sys.argv[2]))
BackgroundScoring(config).start("stage", Path(sys.argv[1]))
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


def started(folder: Path, config: EvaluateConfig) -> subprocess.Popen[str]:
    """Start a run that scores a stage in the background and goes on for minutes."""
    (folder / "hangs.py").write_text(HANGS if config.model == "hf" else SEES)
    block = config.model_dump_json(exclude_none=True)
    run = subprocess.Popen(
        [sys.executable, "-c", STARTS, str(folder), block],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "key"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None and run.stdout.readline() == "started\n"
    return run


def killed(run: subprocess.Popen[str]) -> None:
    """Kill a run, and wait until the processes that it started have ended."""
    processes = children(run.pid)
    assert processes
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert run.stdout is not None
    run.stdout.close()
    deadline = time.monotonic() + 300
    while any(map(is_running, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_killing_the_run_leaves_no_process_behind(tmp_path: Path, config: EvaluateConfig) -> None:
    run = started(tmp_path, config)
    while not children(run.pid):
        time.sleep(0.05)
    killed(run)


def served(config: EvaluateConfig, url: str) -> EvaluateConfig:
    pytest.importorskip("tenacity")  # of lm-eval's extra `api`
    settings = {"model": "local-chat-completions", "model_args": {"base_url": url}, "devices": [3]}
    return EvaluateConfig.model_validate({**config.model_dump(exclude_none=True), **settings})


def test_a_server_answers_for_a_stage_and_the_process_sees_its_devices(
    tmp_path: Path, config: EvaluateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    (tmp_path / "sees.py").write_text(SEES)
    load_hooks([str(tmp_path / "sees.py")])
    with judge_server(lambda number, request: (200, "#### 2")) as server:
        scoring = BackgroundScoring(served(config, server.url))
        scoring.start("stage", tmp_path)
        ((_, evaluation),) = scoring.finished(wait=True)
    load_hooks([])
    assert evaluation.error is None
    assert evaluation.scores["math"].value == 1.0
    (request,) = server.requests
    assert request["model"] == str(tmp_path)
    assert "1+1?" in request["messages"][-1]["content"]
    assert (tmp_path / "devices").read_text() == "3"


def test_killing_a_run_that_waits_for_a_server_leaves_no_process_behind(
    tmp_path: Path, config: EvaluateConfig
) -> None:
    with judge_server(lambda number, request: (0, "")) as server:
        run = started(tmp_path, served(config, server.url))
        deadline = time.monotonic() + 300
        while not server.requests:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        killed(run)
