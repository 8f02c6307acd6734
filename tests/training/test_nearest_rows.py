"""The rows that are most like lost items: found by words, among the rows of the stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("bm25s")

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results import Results
from axolotl_dmt.results.items import Point, record_items
from axolotl_dmt.results.nearest_rows import NearRow, read_nearest
from axolotl_dmt.training import nearest_rows
from axolotl_dmt.training.nearest_rows import nearest_texts, trained_rows
from tests.compiled import alpaca, compiled, one_process, settings, tiny
from tests.report.test_compare import results, save
from tests.results.test_changes import item

__all__ = ["one_process", "tiny"]
pytestmark = pytest.mark.usefixtures("one_process")


def texts(found: list[list[tuple[int, float]]]) -> list[list[int]]:
    return [[number for number, _ in pairs] for pairs in found]


def test_texts_are_ranked_by_the_words_that_they_share() -> None:
    rows = ["Ann has apples and pears", "Tom sells pears", "write a program", "apples apples"]
    found = nearest_texts(rows, ["How many pears has Tom?", "nothing alike", ""], 3)
    assert texts(found) == [[1, 0], [], []]
    assert found[0][0][1] > found[0][1][1] > 0
    assert texts(nearest_texts(["of the"], ["of the"], 3)) == [[]]  # no word that counts
    assert texts(nearest_texts(["one pear"], ["pear"], 3)) == [[0]]
    copies = ["pear tree", "pear tree", "pear tree", "pear tree and apple"]
    (found_copies,) = texts(nearest_texts(copies, ["pear"], 3))
    assert {copies[number] for number in found_copies} == {"pear tree", "pear tree and apple"}
    assert len(found_copies) == 2


def content(folder: Path, base: str) -> dict[str, Any]:
    flowers = [
        {"instruction": f"Name flower {i} of the garden", "input": "", "output": "rose"}
        for i in range(8)
    ]
    files = {"math": alpaca(8), "general-1": alpaca(4, "chat"), "general-2": flowers}
    stages = [{"name": "one", "mix": {"math": "all"}}, {"name": "two", "mix": {"general": "all"}}]
    return settings(folder, base, files, dmt={"stages": stages})


def finished(folder: Path, base: str) -> Path:
    """Write what a run leaves behind whose second stage lost an item on flowers."""
    run = compiled(folder, content(folder, base))
    output = folder / "out"
    save(output, results())
    run.plan.save(output / "dmt/plan")
    (output / "dmt/config.yaml").write_text((folder / "dmt.yaml").read_text())
    for point, score in ((Point.stage("one", 10), 1.0), (Point.stage("two", 25), 0.0)):
        prompt = "Which flower grows in the garden?"
        row = replace(item("math", 0, score), prompt=prompt, answer="rose", target="tulip")
        record_items(output / "dmt/items.parquet", point, [row])
    return output


def test_the_report_shows_the_rows_of_the_stage_that_lost_an_item(
    tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = finished(tmp_path, tiny)
    arguments = ["report", str(output), "--nearest"]
    done = CliRunner().invoke(dmt, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (stage,) = read_nearest(output / "dmt").values()
    assert (stage.stage, stage.searched, stage.trained) == ("two", 12, 12)
    ((rows),) = stage.items.values()
    assert len(rows) == 3
    for row in rows:
        assert (row.domain, row.dataset) == ("general", f"{tmp_path}/general-2.jsonl")
        assert f"flower {row.row} of" in row.text
    page = (output / "dmt/report.html").read_text()
    assert "Hint: the rows of two" in page and f"row {rows[0].row} of" in page
    assert "does not say that it made the model lose" in page

    monkeypatch.setattr(nearest_rows, "MOST_ROWS", 5)
    CliRunner().invoke(dmt, arguments, catch_exceptions=False)
    (stage,) = read_nearest(output / "dmt").values()
    assert (stage.searched, stage.trained) == (5, 12)
    assert "5 of the 12 rows" in (output / "dmt/report.html").read_text()

    (tmp_path / "general-1.jsonl").write_text((tmp_path / "math.jsonl").read_text())
    refused = CliRunner().invoke(dmt, arguments)
    assert refused.exit_code == 2 and "--config" in refused.output


def test_a_run_that_lost_nothing_loads_no_rows(tmp_path: Path) -> None:
    save(tmp_path, results())
    (tmp_path / "dmt/config.yaml").write_text("base_model: none\n")
    done = CliRunner().invoke(dmt, ["report", str(tmp_path), "--nearest"], catch_exceptions=False)
    assert done.exit_code == 0 and "no stage lost an item" in done.output


def test_the_rows_of_a_stage_are_different_and_no_blanks(tmp_path: Path, tiny: str) -> None:
    made = content(tmp_path, tiny)
    made["dmt"]["stages"][1]["epochs"] = 2
    run = compiled(tmp_path, made)
    assert trained_rows(run.plan, run.plan.stages[1]).tolist() == list(range(8, 20))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "stages": [1]}'])
def test_a_file_that_cannot_be_read_is_no_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "nearest_rows.json").write_text(text)
    assert read_nearest(tmp_path) == {}


def test_the_page_shows_the_text_of_rows_as_text(tmp_path: Path) -> None:
    from axolotl_dmt.report.html import html_report
    from axolotl_dmt.results.nearest_rows import NearestRows, write_nearest
    from tests.report.test_changes import with_texts

    folder = with_texts(tmp_path)
    row = NearRow(domain="math", dataset="a.jsonl", row=3, score=1.5, text="<script>bad</script>")
    key = item("math", 0, 1.0).item
    stages = [NearestRows(stage="two", searched=9, trained=9, items={key: (row,)})]
    write_nearest(folder / "dmt", stages)
    page = html_report(ReportView.of(Results.load(folder / "dmt"), folder))
    assert "&lt;script&gt;bad" in page and "<script>bad" not in page
