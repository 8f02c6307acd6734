"""Hooks from installed packages, modules and single files, and the errors for mistakes in them."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from axolotl_dmt import hookspecs
from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.resolve import resolve_stages
from axolotl_dmt.evaluation.scores import Evaluation
from axolotl_dmt.hooks.calls import (
    adjusted_scores,
    adjusted_stages,
    call_stage_hook,
    registered_amounts,
    registered_orders,
    registered_recipes,
    registered_selectors,
    registered_strategies,
    report_sections,
)
from axolotl_dmt.hooks.loading import (
    hook_manager,
    hook_names,
    implementations,
    load_hooks,
    loaded_hooks,
)
from axolotl_dmt.hookspecs import StageContext
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.report.write import write_report
from axolotl_dmt.results import Results, Score
from axolotl_dmt.strategies import Setting
from tests.config.test_resolve import DEFAULTS
from tests.mistakes import assert_mistake, expect_error

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "axolotl-dmt-short-first"
SCORE = Score(task="dmt_general_mtbench", metric="dmt_score", value=5.5, stderr=0.1, n=80)
RESULTS = Results(plan_fingerprint="f", timings={"train a": 3.0})


@pytest.fixture(autouse=True)
def forget_hooks() -> Iterator[None]:
    yield
    # pluggy remembers the name of an unknown hook even after its plugin is unregistered.
    hook_manager.cache_clear()


def hooks_file(folder: Path, code: str, name: str = "my_hooks.py") -> str:
    path = folder / name
    path.write_text("from axolotl_dmt import hookimpl\n" + textwrap.dedent(code))
    return str(path)


def example(hook: str) -> str:
    """The code of the example in a hook's docstring."""
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    return textwrap.dedent(text.partition("::\n")[2])


def context(folder: Path) -> StageContext:
    stage: Any = SimpleNamespace(name="specialise", domains={"math": None, "code": None})
    plan: Any = None
    return StageContext(
        stage=stage, plan=plan, step=7, trainer=None, is_main=True, output_dir=folder
    )


def epoch(lengths: list[int]) -> Any:
    rows = np.arange(len(lengths))
    return SimpleNamespace(rows=rows, lengths=lambda rows: np.array(lengths)[rows])


def stages() -> Any:
    config = read_config({"strategy": "dmt"})
    return resolve_stages(config, ("math", "general"), replace(DEFAULTS, learning_rate=1.0))


DO = {
    "register_strategies": lambda folder: (
        [
            name
            for name, _ in registered_strategies()["general_first"].stages(
                Setting(domains=("math", "general"), general=("general",))
            )
        ]
        == ["general", "special"]
    ),
    "register_amounts": lambda folder: (
        registered_amounts()["at_most"](Domain(name="math", rows=8), 5) == 5
    ),
    "register_selectors": lambda folder: (
        registered_selectors()["last"](Domain(name="math", rows=3), 1).tolist() == [2, 1, 0]
    ),
    "register_orders": lambda folder: (
        registered_orders()["short_first"](epoch([3, 1, 2])).tolist() == [1, 2, 0]
    ),
    "adjust_stages": lambda folder: [stage.learning_rate for stage in stages()] == [1.0, 0.5],
    "stage_start": lambda folder: call_stage_hook("stage_start", context(folder)) is None,
    "stage_end": lambda folder: (
        [
            call_stage_hook("stage_end", context(folder)),
            (folder / "stages.txt").read_text(),
        ]
        == [None, "7 specialise\n"]
    ),
    "adjust_scores": lambda folder: adjusted_scores({"general": SCORE}, {})["general"].value == 0.5,
    "report_sections": lambda folder: (
        [s.markdown for s in report_sections(RESULTS)] == ["- train a: 3 s"]
    ),
    "register_recipes": lambda folder: (
        registered_recipes()["my_lab/math_first"] == folder / "math_first.yaml"
    ),
}
"""Uses each hook's example, and returns whether it did what its docstring says."""


@pytest.mark.parametrize("hook", hook_names())
def test_the_example_of_each_hook_does_what_it_says(hook: str, tmp_path: Path) -> None:
    file = tmp_path / "my_hooks.py"
    file.write_text(example(hook))
    load_hooks([str(file)])
    assert DO[hook](tmp_path)


