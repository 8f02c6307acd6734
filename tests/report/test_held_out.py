"""The losses on held-out rows are in every form of the report, also where nothing was scored."""

from __future__ import annotations

import io
import math
from pathlib import Path

from rich.console import Console

from axolotl_dmt.report.held_out import held_out_table
from axolotl_dmt.report.terminal import print_end_of_run
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.report.write import write_report
from axolotl_dmt.results import Results, StageResult


def view(*losses: dict[str, float]) -> ReportView:
    stages = tuple(
        StageResult(name=f"stage{i}", end_step=i + 1, extra={"held_out_loss": point})
        for i, point in enumerate(losses)
    )
    return ReportView.of(Results(plan_fingerprint="feed", stages=stages))


def test_each_domain_has_its_loss_at_every_point_and_the_last_change(tmp_path: Path) -> None:
    run = view({"test_math": 1.25, "general": 2.0}, {"test_math": 1.5, "general": 1.75})
    write_report(run, tmp_path)
    assert "| math | 1.250 | 1.500 | +0.250 |" in (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert page.index("Losses on held-out rows") < page.index("1.750") < page.index("-0.250")
    output = io.StringIO()
    print_end_of_run(run, Console(file=output, width=80), tmp_path / "report.html")
    assert "-0.250" in output.getvalue()


def test_a_loss_that_is_missing_or_not_finite_has_no_change() -> None:
    table = held_out_table(view({"math": 1.0}, {"math": math.nan, "code": 0.5}))
    assert table is not None
    assert table.rows == (("math", "1.000", "–", "–"), ("code", "–", "0.500", "–"))


def test_without_held_out_rows_there_is_no_table() -> None:
    assert held_out_table(view({}, {})) is None
