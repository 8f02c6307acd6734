"""Scores with and without contaminated items, by the record of a search and the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from axolotl_dmt.report.html import html_report
from axolotl_dmt.report.markdown import markdown_report
from axolotl_dmt.results import Results
from axolotl_dmt.results.contamination import (
    clean_scores,
    read_contamination,
    write_contamination,
)
from tests.report.test_changes import printed, run, view


def record(folder: Path, *numbers: int, task: str = "dmt_math") -> None:
    contaminated = {f"math{number}": {"math": 1} for number in numbers}
    tasks = {task: {"items": 40, "contaminated": contaminated}}
    write_contamination(folder / "dmt", {"tasks": tasks})


def clean(folder: Path) -> dict[str, tuple[float, float | None]]:
    (line,) = clean_scores(folder, Results.load(folder / "dmt"))
    assert (line.ability, line.items) == ("math", 40)
    return dict(line.scores)


def test_the_score_without_contaminated_items_is_the_mean_of_the_others(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    record(folder, 0, 1, 39)
    scores = clean(folder)
    assert scores["two"][0] == 0.5 and scores["baseline"][0] == 0.125
    assert scores["two"][1] == pytest.approx(18 / 37)
    assert scores["baseline"][1] == pytest.approx(3 / 37)
    assert "one" not in scores  # its recorded score is not the mean of these items
    for page in (printed(view(folder)), markdown_report(view(folder)), html_report(view(folder))):
        assert "3 of 40" in page and "0.486" in page


def test_all_items_may_be_contaminated(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    record(folder, *range(40))
    assert clean(folder)["two"] == (0.5, None)
    assert "40 of 40" in printed(view(folder))


def test_without_contaminated_items_a_record_or_a_ledger_nothing_is_shown(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    results = Results.load(folder / "dmt")
    assert clean_scores(folder, results) == ()
    record(folder)
    assert clean_scores(folder, results) == ()
    record(folder, 1, task="dmt_code")
    assert clean_scores(folder, results) == ()
    assert "contaminated" not in printed(view(folder))
    record(folder, 1)
    (folder / "dmt/items.parquet").unlink()
    assert clean_scores(folder, results) == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "tasks": [1]}'])
def test_a_record_that_cannot_be_read_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "contamination.json").write_text(text)
    assert read_contamination(tmp_path) == {}
