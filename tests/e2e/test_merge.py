"""`axolotl dmt merge --measure` on the folder of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e import runs


@pytest.mark.long
def test_the_losses_of_merges_are_those_of_the_models(toy: Path, tmp_path: Path) -> None:
    settings = runs.config(toy, tmp_path / "out", num_epochs=3)
    settings["dmt"]["val_rows"] = 10
    done = runs.train(tmp_path, settings)
    assert done.code == 0, done.output[-4000:]
    losses = measured(done.folder, "--measure", "0.3,0.75")
    assert list(losses) == ["0", "0.3", "0.75", "1"]
    # The ends are the models that the run has measured as it trained them.
    for weight, stage in zip(("0", "1"), done.results["stages"], strict=True):
        assert losses[weight] == pytest.approx(stage["held_out_loss"], abs=1e-5)
    assert all(losses[w] != pytest.approx(losses["1"], abs=1e-3) for w in ("0", "0.3", "0.75"))

    merged = tmp_path / "merged"
    written = runs.axolotl("dmt", "merge", str(done.folder), "--weight", "0.3", "--to", str(merged))
    assert written.returncode == 0, written.stderr
    # A folder may stand for a stage, and what is written is what was measured. The settings of
    # another training, with adapters and several processes, do not matter.
    settings |= {
        "adapter": "lora",
        "lora_r": 4,
        "lora_target_linear": True,
        "base_model": str(merged),
        "resume_from_checkpoint": str(tmp_path / "gone/checkpoint-5"),
        "hub_model_id": "nobody/nothing",
        "use_tensorboard": True,
    }
    other = runs.write(tmp_path / "lora.yaml", settings)
    same = measured(
        done.folder, "--stages", f"{merged},generalise", "--measure", "0.5", "--config", str(other)
    )
    assert same["0"] == pytest.approx(losses["0.3"], abs=1e-5)
    assert same["1"] == pytest.approx(losses["1"], abs=1e-5)

    table = runs.axolotl("dmt", "merge", str(done.folder), "--measure", "0.3", "--method", "slerp")
    assert table.returncode == 0, table.stderr
    assert "0 (specialise)" in table.stdout
    assert "Less loss than generalise in every domain: " in table.stdout
    assert f"{losses['1']['math']:.4f}" in table.stdout


def measured(output_dir: Path, *arguments: str) -> dict[str, dict[str, float]]:
    done = runs.axolotl("dmt", "merge", str(output_dir), *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])