def test_hooks_of_a_module_and_a_file_are_loaded_and_forgotten_by_the_next_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "@hookimpl\ndef register_orders():\n    return {'%s': lambda epoch: epoch.rows}\n"
    hooks_file(tmp_path, code % "of_a_module", "some_package_hooks.py")
    hooks_file(tmp_path, code % "of_a_file")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    loaded = load_hooks(["some_package_hooks", "my_hooks.py"])
    assert loaded == ["some_package_hooks", str(tmp_path / "my_hooks.py")] == loaded_hooks()
    assert {"of_a_module", "of_a_file"} <= set(registered_orders())
    load_hooks(["my_hooks.py"])
    assert "of_a_module" not in registered_orders()
    load_hooks([])
    assert "of_a_file" not in registered_orders()


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("x = 1", ["{file}", "hookimpl"]),
        (
            "@hookimpl\ndef register_order():\n    return {}",
            ["{file}", "register_order", "register_orders?"],
        ),
        ("@hookimpl\ndef adjust_stages(stage):\n    return None", ["PluginValidationError"]),
        (
            "@hookimpl(wrapper=True)\ndef adjust_stages(stages):\n    return (yield)",
            ["{file}", "wraps adjust_stages"],
        ),
        ("def broken(:", ["SyntaxError"]),
        ("import no_such_module", ["ModuleNotFoundError in my_hooks"]),
    ],
)
def test_hooks_that_cannot_be_used_are_refused(
    code: str, values: list[str], tmp_path: Path
) -> None:
    file = hooks_file(tmp_path, code)
    with expect_error("dmt.hooks[0]", *(value.format(file=file) for value in values)):
        load_hooks([file])
    assert loaded_hooks() == []


@pytest.mark.parametrize("name", ["missing.py", "no_such_package.hooks"])
def test_hooks_that_are_not_there_are_refused(name: str) -> None:
    with expect_error("dmt.hooks[0]", name.partition(".")[0]):
        load_hooks([name])


def test_a_hook_that_raises_is_named_with_its_plugin_and_its_line(tmp_path: Path) -> None:
    load_hooks([hooks_file(tmp_path, "\n@hookimpl\ndef adjust_stages(stages):\n    1 / 0\n")])
    values = ("ZeroDivisionError", "my_hooks.py line 5", "division by zero")
    with expect_error("hook adjust_stages of my_hooks.py", *values):
        adjusted_stages([], [])


def test_what_a_hook_registers_is_guarded_too(tmp_path: Path) -> None:
    code = """
    from axolotl_dmt.strategies import Strategy
    def lazy(setting):
        yield "a", {"math": "all"}
        raise RuntimeError("no more")
    def bad(*arguments):
        raise RuntimeError("out of luck")
    @hookimpl
    def register_strategies():
        return [Strategy(name="lazy", summary="", stages=lazy)]
    @hookimpl
    def register_orders():
        return {"bad": bad}
    """
    load_hooks([hooks_file(tmp_path, code)])
    with expect_error("hook register_strategies of my_hooks.py", "RuntimeError", "no more"):
        resolve_stages(read_config({"strategy": "lazy"}), ("math",), DEFAULTS)
    with expect_error("hook register_orders of my_hooks.py", "RuntimeError", "out of luck"):
        registered_orders()["bad"](None)


@pytest.mark.parametrize(
    ("hook", "ask"),
    [
        ("register_strategies", registered_strategies),
        ("register_orders", registered_orders),
        ("adjust_stages", lambda: adjusted_stages([], [])),
        ("adjust_scores", lambda: adjusted_scores({}, {})),
    ],
)
def test_an_answer_of_another_kind_is_refused(hook: str, ask: Any, tmp_path: Path) -> None:
    load_hooks([hooks_file(tmp_path, f"\n@hookimpl\ndef {hook}():\n    return 5\n")])
    with expect_error(f"hook {hook} of my_hooks.py", 5):
        ask()


def test_adjusting_hooks_build_on_one_another(tmp_path: Path) -> None:
    code = "\nfrom dataclasses import replace\n@hookimpl\ndef adjust_scores(scores):\n" + (
        "    return {n: replace(s, value=s.value * 2) for n, s in scores.items()}\n"
    )
    load_hooks([hooks_file(tmp_path, code, "a.py"), hooks_file(tmp_path, code, "b.py")])
    assert adjusted_scores({"math": SCORE}, {})["math"].value == 4 * SCORE.value


