"""Trackers without their package and uploads without a token are reported before training."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from axolotl_dmt.checks.services import TRACKERS, check_services
from axolotl_dmt.checks.yaml_check import check_file
from tests.checks.test_yaml_check import GOOD
from tests.mistakes import assert_mistakes, expect_error

MISSING = [
    (key, package)
    for key, (package, modules) in TRACKERS.items()
    if not any(importlib.util.find_spec(name) for name in modules)
]


@pytest.fixture(autouse=True)
def without_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))


@pytest.mark.parametrize("key", TRACKERS)
def test_a_tracker_needs_its_package(key: str) -> None:
    check_services({key: False})
    package = dict(MISSING).get(key)
    if package is None:
        check_services({key: True})
        return
    with expect_error(key, package):
        check_services({key: True})


def test_an_upload_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    check_services({"hub_model_id": None})
    with expect_error("hub_model_id", "me/x", "HF_TOKEN"):
        check_services({"hub_model_id": "me/x"})
    monkeypatch.setenv("HF_TOKEN", "a-token")
    check_services({"hub_model_id": "me/x"})


def test_check_reports_both_unless_files_are_left_out() -> None:
    text, expected = GOOD + "hub_model_id: me/x\n", [("dmt.yaml:15: hub_model_id", "me/x")]
    if MISSING:
        key, package = MISSING[0]
        text += f"{key}: true\n"
        expected.append((f"dmt.yaml:16: {key}", package))
    Path("dmt.yaml").write_text(text)
    assert_mistakes(check_file("dmt.yaml").mistakes, *expected)
    assert check_file("dmt.yaml", files=False).mistakes == ()
