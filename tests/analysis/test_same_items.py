"""Treatments of a study compared on the items that both answered."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from axolotl_dmt.analysis.comparisons import comparisons
from axolotl_dmt.analysis.report import write_study_report
from axolotl_dmt.analysis.same_items import changes_of, items_table, same_items
from axolotl_dmt.analysis.treatments import CellResult, group
from axolotl_dmt.results.changes import Answers
from axolotl_dmt.results.paired import mcnemar_p
from tests import planted

ITEMS = 400


def answers(seed: int, lost: int = 0, won: int = 0, *, prompt: str = "p") -> Answers:
    """Return answers of which the first half is right, but for the first `lost` and `won`."""
    made = Answers()
    for number in range(ITEMS):
        is_right = number < ITEMS // 2
        changed = number < lost or 0 <= number - ITEMS // 2 < won
        made.scores[f"i{number}#"] = float(is_right != changed)
        made.prompts[f"i{number}#"] = prompt
    chance = random.Random(seed)
    for number in chance.sample(range(100, 200), 4):  # right before; wrong with this seed
        made.scores[f"i{number}#"] = 0.0
    return made


def study(seeds: Iterable[int], **changes: int) -> list[CellResult]:
    """Return cells of `mixed_sequential` and of `dmt`, which answers some items differently."""
    cells = []
    for cell in planted.study(max(seeds) + 1):
        strategy, k = cell.settings["strategy"], cell.settings.get("k", "0")
        if cell.seed in seeds and "amount" not in cell.settings:
            if strategy == "mixed_sequential":
                cells.append(replace(cell, answers={"math": answers(cell.seed)}))
            elif strategy == "dmt" and k == "1/16":
                cells.append(replace(cell, answers={"math": answers(cell.seed, **changes)}))
    return cells


def changes(cells: list[CellResult]) -> list[object]:
    (comparison,) = comparisons(group(cells), ("general",))
    return list(changes_of(comparison))


def test_one_seed_is_tested_by_its_changed_items() -> None:
    (change,) = changes(study([1], lost=20, won=60))
    assert change.paired is not None
    assert (change.before, change.after) == ("mixed sequential", "dmt, k = 1/16")
    assert (change.paired.lost, change.paired.won, change.paired.n) == (20, 60, ITEMS)
    assert change.paired.difference == pytest.approx(40 / ITEMS)
    assert change.p == pytest.approx(mcnemar_p(20, 60))
    assert not change.paired.graded


def test_seeds_are_averaged_item_by_item() -> None:
    (change,) = changes(study([1, 2, 3], lost=20, won=60))
    assert change.paired is not None and change.paired.graded
    assert (change.paired.lost, change.paired.won, change.paired.n) == (20, 60, ITEMS)
    assert change.paired.difference == pytest.approx(40 / ITEMS)
    assert change.p is not None and change.p < 0.001
    (none,) = changes(study([1, 2, 3], lost=30, won=30))
    assert none.p is not None and none.p > 0.5


def test_only_seeds_of_both_are_compared() -> None:
    cells = study([1, 2, 3], lost=20)
    cells = [c for c in cells if c.seed != 3 or c.settings["strategy"] == "dmt"]
    (change,) = changes(cells)
    assert change.paired is not None and change.paired.before == pytest.approx(196 / ITEMS)
    apart = [c for c in cells if (c.seed == 1) == (c.settings["strategy"] == "dmt")]
    assert changes(apart) == []


def test_cells_that_were_asked_differently_are_not_compared() -> None:
    cells = study([1], lost=20)
    other = [
        replace(c, answers={"math": answers(1, prompt="q")})
        if c.settings["strategy"] == "dmt"
        else c
        for c in cells
    ]
    (change,) = changes(other)
    assert change.paired is None and "prompts differ" in str(change.refusal)
    table = items_table("Title", [change])
    assert table is not None and "not compared" in table.rows[0] and "prompts" in str(table.note)


def test_the_report_has_a_table_and_the_numbers(tmp_path: Path) -> None:
    write_study_report(study([1], lost=20, won=60), tmp_path, title="A study", k=Fraction(1, 16))
    for name in ("study.md", "study.html"):
        text = (tmp_path / name).read_text()
        assert "on the same items" in text and "+0.100" in text
    (numbers,) = json.loads((tmp_path / "study_results.json").read_text())["same_items"]
    assert (numbers["lost"], numbers["won"], numbers["ability"]) == (20, 60, "math")


def test_without_ledgers_there_is_no_table(tmp_path: Path) -> None:
    cells = [replace(cell, answers={}) for cell in study([1])]
    write_study_report(cells, tmp_path, title="A study")
    assert "on the same items" not in (tmp_path / "study.md").read_text()
    assert same_items([]) == []


@pytest.mark.parametrize("items", [1, 3], ids=["one item", "one of three items changed"])
def test_a_report_is_written_of_a_single_change(tmp_path: Path, items: int) -> None:
    cells = [
        replace(cell, answers={"math": few(items, wrong=cell.settings["strategy"] == "dmt")})
        for cell in study([1, 2])
    ]
    write_study_report(cells, tmp_path, title="A study", general=("general",))
    (change,) = json.loads((tmp_path / "study_results.json").read_text())["same_items"]
    assert change["difference"] == pytest.approx(-0.5 / items)
    assert (change["low"] is None) == (items == 1)  # one item bounds nothing


def few(items: int, *, wrong: bool) -> Answers:
    """Return right answers, the first of which may be half wrong."""
    made = Answers()
    for number in range(items):
        made.scores[f"i{number}#"] = 0.5 if wrong and number == 0 else 1.0
        made.prompts[f"i{number}#"] = "p"
    return made
