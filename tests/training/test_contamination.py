"""The prepared rows of a run, searched for the items of its evaluation files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from click.testing import CliRunner

from axolotl_dmt.checks.contamination import ContaminationSearch
from axolotl_dmt.cli.main import dmt
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.training.contamination import FOLDER, PoolSearch
from axolotl_dmt.training.load_run import CompiledRun
from tests.checks.test_cached_benchmarks import IFEVAL, cached
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


def found(run: CompiledRun) -> ContaminationSearch:
    assert run.pool.contamination is not None
    return run.pool.contamination


def test_rows_that_share_text_are_listed_or_left_out(tmp_path: Path, tiny: str) -> None:
    empty = {"instruction": "Say nothing", "input": "", "output": ""}
    rows = [*alpaca(3), COPY, *alpaca(8)[3:]]
    more = compiled(tmp_path, content(tmp_path, tiny, [empty, *rows]), search=True)
    assert f"row 4 of {tmp_path}/math-1.jsonl" in next(iter(found(more).warnings()))
    run = compiled(tmp_path, content(tmp_path, tiny, rows), search=True)
    (line,) = found(run).warnings()
    assert "1 row(s) of math" in line and f"row 3 of {tmp_path}/math-1.jsonl" in line
    task = found(run).record()["tasks"]["dmt_math"]
    assert len(task["contaminated"]) == 1 and not task["left_out"]

    clean = compiled(tmp_path, content(tmp_path, tiny, rows, decontaminate=True))
    counts = {Path(data.dataset).stem: data for data in clean.plan.data}
    assert (counts["math-1"].contaminated, counts["math-1"].kept) == (1, 8)
    assert any("1 of 9 rows" in note for note in counts["math-1"].notes())
    numbers = clean.pool.domains[0].numbers
    assert numbers is not None
    assert numbers.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 0, 1, 2, 3]
    assert not list(found(clean).warnings())
    assert "1 row(s) that share text are left out" in found(clean).summary()
    record = found(clean).record()
    assert record["tasks"]["dmt_math"] | {"left_out": {}} == {
        "items": 3,
        "contaminated": {},
        "left_out": {},
    }
    assert record["tasks"]["dmt_math"]["left_out"] == task["contaminated"]
    (overlap,) = record["overlaps"]
    assert (overlap["domain"], overlap["rows"], overlap["left_out"]) == ("math", 1, True)
    assert "row 3 of" in overlap["examples"][0]
    without = compiled(tmp_path, content(tmp_path, tiny, alpaca(8)))
    assert clean.plan.fingerprint == without.plan.fingerprint != run.plan.fingerprint
    assert without.plan.fingerprint == compiled(tmp_path, bare(tmp_path, tiny)).plan.fingerprint
    assert without.pool.contamination is None  # only a plan and a training search


def test_items_in_the_cache_are_listed_and_change_no_plan(tmp_path: Path, tiny: str) -> None:
    prompt = "Write a long letter to the mayor about the three old oak trees that fell last night"
    rows = [*alpaca(6), COPY, {"instruction": prompt, "input": "", "output": "Dear mayor"}]
    made = content(tmp_path, tiny, rows, val_rows={"math": 2}, decontaminate=True)
    made["dmt"]["evaluate"]["tasks"] = ["dmt_math", "dmt_general"]
    before = compiled(tmp_path, made, search=True)
    assert found(before).record()["not_searched"] == ["dmt_general"]
    file = write(tmp_path, made)
    shown = CliRunner().invoke(dmt, ["plan", file], catch_exceptions=False).output
    assert "google/IFEval is not cached" in shown and "items of general" not in shown

    home = Path(datasets.config.HF_DATASETS_CACHE)
    cached(home, "google/IFEval", [{**IFEVAL, "prompt": prompt}], config="default", split="train")
    after = compiled(tmp_path, made, search=True)
    assert after.plan.fingerprint == before.plan.fingerprint
    math = after.pool.domains[0]
    assert math.counts[0].contaminated == 1 and math.numbers is not None
    assert 7 in math.numbers.tolist()  # not held out with this seed
    (line,) = found(after).warnings()
    assert "1 of 1 items of general" in line and f"row 7 of {tmp_path}/math-1.jsonl" in line
    again = CliRunner().invoke(dmt, ["plan", file], catch_exceptions=False).output
    assert "1 of 1 items of general" in again  # what was kept for `plan` is out of date

    made["dmt"]["evaluate"] = {"tasks": ["dmt_general"]}
    del made["dmt"]["decontaminate"]
    alone = compiled(tmp_path, made, search=True)
    assert len(list(found(alone).warnings())) == 1
    with expect_error("dmt.decontaminate"):
        PoolSearch.of(EvaluateConfig(tasks=["dmt_general"]), None, leaves_out=True)


def test_held_out_rows_are_not_trained_on(tmp_path: Path, tiny: str) -> None:
    rows = [*alpaca(8), COPY]
    held_out = []
    for seed in range(1, 5):
        made = {**content(tmp_path, tiny, rows, val_rows={"math": 6}), "seed": seed}
        run = compiled(tmp_path, made, search=True)
        math = run.pool.domains[0]
        assert math.numbers is not None
        is_trained = 8 in math.numbers[: math.datasets[0][1]].tolist()
        assert len(list(found(run).warnings())) == is_trained
        held_out.append(not is_trained)
    assert {True, False} == set(held_out)


class Searched(Exception):
    """Raised in the place of a search."""


def refuse(*_: object) -> None:
    raise Searched


def test_what_was_found_is_kept_beside_the_prepared_rows(
    tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*alpaca(8), COPY]
    first = found(compiled(tmp_path, content(tmp_path, tiny, rows), search=True)).record()
    folder = tmp_path / "prepared" / FOLDER
    kept = sorted(folder.glob("*.npy"))
    assert len(kept) == 3
    with monkeypatch.context() as patch:
        patch.setattr(ContaminationSearch, "find", refuse)
        # Another schedule, seed and choice of rows read it too.
        for changes in ({}, {"k": "1/2"}, {"val_rows": 1}, {"decontaminate": True}):
            run = compiled(tmp_path, content(tmp_path, tiny, rows, **changes), search=True)
            if changes.get("val_rows") is None and not changes.get("decontaminate"):
                assert found(run).record() == first
        with pytest.raises(Searched):  # other items
            other = evaluation(tmp_path, limit=2)
            compiled(tmp_path, content(tmp_path, tiny, rows, evaluate=other), search=True)
        with pytest.raises(Searched):  # other rows
            compiled(tmp_path, content(tmp_path, tiny, alpaca(7)), search=True)
        kept[0].write_bytes(b"no array")
        with pytest.raises(Searched):
            compiled(tmp_path, content(tmp_path, tiny, rows), search=True)
    for path in kept:
        np.save(path, np.full((1, 4), 99, np.int64))  # numbers that no row and item has
    again = compiled(tmp_path, content(tmp_path, tiny, rows), search=True)
    assert found(again).record() == first
    assert [np.load(path).shape[1] for path in kept] == [4, 4, 4]


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
