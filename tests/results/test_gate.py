"""A gate holds, does not hold or is undecided, and says how many items would decide it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.results.gate import Verdict, judge, judge_run, rules_of, verdict_of
from axolotl_dmt.results.items import Item, Point, record_items
from tests.mistakes import assert_mistake, expect_error
from tests.report.test_compare import results, save, stage
from tests.results.test_changes import items, passes

OF = 400


def run(folder: Path, **math: int) -> Path:
    """Write a run with these numbers of right answers out of 400 at each point."""
    made = results().with_baseline(stage("b", 0, math=0.5, chat=0.5).scores)
    save(folder, made, {"strategy": "dmt", "gate": {"keep": {"math": -0.05}}})
    points = {"baseline": Point.baseline(), "one": Point.stage("one", 10)}
    points["two"] = Point.stage("two", 25)
    for name, right in math.items():
        rows = items("math", passes(right, OF))
        if name == "two":
            rows += items("chat", passes(200, OF))
        record_items(folder / "dmt/items.parquet", points[name], rows)
    return folder


def gate(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(dmt, ["gate", str(folder), *options])


@pytest.mark.parametrize(
    ("right", "code", "word"),
    [(296, 0, "holds"), (200, 1, "does not hold"), (284, 2, "undecided")],
)
def test_the_exit_status_is_the_verdict(tmp_path: Path, right: int, code: int, word: str) -> None:
    folder = run(tmp_path / "run", baseline=100, one=300, two=right)
    done = gate(folder, "--keep", "math=-0.05")
    assert (done.exit_code, done.output.split(":")[0]) == (code, word), done.output
    assert f"{(right - 300) / OF:+.3f} against one" in done.output
    assert gate(folder).output == done.output  # the rules of the run's YAML


def test_as_many_items_as_it_names_would_tell(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", baseline=100, one=300, two=284)
    done = gate(folder, "--keep", "math=-0.05")
    (needed,) = re.findall(r"about ([\d,]+) items would decide it", done.output)
    scale = int(needed.replace(",", "")) / OF
    assert 2 < scale < 100
    larger = tmp_path / "larger"
    save(larger, results())
    for name, step, right in (("one", 10, 300), ("two", 25, 284)):
        rows = items("math", passes(int(right * scale), int(OF * scale)))
        record_items(larger / "dmt/items.parquet", Point.stage(name, step), rows)
    assert gate(larger, "--keep", "math=-0.05").exit_code == 0


def test_the_reference_is_the_baseline_a_stage_or_another_run(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", baseline=100, one=300, two=260)
    other = run(tmp_path / "other", one=100, two=250)
    improve = ("--improve", "math=0.1")
    assert gate(folder, *improve, "--against", "baseline").exit_code == 0
    assert gate(folder, *improve, "--against", "one").exit_code == 1
    assert gate(folder, *improve).exit_code == 1  # the best earlier point is the first stage
    against_other = gate(folder, "--keep", "math=-0.05", "--against", str(other))
    assert against_other.exit_code == 0
    assert "+0.025" in against_other.output


def test_one_rule_that_fails_decides_and_junit_shows_each(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", baseline=100, one=300, two=200)
    options = ("--keep", "math=-0.05", "--keep", "chat=-0.01", "--improve", "math=0")
    with expect_error("improve.math"):
        rules_of({}, {"math": -1.0})
    file = tmp_path / "gate.xml"
    done = gate(folder, *options, "--junit", str(file))
    assert done.exit_code == 1
    assert len(done.output.splitlines()) == 3
    suite = ET.parse(file).getroot()
    counts = [suite.get(name) for name in ("tests", "failures", "errors")]
    assert counts == ["3", "2", "1"]  # there is no earlier chat to compare with
    assert [case.get("name") for case in suite] == [
        "keep math=-0.05",
        "keep chat=-0.01",
        "improve math=+0",
    ]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (("--keep", "math"), "--keep"),
        (("--keep", "math=a"), "--keep"),
        (("--keep", "math=-0.1,math=-0.2"), "--keep"),
        (("--keep", "math=0.1"), "keep.math"),
        (("--keep", "math=nan"), "keep.math"),
        (("--keep", "chess=-0.1"), "keep.chess"),
        (("--keep", "math=-0.1", "--against", "three"), "against"),
        (("--keep", "math=-0.1", "--against", "two"), "against"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, options: tuple[str, ...], key: str) -> None:
    done = gate(run(tmp_path / "run", one=300, two=200), *options)
    assert done.exit_code == 2
    assert f"axolotl-dmt: {key}" in done.output
    assert "Traceback" not in done.output


def test_a_run_without_items_cannot_be_judged(tmp_path: Path) -> None:
    folder = save(tmp_path / "run", results(), {"strategy": "dmt"})
    with expect_error("RUN"):
        judge_run(folder, rules_of({"math": -0.1}, {}), None)
    assert gate(folder).exit_code == 2


def test_nothing_is_promised_of_answers_that_were_asked_differently(tmp_path: Path) -> None:
    folder = save(tmp_path / "run", results())
    changed: list[Item] = items("math", passes(300, OF), prompt_digest="other")
    record_items(folder / "dmt/items.parquet", Point.stage("one", 10), changed)
    same = items("math", passes(300, OF))
    record_items(folder / "dmt/items.parquet", Point.stage("two", 25), same)
    (outcome,) = judge_run(folder, rules_of({"math": -0.1}, {}), None)
    assert outcome.verdict is Verdict.UNKNOWN and "prompts differ" in outcome.reason


def test_no_change_at_all_holds_with_enough_items() -> None:
    rules = rules_of({"math": -0.05}, {})
    verdicts: dict[int, Any] = {}
    for n in (10, 400):
        from axolotl_dmt.results.changes import RUN, Change
        from axolotl_dmt.results.paired import paired_difference

        paired = paired_difference([1.0] * n, [1.0] * n)
        change = Change(
            ability="math", before="a", after="b", reference=RUN, items=(n, n), paired=paired
        )
        verdicts[n] = verdict_of(judge(rules, {"math": change}))
    assert verdicts == {10: Verdict.UNKNOWN, 400: Verdict.HOLDS}


def test_a_run_that_has_not_ended_is_not_judged(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", baseline=100, one=300, two=300)
    made = load_results(folder)
    stages = [{"name": name} for name in ("one", "two", "three")]
    replace(made, plan={"stages": stages}).save(folder / "dmt/results.json")
    done = gate(folder, "--keep", "math=-0.05")
    assert done.exit_code == 2
    assert_mistake(done.output.strip().removeprefix("axolotl-dmt: "), "RUN", "three")
    replace(made, plan={"stages": stages[:2]}).save(folder / "dmt/results.json")
    other = run(tmp_path / "other", one=300, two=300)
    replace(load_results(other), plan={"stages": stages}).save(other / "dmt/results.json")
    done = gate(folder, "--keep", "math=-0.05", "--against", str(other))
    assert_mistake(done.output.strip().removeprefix("axolotl-dmt: "), "against", "three", other)
    assert gate(folder, "--keep", "math=-0.05").exit_code == 0
