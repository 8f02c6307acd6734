"""Slices, test data, archives, folders and anchors mean the same in a recipe of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.results import Results
from axolotl_dmt.results.config_file import raw_config, save_config
from tests.mistakes import assert_mistake

YAML = """\
x-alpaca: &alpaca {type: alpaca, split: "train[-10%:]"}
base_model: org/model
plugins: [axolotl_dmt.DMTPlugin]
datasets:
  - {<<: *alpaca, path: m.jsonl.gz, domain: math}
  - {<<: *alpaca, path: org/code, split: train+validation, domain: code}
  - {path: chats, data_files: [chats/a.jsonl, chats/b.jsonl], type: alpaca, domain: general}
test_datasets:
  - {path: teknium/OpenHermes-2.5, split: train, type: alpaca}
  - {path: ./held_out.parquet, split: train, type: alpaca}
dmt: {strategy: dmt, k: 1/64}
learning_rate: 2.0e-5
num_epochs: 1
micro_batch_size: 2
gradient_accumulation_steps: 1
output_dir: outputs/run
"""
ROW = '{"instruction": "1+1?", "input": "", "output": "2"}\n'


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Export the run of this YAML, and change to an empty folder."""
    config = yaml.safe_load(YAML)
    local = {"revision": None, "rows": 9, "local": True, "path": "x"}
    domains = ["math", "code", "general"]
    datasets: list[dict[str, Any]] = [{**local, "domain": name} for name in domains]
    datasets[1].update(local=False, path="org/code", revision="c" * 40)
    base = {"path": "org/model", "local": False, "revision": "b" * 40}
    sources = {"base_model": base, "datasets": datasets}
    run = tmp_path / "run"
    save_config(raw_config(config), run)
    Results(plan_fingerprint="f" * 32, extra={"sources": sources}).save(run / "dmt/results.json")
    done = command("export", str(run), "--to", str(tmp_path / "recipe"))
    assert done.exit_code == 0, done.output
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path / "recipe"


def command(*arguments: str) -> Result:
    return CliRunner().invoke(dmt, ["recipe", *arguments])


def test_slices_need_no_trust_and_placeholders_can_be_read(recipe: Path) -> None:
    shared = yaml.safe_load((recipe / "dmt.yaml").read_text())
    entries = [(entry["path"], entry.get("split")) for entry in shared["datasets"]]
    assert entries == [
        ("your-data/math.jsonl.gz", "train[-10%:]"),
        ("org/code", "train+validation"),
        ("your-data/general.jsonl", None),
    ]
    assert [entry["path"] for entry in shared["test_datasets"]] == [
        "teknium/OpenHermes-2.5",
        "your-data/test-2.parquet",
    ]
    checked = command("check", str(recipe))
    assert checked.exit_code == 0, checked.output
    used = command("use", str(recipe), "--to", "mine")
    assert used.exit_code == 0, used.output
    assert yaml.safe_load(Path("mine/dmt.yaml").read_text()) == shared


def test_a_run_with_anchors_becomes_a_recipe_without_them(recipe: Path) -> None:
    text = (recipe / "dmt.yaml").read_text()
    assert "x-alpaca" not in text
    assert "&" not in text and "*" not in text and "<<" not in text
    assert yaml.safe_load(text)["datasets"][0]["type"] == "alpaca"


def test_a_yaml_with_anchors_has_no_mistakes_and_as_a_recipe_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chats").mkdir()
    for name in ("chats/a.jsonl", "chats/b.jsonl", "m.jsonl"):
        Path(name).write_text(ROW)
    of_the_hub = [line for line in YAML.splitlines() if "held_out.parquet" not in line]
    Path("dmt.yaml").write_text("\n".join(of_the_hub).replace("m.jsonl.gz", "m.jsonl"))
    checked = CliRunner().invoke(dmt, ["check", "dmt.yaml"])
    assert checked.exit_code == 0, checked.output
    assert "dmt.yaml:1: x-alpaca: " in checked.output
    refused = command("check", "dmt.yaml")
    assert refused.exit_code == 2
    (line,) = refused.output.splitlines()
    assert_mistake(line, "axolotl-dmt: dmt.yaml", "line 5", "anchor", "recipe export")
