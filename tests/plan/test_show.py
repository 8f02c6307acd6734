"""The view of a plan in the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from axolotl_dmt.plan import Packing, TrainingPlan, compile_plan
from axolotl_dmt.plan.row_counts import RowCounts
from axolotl_dmt.plan.show import plan_tables
from tests.pools import domain, stage

MATH = domain("math", 40, lengths=np.full(40, 50, np.int32), trained=np.full(40, 30, np.int32))
GENERAL = domain(
    "general", 2500, lengths=np.full(2500, 100, np.int32), trained=np.full(2500, 10, np.int32)
)
STAGES = (
    stage({"math": "all"}, "start", epochs=2.5, warmup_steps=3, lr_scheduler="linear"),
    stage({"general": "all", "math": "1/4"}, "middle", epochs=2, learning_rate=1e-5),
    stage({"math": {"rows": 8}}, "end", reset_optimizer=False),
)


def plan_of(*stages: Any, domains: Any = (MATH, GENERAL), **settings: Any) -> TrainingPlan:
    return compile_plan(stages=stages, domains=domains, seed=5, global_batch=8, **settings)


def lines(plan: TrainingPlan) -> list[str]:
    return [str(part) for part in plan_tables(plan) if isinstance(part, Text)]


def cells(plan: TrainingPlan, title: str) -> list[list[str]]:
    """Return the rows of one of the tables."""
    tables = [part for part in plan_tables(plan) if isinstance(part, Table)]
    (table,) = [table for table in tables if table.title == title]
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def test_unusual_settings_are_listed_below_the_tables() -> None:
    special = {"freeze": ("embed_tokens",), "new_adapter": True, "train_on_inputs": False}
    some = {"rows": 8}
    plan = plan_of(stage({"math": some}, "start"), stage({"math": some}, "end", **special))
    assert "end: frozen embed_tokens, a fresh adapter on top, inputs are masked" in lines(plan)
    assert not any(line.startswith("start") for line in lines(plan))
    plan = plan_of(stage({"math": some}, "start", train_on_inputs=True))
    assert "start: trains on inputs" in lines(plan)


def printed(plan: TrainingPlan, width: int) -> str:
    """Return the view in a terminal of that many columns."""
    text = io.StringIO()
    for part in plan_tables(plan):
        Console(width=width, file=text).print(part)
    return text.getvalue()


DATA_TABLE = """\
Data
dataset  domain  in the file  too long  no trained tokens  exact copies  kept
m.jsonl  math          1,041     1,001                  0             0    40
"""
PLAN_TABLE = """\
Plan
stage  steps  epochs  peak lr  schedule  warm-up  rows  tokens  optimiser
start    1-5       1    2e-05    cosine        0    40   2,000        new
"""
DOMAINS_TABLE = """\
Domains
stage  domain  rows  of   taken  draws  of stage  repeats  tokens  trained  share of loss
start  math      40  40  100.0%     40    100.0%        1   2,000    1,200         100.0%
"""


def test_the_tables_as_they_are_printed() -> None:
    counts = RowCounts(domain="math", dataset="m.jsonl", read=1041, too_long=1001, kept=40)
    plan = plan_of(stage({"math": "all"}, "start"), domains=[replace(MATH, counts=(counts,))])
    *tables, _ = printed(plan, 120).split("\n\n")
    for text, table in zip(tables, (DATA_TABLE, PLAN_TABLE, DOMAINS_TABLE), strict=True):
        title, header, *rows = table.splitlines()
        assert text.splitlines() == [title.ljust(len(header)), header, *rows]


def test_names_stay_whole_in_a_narrow_terminal() -> None:
    words = replace(MATH, name="word problems", datasets=())
    text = printed(plan_of(stage({"word problems": "all"}, "start to learn"), domains=[words]), 60)
    assert len(re.findall("^start to learn ", text, re.MULTILINE)) == 2
    assert text.count(" word problems ") == 1


def test_each_stage_has_a_line() -> None:
    assert cells(plan_of(*STAGES), "Plan") == [
        ["start", "1-13", "2.5", "2e-05", "linear", "3", "100", "5,000", "new"],
        ["middle", "14-641", "2", "1e-05", "cosine", "18", "5,020", "501,000", "reset"],
        ["end", "642-642", "1", "2e-05", "cosine", "0", "8", "400", "kept"],
    ]


def test_each_domain_of_a_stage_has_a_line() -> None:
    start, math, general, end = cells(plan_of(*STAGES), "Domains")
    names = ["start", "math", "40", "40", "100.0%", "100", "100.0%", "3"]
    assert start == [*names, "5,000", "3,000", "100.0%"]
    assert math[:8] == ["middle", "math", "10", "40", "25.0%", "20", "0.4%", "2"]
    assert math[8:] == ["1,000", "600", "1.2%"]
    assert general[:8] == ["", "general", "2,500", "2,500", "100.0%", "5,000", "99.6%", "2"]
    assert general[8:] == ["500,000", "50,000", "98.8%"]
    assert end[:2] == ["end", "math"]


def test_a_line_ends_each_stage() -> None:
    tables = [part for part in plan_tables(plan_of(*STAGES)) if isinstance(part, Table)]
    assert [row.end_section for row in tables[-1].rows] == [True, False, True, True]


def test_unknown_numbers_of_tokens_are_question_marks() -> None:
    bare = [replace(pool, lengths=None, trained=None) for pool in (MATH, GENERAL)]
    plan = plan_of(*STAGES, domains=bare)
    assert [row[7] for row in cells(plan, "Plan")] == ["?"] * 3
    assert {tuple(row[8:10]) for row in cells(plan, "Domains")} == {("?", "?")}
    half = plan_of(*STAGES, domains=[MATH, bare[1]])
    assert [row[7] for row in cells(half, "Plan")] == ["5,000", "?", "400"]


def test_the_last_line_sums_up() -> None:
    plan = plan_of(*STAGES)
    assert lines(plan)[-1] == (f"642 steps, 8 rows a step, seed 5, fingerprint {plan.fingerprint}")
    packing = Packing(200, 4, lambda lengths: [[i] for i in range(len(lengths))])
    assert "packs of 4 a step, seed 5" in lines(plan_of(*STAGES, packing=packing))[-1]


def test_the_data_are_shown_where_they_are_known() -> None:
    assert [part.title for part in plan_tables(plan_of(*STAGES)) if isinstance(part, Table)] == [
        "Plan",
        "Domains",
    ]
    counts = RowCounts(domain="math", dataset="m.jsonl", read=1041, too_long=1001, kept=40)
    plan = plan_of(*STAGES, domains=[replace(MATH, counts=(counts,)), GENERAL])
    (row,) = cells(plan, "Data")
    assert row[:4] == ["m.jsonl", "math", "1,041", "1,001"]
    (table, *_) = [part for part in plan_tables(plan) if isinstance(part, Table)]
    assert [column.justify for column in table.columns][:3] == ["left", "left", "right"]
