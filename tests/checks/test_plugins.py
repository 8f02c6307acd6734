"""Other plugins: what they need is there, and they come in an order that works."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from axolotl.integrations.base import BasePlugin

from axolotl_dmt.checks import plugins
from axolotl_dmt.checks.plugins import LM_EVAL, PLUGIN, check_plugins
from axolotl_dmt.checks.yaml_check import check_file
from tests.checks.test_yaml_check import GOOD
from tests.mistakes import assert_mistakes, expect_error

LIGER = "axolotl.integrations.liger.LigerPlugin"
CUT_CROSS_ENTROPY = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
SPECTRUM = "axolotl.integrations.spectrum.SpectrumPlugin"
KD = "axolotl.integrations.kd.KDPlugin"
DIFFUSION = "axolotl.integrations.diffusion.DiffusionPlugin"


class OwnScheduler(BasePlugin):
    """A plugin that creates the learning-rate scheduler."""

    def create_lr_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        return None


OWN_SCHEDULER = f"{__name__}.OwnScheduler"


def check(*names: str, **keys: Any) -> None:
    check_plugins({"plugins": list(names), **keys}, files=False)


@pytest.mark.parametrize("other", [LIGER, CUT_CROSS_ENTROPY, SPECTRUM, LM_EVAL, KD])
def test_plugins_that_choose_no_trainer_may_come_in_any_order(other: str) -> None:
    check(PLUGIN, other)
    check(other, PLUGIN)


@pytest.mark.parametrize(
    ("other", "keys", "named"),
    [
        (KD, {"kd_trainer": True}, "AxolotlKDTrainer"),
        (DIFFUSION, {}, "DiffusionTrainer"),
        (OWN_SCHEDULER, {}, "scheduler"),
    ],
)
def test_plugins_whose_answer_would_replace_ours_come_after_it(
    other: str, keys: dict[str, Any], named: str
) -> None:
    check(PLUGIN, other, **keys)
    with expect_error("plugins[1]", other, named, f"list {PLUGIN} before it"):
        check(LIGER, other, PLUGIN, **keys)


@pytest.mark.parametrize("name", ["axolotl.no_such.Plugin", "no_module", f"{__name__}.NoClass"])
def test_a_plugin_that_cannot_be_loaded_is_named(name: str) -> None:
    """Axolotl prints a traceback for a module that does not exist, and trains without it."""
    with expect_error("plugins[1]", name):
        check(PLUGIN, name)


def test_the_package_of_a_plugin_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    missing = {"liger_kernel", "cut_cross_entropy"}
    monkeypatch.setattr(
        plugins.importlib.util, "find_spec", lambda name: None if name in missing else real(name)
    )
    listed = {"plugins": [PLUGIN, LIGER, CUT_CROSS_ENTROPY]}
    check_plugins(listed, files=False)
    with pytest.raises(Exception) as caught:
        check_plugins(listed)
    assert_mistakes(
        [str(error) for error in caught.value.errors],  # type: ignore[attr-defined]
        ("plugins[1]", "liger_kernel"),
        ("plugins[2]", "cut_cross_entropy"),
    )
    with expect_error("plugins[1]", "liger_kernel"):
        check_plugins({**listed, "cut_cross_entropy": False})


def test_the_command_that_the_lm_eval_plugin_runs_must_be_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"plugins": [PLUGIN, LM_EVAL], "lm_eval_tasks": ["gsm8k"]}
    monkeypatch.setenv("PATH", str(tmp_path))
    with expect_error("lm_eval_tasks", "PATH"):
        check_plugins(listed)
    check_plugins({**listed, "lm_eval_post_train": False})
    check_plugins({**listed, "lm_eval_tasks": []})
    command = tmp_path / "lm_eval"
    command.touch(mode=0o755)
    check_plugins(listed)


def test_check_shows_the_line_of_a_wrong_order_and_says_what_is_scored_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = f"  - {DIFFUSION}\n  - {PLUGIN}\n  - {LM_EVAL}\n"
    scored = "  evaluate: {tasks: [dmt_math]}\nlm_eval_tasks: [gsm8k]\n"
    text = GOOD.replace(f"  - {PLUGIN}\n", listed).replace("  k: 1/16\n", f"  k: 1/16\n{scored}")
    Path("dmt.yaml").write_text(text)
    findings = check_file("dmt.yaml", files=False)
    lines = [line for line in findings.mistakes if "plugins" in line]
    assert_mistakes(lines, ("dmt.yaml:3: plugins[0]", DIFFUSION, f"list {PLUGIN} before it"))
    assert_mistakes(findings.remarks, ("dmt.yaml:13: lm_eval_tasks", "scores the last stage"))
