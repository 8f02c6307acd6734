"""The prepared rows of a run, searched for the items of its evaluation files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.training.contamination import search_pool
from tests.checks.test_contamination import COPY, evaluation
from tests.compiled import alpaca, compiled, one_process, settings, tiny, write
from tests.mistakes import expect_error

__all__ = ["one_process", "tiny"]
pytestmark = pytest.mark.usefixtures("one_process")


def content(folder: Path, base: str, math: list[dict[str, Any]], **dmt: Any) -> dict[str, Any]:
    files = {"math-1": math, "math-2": alpaca(4, "more"), "general": alpaca(8, "general")}
    made = settings(folder, base, files)
    made["dmt"] |= {"evaluate": evaluation(folder), **dmt}
    return made


def test_rows_that_share_text_are_listed_or_left_out(tmp_path: Path, tiny: str) -> None:
    empty = {"instruction": "Say nothing", "input": "", "output": ""}
    rows = [*alpaca(3), COPY, *alpaca(8)[3:]]
    search_of_more = compiled(tmp_path, content(tmp_path, tiny, [empty, *rows]))
    found = search_pool(
        search_of_more.run.schedule.config.evaluate, search_of_more.cfg, search_of_more.pool
    )
    assert found is not None
    assert f"row 4 of {tmp_path}/math-1.jsonl" in next(iter(found.warnings()))
    run = compiled(tmp_path, content(tmp_path, tiny, rows))
    search = search_pool(run.run.schedule.config.evaluate, run.cfg, run.pool)
    assert search is not None
    (line,) = search.warnings()
    assert "1 row(s) of math" in line and f"row 3 of {tmp_path}/math-1.jsonl" in line

    clean = compiled(tmp_path, content(tmp_path, tiny, rows, decontaminate=True))
    counts = {Path(data.dataset).stem: data for data in clean.plan.data}
    assert (counts["math-1"].contaminated, counts["math-1"].kept) == (1, 8)
    assert any("1 of 9 rows" in note for note in counts["math-1"].notes())
    numbers = clean.pool.domains[0].numbers
    assert numbers is not None
    assert numbers.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 0, 1, 2, 3]
    again = search_pool(clean.run.schedule.config.evaluate, clean.cfg, clean.pool)
    assert again is not None and not list(again.warnings())
    without = compiled(tmp_path, content(tmp_path, tiny, alpaca(8)))
    assert clean.plan.fingerprint == without.plan.fingerprint != run.plan.fingerprint
    assert without.plan.fingerprint == compiled(tmp_path, bare(tmp_path, tiny)).plan.fingerprint


def bare(folder: Path, base: str) -> dict[str, Any]:
    made = content(folder, base, alpaca(8))
    del made["dmt"]["evaluate"]
    return made


def test_the_plan_shows_them(tmp_path: Path, tiny: str) -> None:
    file = write(tmp_path, content(tmp_path, tiny, [*alpaca(8), COPY]))
    shown = CliRunner().invoke(dmt, ["plan", file], catch_exceptions=False)
    assert "1 row(s) of math share text" in shown.output
    assert "3 of dmt_math" in shown.output
    as_json = CliRunner().invoke(dmt, ["plan", file, "--json"], catch_exceptions=False)
    assert json.loads(as_json.stdout)["data"][0]["contaminated"] == 0


def test_a_domain_must_keep_a_row(tmp_path: Path, tiny: str) -> None:
    made = content(tmp_path, tiny, [COPY], decontaminate=True)
    made["datasets"] = [entry for entry in made["datasets"] if "math-2" not in entry["path"]]
    with expect_error("dmt.decontaminate", "math"):
        compiled(tmp_path, made)
