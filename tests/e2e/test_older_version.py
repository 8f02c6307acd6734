"""Plans and checkpoints of an earlier version load, resume and end with the same weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from axolotl_dmt.plan import TrainingPlan
from axolotl_dmt.results import Results
from tests.e2e.runs import ROOT, axolotl

EARLIER = ROOT / "tests/fixtures/before_packages"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the run that the earlier version left in the middle of its first stage."""
    return Path(shutil.copytree(EARLIER, tmp_path / "run"))


def test_an_earlier_versions_plan_and_results_load() -> None:
    plan = TrainingPlan.load(EARLIER / "out/dmt/plan")
    results = Results.load(EARLIER / "out/dmt/results.json")
    assert [stage.name for stage in plan.stages] == ["specialise", "generalise"]
    assert [stage.end_step for stage in plan.stages] == [18, 33]
    assert plan.fingerprint == results.plan_fingerprint == "0be21082ee927dbb79fdacf285bf9558"


@pytest.mark.long
def test_the_same_yaml_compiles_to_the_earlier_versions_plan(run: Path) -> None:
    done = axolotl("dmt", "plan", "dmt.yaml", "--json", cwd=run)
    assert done.returncode == 0, done.stderr[-4000:]
    plan = json.loads(done.stdout[done.stdout.index("{") :])
    assert plan["fingerprint"] == "0be21082ee927dbb79fdacf285bf9558"


@pytest.mark.slow
def test_an_earlier_versions_checkpoint_resumes_to_its_final_weights(run: Path) -> None:
    # The base model is zero, so only a run that resumes from the checkpoint ends at these weights.
    base = load_file(run / "base/model.safetensors")
    zeros = {name: np.zeros_like(weights) for name, weights in base.items()}
    save_file(zeros, run / "base/model.safetensors", metadata={"format": "pt"})

    done = axolotl(
        "train",
        "dmt.yaml",
        "--launcher",
        "python",
        "--resume-from-checkpoint",
        "out/checkpoint-12",
        cwd=run,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    final, expected = load_file(run / "out/model.safetensors"), load_file(run / "final.safetensors")
    assert final.keys() == expected.keys()
    for name, weights in expected.items():
        # Processors round matrix products differently in the last bits.
        np.testing.assert_allclose(final[name], weights, rtol=1e-4, atol=1e-6, err_msg=name)
    results = Results.load(run / "out/dmt/results.json")
    assert [stage.name for stage in results.stages] == ["specialise", "generalise"]
    assert not list(run.glob("out/_earlier-*"))
