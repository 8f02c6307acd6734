"""Row losses equal the model's own loss, and the plan replays the rows that they select."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from axolotl_dmt.plan.row_losses import RowLosses
from axolotl_dmt.training.load_run import compile_from_yaml, load_run
from tests.conftest import ROWS
from tests.e2e.runs import axolotl, config, write
from tests.mistakes import expect_error
from tests.pools import rows_of


def direct_losses(folder: Path, path: str) -> dict[str, list[float]]:
    """Return the model's own loss on each row, computed one row at a time, by domain."""
    import torch

    from axolotl_dmt.cli.row_losses import load_model

    cfg, run = load_run(path)
    pool = run.load_pool(cfg)
    model = load_model(folder)
    losses: dict[str, list[float]] = {}
    with torch.no_grad():
        for domain in ("math", "code"):
            rows = pool.rows_of(domain)
            assert any(-100 in row["labels"] for row in rows)
            losses[domain] = [
                float(
                    model(
                        input_ids=torch.tensor([row["input_ids"]]),
                        labels=torch.tensor([row["labels"]]),
                    ).loss
                )
                for row in rows
            ]
    return losses


@pytest.mark.slow
def test_losses_are_measured_and_the_hardest_rows_are_replayed(toy: Path, tmp_path: Path) -> None:
    file = tmp_path / "losses.parquet"
    base = config(toy, tmp_path / "out")
    plain = str(write(tmp_path / "plain.yaml", base))
    replay = {"select": "hardest", "losses": str(file)}
    settings = {**base, "dmt": {"strategy": "dmt", "k": "1/4", "replay": replay}}
    path = str(write(tmp_path / "dmt.yaml", settings))

    done = axolotl("dmt", "row-losses", path, "--model", str(toy / "base"), "--batch-tokens", "300")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == f"wrote {file}"
    measured = RowLosses.load(file)
    assert list(measured.losses) == ["math", "code"]
    for domain, losses in direct_losses(toy / "base", plain).items():
        np.testing.assert_allclose(measured.losses[domain], losses, rtol=1e-5)

    # Packing does not change the rows and their losses.
    packed = {**settings, "sample_packing": True, "attn_implementation": "sdpa"}
    compiled = compile_from_yaml(str(write(tmp_path / "packed.yaml", packed)))
    plan = compiled.plan
    assert plan.packs_per_step
    for domain, losses in measured.losses.items():
        hardest = np.argsort(-losses, kind="stable")[: ROWS[domain] // 4]
        assert set(rows_of(plan, domain, 1).tolist()) == set(hardest.tolist())
    assert compiled.run.row_losses is not None
    assert measured.digest == compiled.run.row_losses.digest

    other = {**settings, "dmt": {**settings["dmt"], "val_rows": 8}}
    cfg, run = load_run(str(write(tmp_path / "other.yaml", other)))
    with expect_error("dmt.replay.losses", "math", 120, 112):
        run.load_pool(cfg)


ROWS_OF_TOKENS = {
    "input_ids": [[1, 5, 6, 7, 2], [1, 9, 2], [1, 8, 8, 8, 8, 8, 2], [1, 4, 2]],
    "labels": [[-100, -100, 6, 7, 2], [1, 9, 2], 7 * [-100], [4, -100, -100]],
}


@pytest.mark.parametrize("batch_tokens", [1, 14, 1000])
def test_an_adapters_losses_are_those_of_its_whole_model(tmp_path: Path, batch_tokens: int) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from axolotl_dmt.cli.row_losses import load_model, row_losses
    from tests.tiny_model import make_model

    base = AutoModelForCausalLM.from_pretrained(make_model(tmp_path / "base"))
    lora = LoraConfig(r=2, target_modules=["v_proj", "down_proj"], task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        adapted = get_peft_model(base, lora)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")

    rows = Dataset.from_dict(ROWS_OF_TOKENS)
    adapted_losses, merged_losses, base_losses = (
        row_losses(load_model(tmp_path / name), rows, batch_tokens)
        for name in ("adapter", "merged", "base")
    )
    np.testing.assert_allclose(adapted_losses, merged_losses, rtol=1e-4)
    assert not np.allclose(adapted_losses[:2], base_losses[:2], rtol=1e-3)
    # A row without a trained token has no loss, and nothing predicts the first token of a row.
    assert np.isnan(adapted_losses).tolist() == [False, False, True, True]