def test_a_score_hook_that_fails_costs_the_score_and_not_the_run(tmp_path: Path) -> None:
    load_hooks([hooks_file(tmp_path, "\n@hookimpl\ndef adjust_scores(scores):\n    1 / 0\n")])
    output = {"results": {"dmt_math": {"dmt_score,none": 0.5}}}
    evaluation = Evaluation.of(output, samples=0, seconds=1.0)
    assert evaluation.scores == {}
    assert evaluation.error is not None
    assert_mistake(evaluation.error, "hook adjust_scores of my_hooks.py", "ZeroDivisionError")


def test_a_report_shows_sections_as_text_that_cannot_harm(tmp_path: Path) -> None:
    code = """
    from axolotl_dmt.hookspecs import Section
    @hookimpl
    def report_sections(results):
        text = "| a | b |\\n| -- | -- |\\n| **1** | <script>alert(1)</script> |"
        return [Section(title="Mine & yours", markdown=text + "\\n\\n[x](javascript:alert(1))")]
    """
    bad = "\n@hookimpl\ndef report_sections(results):\n    1 / 0\n"
    load_hooks([hooks_file(tmp_path, bad, "a.py"), hooks_file(tmp_path, code)])
    write_report(ReportView.of(RESULTS), tmp_path / "dmt")
    html = (tmp_path / "dmt" / "report.html").read_text()
    assert "<h2>Mine &amp; yours</h2>" in html
    assert "<td><strong>1</strong></td>" in html
    assert "<script" not in html
    assert 'href="javascript' not in html
    assert "Section of a.py" in html  # the failed one takes no other with it
    assert "## Mine & yours" in (tmp_path / "dmt" / "report.md").read_text()


def test_every_implementation_of_a_hook_is_listed(tmp_path: Path) -> None:
    code = """
    @hookimpl
    def stage_end(context):
        '''Copies the stage away.

        More.
        '''
    """
    load_hooks([hooks_file(tmp_path, code)])
    summaries = {(line.hook, line.plugin): line.summary for line in implementations()}
    assert summaries["stage_end", "my_hooks.py"] == "Copies the stage away."
    assert summaries["register_strategies", "axolotl_dmt.strategies"].startswith("dmt, mixed_seq")


def test_an_installed_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    site = tmp_path / "site"
    copy = tmp_path / "package"  # a build may leave files behind
    subprocess.run(["cp", "-r", str(EXAMPLE), str(copy)], check=True)
    install = ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    subprocess.run([sys.executable, "-m", "pip", *install, str(site), str(copy)], check=True)
    code = textwrap.dedent(
        """
        from axolotl_dmt.config.args import read_config
        from axolotl_dmt.hooks.loading import implementations
        from axolotl_dmt.hooks.calls import registered_orders, report_sections
        from axolotl_dmt.config.resolve import resolve_stages
        from axolotl_dmt.results import Results, StageResult
        from tests.config.test_resolve import DEFAULTS

        config = read_config({"strategy": "rehearse", "k": "1/4", "order": "short_first"})
        for stage in resolve_stages(config, ("math", "general"), DEFAULTS):
            print(stage.name, {name: str(amount) for name, amount in stage.mix.items()})
        stages = (StageResult(name="a", end_step=4, rows={"math": 10}),)
        print(report_sections(Results(plan_fingerprint="f", stages=stages))[0].markdown)
        print([line.hook for line in implementations() if line.plugin == "short_first"])
        """
    )
    path = os.pathsep.join([str(site), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "specialise {'math': 'all'}",
        "generalise {'general': 'all', 'math': '1/4'}",
        "rehearse {'math': '1/4', 'general': '1/4'}",
        "| stage | rows a step |",
        "| :-- | --: |",
        "| a | 2.5 |",
        "['register_strategies', 'register_orders', 'report_sections']",
    ]


def test_every_hook_has_an_example_and_its_arguments_are_described() -> None:
    assert set(DO) == set(hook_names())
    for hook in hook_names():
        text = inspect.getdoc(getattr(hookspecs, hook)) or ""
        assert re.search(r"^Example:", text, re.M), hook
