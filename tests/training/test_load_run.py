"""What Axolotl's own validation refuses is reported in one line when a run is loaded."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

import posthog
import pytest
import yaml
from axolotl.telemetry.manager import TelemetryManager
from axolotl.utils.trainer import setup_deepspeed_env

from axolotl_dmt.training.load_run import load_run
from tests.mistakes import assert_mistake, expect_error
from tests.tiny_model import make_model


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/rows.jsonl").write_text(json.dumps({"instruction": "a", "output": "b"}) + "\n")
    return {
        "base_model": make_model(tmp_path / "base"),
        "plugins": ["axolotl_dmt.DMTPlugin"],
        "datasets": [{"path": "data/rows.jsonl", "type": "alpaca", "domain": "math"}],
        "dmt": {"stages": [{"name": "only", "mix": {"math": "all"}}]},
        "output_dir": "data/out",
        "sequence_len": 128,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-3,
        "bf16": False,
    }


def load(config: dict[str, Any]) -> None:
    Path("dmt.yaml").write_text(yaml.safe_dump(config))
    load_run("dmt.yaml")


@pytest.mark.parametrize(
    ("key", "value"), [("gradient_checkpointing", "unsloth"), ("sequence_len", "long")]
)
def test_a_value_that_axolotl_refuses_is_named(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str], key: str, value: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        load({**config, key: value})
    assert caught.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "axolotl-dmt: " in line]
    assert_mistake(line, f"axolotl-dmt: {key}", value)


def test_a_command_that_inspects_a_run_sends_no_telemetry(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = TelemetryManager.get_instance()
    monkeypatch.setattr(telemetry, "enabled", True)
    monkeypatch.setattr(telemetry, "run_id", "test", raising=False)
    monkeypatch.setattr(posthog, "capture", lambda **event: pytest.fail(str(event)))
    load(config)


def test_an_output_folder_in_the_data_is_refused(config: dict[str, Any]) -> None:
    config["datasets"][0]["path"] = "data"
    with expect_error("output_dir", "data/out", "datasets[0].path"):
        load(config)


def test_loading_starts_no_process_group_for_deepspeed(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tests/e2e/test_paper_7b.py` plans a run with DeepSpeed where that is installed."""
    switch = "AXOLOTL_IS_PREPROCESS"
    assert f'os.environ.get("{switch}"' in inspect.getsource(setup_deepspeed_env)
    monkeypatch.delenv(switch, raising=False)
    seen = []
    monkeypatch.setattr(
        "axolotl.cli.config.prepare_optim_env", lambda cfg: seen.append(os.environ.get(switch))
    )
    load(config)
    assert seen == ["1"]
    assert switch not in os.environ
