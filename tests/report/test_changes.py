"""The tables of what changed on the same items, in a terminal, a report and a comparison."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from axolotl_dmt.report.changes import p_text, stage_table
from axolotl_dmt.report.compare import load_runs, tables
from axolotl_dmt.report.console import Console
from axolotl_dmt.report.html import html_report
from axolotl_dmt.report.markdown import markdown_report
from axolotl_dmt.report.terminal import print_end_of_run, print_tables
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results import Results
from axolotl_dmt.results.items import Point, record_items
from tests.report.test_compare import results, save, stage
from tests.results.test_changes import item, items, passes


def run(folder: Path, last: int = 20, **changes: object) -> Path:
    """Write a run whose math falls from 30 of 40 items to `last` in stage two."""
    made = results(math=last / 40).with_baseline(stage("b", 0, math=5 / 40).scores)
    save(folder, made)
    ledger = folder / "dmt/items.parquet"
    for point, count in (
        (Point.baseline(), 5),
        (Point.stage("one", 10), 30),
        (Point.stage("two", 25), last),
    ):
        record_items(ledger, point, items("math", passes(count), **changes))
    return folder


def view(folder: Path) -> ReportView:
    return ReportView.of(Results.load(folder / "dmt"), folder)


def printed(of: ReportView, width: int = 80) -> str:
    output = io.StringIO()
    print_tables(of, Console(file=output, width=width))
    return output.getvalue()


def test_the_terminal_shows_what_the_last_stage_changed(tmp_path: Path) -> None:
    text = printed(view(run(tmp_path / "run")))
    lines = [line.split() for line in text.splitlines()]
    assert any("+0.375" in line and "the" in line and "start" in line for line in lines), text
    lost = next(line for line in lines if "-0.250" in line and "math" in line)
    assert lost.index("10") < lost.index("40")
    assert "against the start" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_run_ends_with_its_scores_the_path_of_its_report_and_the_clear_changes(
    tmp_path: Path,
) -> None:
    for last, words in ((24, "math -0.150 (p = 0.016)"), (29, "no clear change in math.")):
        of, output = view(run(tmp_path / str(last), last=last)), io.StringIO()
        page = tmp_path / ("long" * 30) / "report.html"
        print_end_of_run(of, Console(file=output, width=80), page)
        table, _, end = output.getvalue().partition("Report: ")
        assert "Abilities by stage" in table and "against the start" in table
        path, change = end.splitlines()
        assert path == str(page)  # in one piece, to be copied
        assert "against the best earlier stage" in change and words in change


def test_the_changes_have_the_order_of_the_scores(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    made = Results.load(folder / "dmt")
    names = ("zeal", "art")
    stages = tuple(
        replace(s, scores=dict.fromkeys(names, s.scores["math"]) | s.scores) for s in made.stages
    )
    save(folder, replace(made, stages=stages))
    for point, count in ((Point.stage("one", 10), 30), (Point.stage("two", 25), 20)):
        rows = [row for name in ("zeal", "math", "art") for row in items(name, passes(count))]
        record_items(folder / "dmt/items.parquet", point, rows)
    of = view(folder)
    table = stage_table(of, last_only=True)
    assert table is not None
    shown = list(dict.fromkeys(row[0] for row in table.rows))
    assert shown == [line.name for line in of.lines if line.name in ("math", *names)]


def test_the_report_shows_every_stage_against_each_reference(tmp_path: Path) -> None:
    of = view(run(tmp_path / "run"))
    table = stage_table(of)
    assert table is not None
    against = [(row[1], row[2]) for row in table.rows]
    assert against == [("one", "the start"), ("two", "one (best)"), ("two", "the start")]
    for page in (markdown_report(of), html_report(of)):
        assert table.title in page and "against the start" in page and "+0.375" in page


def test_forgetting_has_the_standard_error_of_the_paired_difference(tmp_path: Path) -> None:
    paired = view(run(tmp_path / "run")).line("math")
    independent = ReportView.of(Results.load(tmp_path / "run/dmt")).line("math")
    assert paired is not None and independent is not None
    assert paired.forgetting_stderr == pytest.approx((0.25 - 0.25**2) ** 0.5 / 40**0.5)
    assert independent.forgetting_stderr == pytest.approx(0.02 * 2**0.5)


def test_scores_without_items_or_with_a_broken_ledger_are_reported_as_before(
    tmp_path: Path,
) -> None:
    folder = run(tmp_path / "run")
    (folder / "dmt/items.parquet").write_bytes(b"broken")
    assert view(folder).changes == ()
    assert stage_table(view(folder)) is None
    assert "+0.375" in printed(view(folder))  # the scores are still compared with the start


def test_two_runs_are_compared_on_their_common_items(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a"), run(tmp_path / "b", last=30)]
    table = next(t for t in tables(load_runs(folders)) if "same items" in t.title)
    assert table.rows[0][:3] == ("math", "b", "+0.250")
    assert table.rows[0][4:7] == ("0", "10", "40")


def test_runs_that_were_asked_differently_are_not_compared_item_by_item(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a"), run(tmp_path / "b", prompt_digest="other")]
    table = next(t for t in tables(load_runs(folders)) if "same items" in t.title)
    assert table.rows[0][2] == "not compared"
    assert "prompts differ" in table.note


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0004, "< 0.001"), (0.03, "0.030")])
def test_p_values_as_text(p: float | None, text: str) -> None:
    assert p_text(p) == text


def with_texts(folder: Path) -> Path:
    """Write a run whose second stage loses one item and wins another, with nasty texts."""
    save(folder, results())
    for point, right in ((Point.stage("one", 10), 0), (Point.stage("two", 25), 1)):
        rows = [
            replace(
                item("math", index, float(index == right)),
                prompt=f"What is {index}+1? <b>",
                answer=f"{point.name} says <script>{index}</script>",
                target=str(index + 1),
                cut_off=index == 0,
            )
            for index in range(3)
        ]
        record_items(folder / "dmt/items.parquet", point, rows)
    return folder


def test_the_page_shows_the_items_that_a_stage_turned_side_by_side(tmp_path: Path) -> None:
    of = view(with_texts(tmp_path / "run"))
    lost, won = of.flips
    assert (lost.stage, lost.before, lost.is_lost, lost.count) == ("two", "one", True, 1)
    assert won.shown[0].answers == ("one says <script>1</script>", "two says <script>1</script>")
    assert won.shown[0].scores == (0.0, 1.0)
    page = html_report(of)
    assert "two says &lt;script&gt;0&lt;/script&gt;" in page and "<script" not in page
    assert "1 items lost, 1 won, of 3" in page
    for group in ("d-0", "d-1"):
        assert f"#flip-{group}:checked" in page and f'id="flip-{group}"' in page
    assert "cut off" in page


def test_a_long_list_is_cut_with_its_count_and_none_is_shown_without_texts(
    tmp_path: Path,
) -> None:
    bare = view(run(tmp_path / "bare"))
    assert [(flips.stage, flips.count, flips.shown) for flips in bare.flips] == [
        ("one", 25, ()),
        ("two", 10, ()),
    ]
    assert "25 won" in html_report(bare)
    assert ReportView.of(Results.load(tmp_path / "bare/dmt")).flips == ()
