"""Under Ray, the driver validates the YAML and passes plain values to workers that validate again.

Ray itself is not used: Axolotl's functions for the driver and for the worker run in two processes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROWS
from tests.e2e.runs import ROOT, Finished, config, environment, write

DRIVER = """
import pickle, sys
from axolotl.cli.args import TrainerCliArgs
from axolotl.cli.config import load_cfg
cfg = load_cfg(sys.argv[1])
assert cfg.use_ray
with open(sys.argv[2], "wb") as file:
    pickle.dump({"cfg": cfg.to_dict(), "cli_args": TrainerCliArgs()}, file)
"""
WORKER = """
import pickle, sys
from axolotl.cli.train import ray_train_func
with open(sys.argv[2], "rb") as file:
    ray_train_func(pickle.load(file))
"""


def python(code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
def test_a_worker_trains_by_the_block_that_the_driver_read(toy: Path, tmp_path: Path) -> None:
    data = {name: str(toy / f"data/{name}_test.jsonl") for name in ROWS}
    evaluate = {"tasks": ["dmt_math"], "data": data, "max_new_tokens": 4}
    settings = config(
        toy,
        tmp_path / "out",
        dmt={"strategy": "dmt", "k": "1/4", "val_rows": 8, "evaluate": evaluate},
        use_ray=True,
        ray_num_workers=1,
    )
    path = write(tmp_path / "dmt.yaml", settings)
    for code in (DRIVER, WORKER):
        done = python(code, path, tmp_path / "passed.pickle")
        assert done.returncode == 0, done.stderr[-4000:]
    finished = Finished(0, "", tmp_path / "out")
    rows = [stage["rows"] for stage in finished.results["stages"]]
    assert rows == [{"math": 112, "code": 52}, {"general": 92, "math": 28, "code": 13}]
    assert all(stage["scores"]["math"]["n"] == 6 for stage in finished.results["stages"])
