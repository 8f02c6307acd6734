"""A run's YAML is saved without secrets, together with the sources of its data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from axolotl.cli.args import TrainerCliArgs

from axolotl_dmt.results.config_file import (
    hub_commit,
    load_config,
    raw_config,
    save_config,
    sources,
)
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.training.run import Run
from tests.checks.test_schedule import GOOD, raw
from tests.mistakes import expect_error
from tests.pools import domain


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_saves_its_yaml_with_the_domains(tmp_path: Path) -> None:
    run = Run.from_raw(raw(axolotl_config_path="/home/me/dmt.yaml"))
    assert run.raw == GOOD
    save_config(run.raw, tmp_path)
    assert load_config(tmp_path) == GOOD
    assert type(yaml.safe_load((tmp_path / "dmt/config.yaml").read_text())) is dict


def test_a_configuration_that_was_checked_before_keeps_its_domains() -> None:
    cfg = raw()
    Run.from_raw(cfg)
    assert Run.from_raw(cfg).raw == GOOD


@pytest.mark.parametrize(
    "secret",
    [
        {"comet_api_key": "abc"},
        {"my": {"password": "abc"}},
        {"hub_token": "abc"},
        {"anything": "hf_" + "a" * 34},
        {"list": ["sk-" + "a" * 40]},
        {"mlflow_tracking_uri": "https://me:abc@host"},
        {"anything": "ghp_" + "a" * 36},
    ],
)
def test_what_looks_like_a_secret_is_not_saved(secret: dict[str, Any]) -> None:
    saved = yaml.safe_dump(raw_config({**GOOD, **secret}))
    assert "abc" not in saved and "aaa" not in saved
    assert all(key in saved for key in secret)  # a masked value keeps its key


def test_names_of_tokens_and_flags_are_not_secrets() -> None:
    harmless = {
        "special_tokens": {"eos_token": "</s>", "pad_token": "<pad>"},
        "hf_use_auth_token": True,
        "include_tokens_per_second": True,
    }
    assert raw_config({**GOOD, **harmless}) == {**GOOD, **harmless}


def test_sources_say_what_was_local_and_which_commit_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    refs = tmp_path / "datasets--org--chat" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("c" * 40)
    (tmp_path / "math.jsonl").write_text("{}\n")
    config = {
        "base_model": "org/base",
        "revision_of_model": "v1",
        "datasets": [
            {"path": "math.jsonl", "domain": "math"},
            {"path": "org/chat", "domain": "general", "name": "en", "split": "train[:9]"},
            {"path": "org/more", "revision": "a" * 40, "domain": "math"},
        ],
    }
    pools = (
        domain("math", 7, datasets=(("math.jsonl", 5), ("org/more", 2))),
        domain("general", 3),
    )
    assert sources(config, pools) == {
        "base_model": {"path": "org/base", "local": False, "revision": "v1"},
        "datasets": [
            {"domain": "math", "path": "math.jsonl", "local": True, "revision": None, "rows": 5},
            {
                "domain": "general",
                "path": "org/chat",
                "local": False,
                "revision": "c" * 40,
                "name": "en",
                "split": "train[:9]",
                "rows": 3,
            },
            {
                "domain": "math",
                "path": "org/more",
                "local": False,
                "revision": "a" * 40,
                "rows": 2,
            },
        ],
    }


def test_a_revision_that_is_a_path_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert hub_commit("org/chat", "main", "datasets") is None
    assert hub_commit("org/chat", "../\0", "datasets") is None


def test_the_error_names_the_folder_without_a_saved_yaml(tmp_path: Path) -> None:
    config = RunFolder(tmp_path).config
    with expect_error("OUTPUT_DIR", config):
        load_config(tmp_path)
    config.parent.mkdir()
    config.write_text("a: [")
    with expect_error(config):
        load_config(tmp_path)


def test_options_of_the_command_line_that_were_not_given_are_left_out() -> None:
    arguments = dataclasses.asdict(TrainerCliArgs())  # what `axolotl train` adds
    assert raw_config({**GOOD, **arguments}) == GOOD
    assert raw_config({**GOOD, **arguments, "debug": True}) == {**GOOD, "debug": True}
