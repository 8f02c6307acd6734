"""The schedule for other trainers: the same plan without Axolotl and torch."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from axolotl_dmt.api import Draw, PlanDataset, draws, load_schedule
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Packing
from tests.e2e.runs import environment
from tests.mistakes import expect_error

YAML = """\
datasets:
  - {path: math.jsonl, type: alpaca, domain: math}
  - {path: more.jsonl, type: alpaca, domain: math}
  - {path: chat.jsonl, type: alpaca, domain: general}
dmt: {strategy: dmt, k: 1/4, seed: 3}
learning_rate: 2e-5
num_epochs: 1
micro_batch_size: 2
gradient_accumulation_steps: 4
"""
ROWS = {"math": 20, "general": 13}


def schedule(folder: Path, text: str = YAML):  # type: ignore[no-untyped-def]
    path = folder / "dmt.yaml"
    path.write_text(text)
    return load_schedule(path)


def test_a_yaml_becomes_a_plan(tmp_path: Path) -> None:
    loaded = schedule(tmp_path)
    assert (loaded.domains, loaded.seed, loaded.global_batch) == (("math", "general"), 3, 8)
    plan = loaded.compile(ROWS)
    assert [(stage.name, stage.steps) for stage in plan.stages] == [
        ("specialise", 3),
        ("generalise", 3),
    ]
    assert plan.fingerprint != loaded.compile(ROWS, global_batch=4).fingerprint


def test_draws_and_dataset_deal_the_rows_of_the_plan_in_order(tmp_path: Path) -> None:
    plan = schedule(tmp_path).compile(ROWS)
    pools = {name: [f"{name} {i}" for i in range(count)] for name, count in ROWS.items()}
    dataset = PlanDataset(plan, pools, blank="blank")
    drawn = list(draws(plan))
    assert [f"{d.domain} {d.row}" if d.domain else "blank" for d in drawn] == list(dataset)
    assert [draw.step for draw in drawn] == [i // 8 for i in range(48)]
    first = [draw for draw in drawn if draw.stage == "specialise" and draw.domain]
    assert sorted(draw.row for draw in first) == list(range(20))
    assert drawn[23] == Draw(2, "specialise", None, -1), "the stage's last step ends in blanks"
    assert dataset[-1] == "blank"
    assert dataset[:2] == [dataset[0], dataset[1]]
    with pytest.raises(IndexError):
        dataset[48]


def test_lengths_serve_amounts_in_tokens_and_packs(tmp_path: Path) -> None:
    text = YAML.replace(
        "dmt: {strategy: dmt, k: 1/4, seed: 3}",
        "dmt: {stages: [{name: a, mix: {math: {tokens: 50}, general: all}}]}",
    )
    loaded = schedule(tmp_path, text)
    with pytest.raises(DMTError) as caught:
        loaded.compile(ROWS)
    assert "dmt.stages[0].mix.math" in str(caught.value)
    lengths = {"math": np.full(20, 10), "general": [5] * 13}
    assert loaded.compile(lengths).stages[0].domains["math"].rows == 5
    packing = Packing(
        capacity=20, packs_per_step=2, pack=lambda rows: [[i] for i in range(len(rows))]
    )
    packed = list(draws(loaded.compile(lengths, packing=packing)))
    assert [draw.step for draw in packed] == [i // 2 for i in range(len(packed))]


def test_every_mistake_is_reported_with_its_line(tmp_path: Path) -> None:
    text = YAML.replace("k: 1/4", "k: 4").replace(", domain: general", "").replace("2e-5", "fast")
    with pytest.raises(DMTError) as caught:
        schedule(tmp_path, text)
    lines = [line.partition("dmt.yaml:")[2] for line in str(caught.value).splitlines()]
    assert [line.split(":")[:2] for line in lines] == [
        ["5", " dmt.k"],
        ["4", " datasets[2].domain"],
        ["6", " learning_rate"],
    ]


@pytest.mark.parametrize("key", ["micro_batch_size", "gradient_accumulation_steps"])
def test_a_batch_size_that_is_not_a_number_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(DMTError) as caught:
        schedule(tmp_path, re.sub(f"{key}: .", f"{key}: two", YAML))
    assert f" {key}: 'two'" in str(caught.value)


def test_rows_that_do_not_fit_the_plan_are_refused(tmp_path: Path) -> None:
    loaded = schedule(tmp_path)
    with expect_error("rows", "general"):
        loaded.compile({"math": 20})
    with expect_error("pools['general']", 5, 13):
        PlanDataset(loaded.compile(ROWS), {"math": range(20), "general": range(5)})


def test_it_works_where_axolotl_and_torch_are_not_installed(tmp_path: Path) -> None:
    (tmp_path / "dmt.yaml").write_text(YAML)
    code = textwrap.dedent(
        """
        import sys

        MISSING = {"axolotl", "torch", "transformers", "datasets", "lm_eval", "accelerate", "peft"}

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in MISSING:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Blocker())
        from axolotl_dmt.api import PlanDataset, draws, load_schedule

        plan = load_schedule("dmt.yaml").compile({"math": 20, "general": 13})
        plan.save("plan")
        rows = PlanDataset(plan, {"math": range(20), "general": range(13)})
        print(len(rows), sum(1 for draw in draws(plan) if draw.domain))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "48 38\n", done.stderr
