"""A study's runs on a Ray cluster of this machine, with a stub in place of Axolotl."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from axolotl_dmt.study.cell_results import read_cell_results, read_missing
from tests.mistakes import assert_mistake

ROOT = Path(__file__).parents[2]
STEPS = 40
STUB = f"""
import os, sys, time
from pathlib import Path
import yaml
from axolotl_dmt.results import Results, Score, StageResult
from axolotl_dmt.results.folder import RunFolder

config = yaml.safe_load(Path(sys.argv[2]).read_text())
run = RunFolder(Path(config["output_dir"]))
stage = config["dmt"].get("start_stage", "specialise")
if stage == "generalise":
    assert Path(config["base_model"]).is_dir(), "the run before this one is not finished"
checkpoint = run.output_dir / "checkpoint"
first = int(checkpoint.read_text()) if checkpoint.exists() else 0
print("pid", os.getpid(), flush=True)
print("after", first, "on", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
if config["learning_rate"] > 1:
    sys.exit("axolotl-dmt: learning_rate: is too high")
for step in range(first + 1, {STEPS} + 1):
    checkpoint.write_text(str(step))
    time.sleep(0.25)
run.stage(0, stage).mkdir(parents=True)
score = Score(task="t", metric="m", value=0.5, stderr=None, n=10)
result = StageResult(name=stage, end_step=5, rows={{"math": 7}}, scores={{"math": score}})
timings = {{"train and evaluate": 1.0}}
Results(plan_fingerprint="x", stages=(result,), timings=timings).save(run.results)
"""
"""Trains from its last checkpoint, as a run with `auto_resume_from_checkpoints` does."""
BASE: dict[str, Any] = {
    "base_model": "model",
    "datasets": [
        {"path": f"{name}.jsonl", "type": "alpaca", "domain": name}
        for name in ("math", "code", "general")
    ],
    "dmt": {"strategy": "dmt", "k": "1/8", "evaluate": {"tasks": ["dmt_suite"]}},
    "learning_rate": 1e-3,
}


def study(folder: Path, *options: str, **keys: Any) -> subprocess.Popen[str]:
    """Start `axolotl dmt study` on a study in a folder."""
    settings = {"base": BASE, "output_dir": str(folder / "out"), "seeds": [1], **keys}
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))
    code = "from axolotl_dmt.cli import dmt; dmt()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "study", str(folder / "study.yaml"), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 400
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()[:1] not in ("", "Z")


def pids(log: Path) -> list[int]:
    return [int(line[4:]) for line in log.read_text().splitlines() if line.startswith("pid ")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster without workers, whose nodes find the stub in place of Axolotl."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    stub = tmp_path_factory.mktemp("stub") / "axolotl/cli/main.py"
    stub.parent.mkdir(parents=True)
    stub.write_text(STUB)
    for package in (stub.parent, stub.parents[1]):
        (package / "__init__.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{stub.parents[2]}:{ROOT}")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20},
        )
        yield cluster
        cluster.shutdown()


def add_node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 << 20)


@pytest.mark.long
def test_a_lost_node_repeats_its_run_from_the_last_checkpoint(cluster: Any, tmp_path: Path) -> None:
    process = study(tmp_path, "--ray", cluster.address, k=["1/8", "1/4"])
    first = tmp_path / "out/runs/dmt-k1_8.1-specialise/seed-1"
    # The study waits at the node that it is started on, which must not be the one to be lost.
    wait_until(lambda: (first / "run.log").is_file())
    lost = add_node(cluster)
    wait_until(lambda: (first / "checkpoint").is_file())
    wait_until(lambda: int((first / "checkpoint").read_text() or 0) > 2)
    (trained,) = pids(first / "run.log")
    worker = psutil.Process(trained).parent().parent()
    cluster.remove_node(lost, allow_graceful=False)
    with contextlib.suppress(psutil.NoSuchProcess):
        worker.kill()
    wait_until(lambda: not is_running(trained))
    nodes = [add_node(cluster), add_node(cluster)]
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    starts = [line for line in (first / "run.log").read_text().splitlines() if "after" in line]
    assert starts[0] == "after 0 on 0"
    assert 2 < int(starts[1].split()[1]) <= STEPS
    assert len(starts) == 2
    assert [cell.settings["k"] for cell in read_cell_results(tmp_path / "out")] == ["1/8", "1/4"]
    assert list((tmp_path / "out/report").glob("*.html"))
    for node in nodes:
        cluster.remove_node(node)


@pytest.mark.long
def test_a_failed_run_is_not_repeated_and_its_children_are_skipped(
    cluster: Any, tmp_path: Path
) -> None:
    broken = {"variant": ["high", "usual"]}
    variants = {"high": {"learning_rate": 9.0}, "usual": {}}
    process = study(tmp_path, "--ray", cluster.address, cells=[broken], variants=variants)
    node = add_node(cluster)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert len(read_cell_results(tmp_path / "out")) == 1
    (why,) = read_missing(tmp_path / "out").values()
    assert "learning_rate: is too high" in why
    (log,) = (tmp_path / "out/runs").glob("*high*specialise/seed-1/run.log")
    assert len(pids(log)) == 1
    cluster.remove_node(node)


@pytest.mark.long
def test_stopping_the_study_stops_its_runs(cluster: Any, tmp_path: Path) -> None:
    process = study(tmp_path, "--ray", cluster.address)
    node = add_node(cluster)
    first = tmp_path / "out/runs/dmt.1-specialise/seed-1"
    wait_until(lambda: (first / "checkpoint").is_file())
    process.terminate()
    process.communicate(timeout=300)
    assert process.returncode != 0
    wait_until(lambda: not any(map(is_running, pids(first / "run.log"))))
    cluster.remove_node(node)


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    process = study(tmp_path, "--ray", "127.0.0.1:9")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2, output
    assert_mistake(output.splitlines()[-1], "axolotl-dmt: --ray", "127.0.0.1:9")


def test_gpus_are_asked_of_a_cluster_only(tmp_path: Path) -> None:
    process = study(tmp_path, "--gpus", "2")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    assert_mistake(output.splitlines()[-1], "axolotl-dmt: --gpus", "--ray")
