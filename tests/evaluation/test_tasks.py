"""The tasks of `dmt.evaluate` are known to lm-eval: every one of its own, and a user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation import tasks
from axolotl_dmt.evaluation.tasks import check_evaluate
from tests.mistakes import expect_error


def check(*names: str, **block: Any) -> None:
    check_evaluate(EvaluateConfig(tasks=list(names), **block))


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no task be looked up in lm-eval's own index, which takes seconds to build."""
    monkeypatch.setattr(tasks, "_names_of_lm_eval", lambda: pytest.fail("the index was built"))


@pytest.mark.usefixtures("no_index")
def test_most_names_are_found_without_lm_evals_index() -> None:
    check("gsm8k", "bbh", "mmlu", "arc_challenge", "dmt_suite")
    check("mmlu_astronomy", "mmlu_abstract_algebra")  # the key is in quotes


def test_tags_in_files_that_tasks_include_are_known() -> None:
    check("gpqa", "xquad", "truthfulqa-multi", "mgsm_direct", "arc_multilingual")


def test_every_name_of_a_group_is_known() -> None:
    names = [name for name in tasks._names_of_lm_eval() if name.startswith("mmlu_high_school_")]
    assert len(names) > 10
    check(*names)


def test_a_misspelt_name_is_refused() -> None:
    with expect_error("dmt.evaluate.tasks[1]", "'gsm8kk'", "lm_eval ls tasks", "include_path"):
        check("gsm8k", "gsm8kk")


@pytest.mark.usefixtures("no_index")
def test_a_users_own_tasks_are_known_however_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "shared_yaml").write_text("tag: tagged\ndataset_path: json\n")
    (tmp_path / "theirs.yaml").write_text("include: shared_yaml\n'task' : theirs\n")
    (tmp_path / "flow.yaml").write_text("{task: flow, tag: [one, two]}\n")
    check("theirs", "tagged", "flow", "two", include_path=str(tmp_path))


@pytest.mark.parametrize("text", ["task: [", ""])
def test_a_folder_that_lm_eval_cannot_read_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    with expect_error("dmt.evaluate.include_path", tmp_path, ".yaml"):
        check("theirs", include_path=str(tmp_path))
